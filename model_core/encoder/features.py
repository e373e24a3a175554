"""A text as hashed n-grams. The one place where training and serving agree on them; numpy only, no torch.

The encoder that ships knows English. What carries Chinese, names and misspelt words are pieces of 1 to 4 characters,
words and pairs of words, which need no vocabulary: each is hashed to one of so many numbers (Weinberger et al., 2009).
A Chinese character is a word, so pieces of Chinese end at 2. Digits are all alike: which order it is tells nothing of
what is wanted.
"""

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DIMENSION = 2**15
MAX_CHARS = 2048  # of a text, the rest is cut; an encoder reads no further
CHARACTERS = (1, 2, 3, 4)
CHINESE_CHARACTERS = 2  # in a piece, at most

_DIGIT = re.compile(r"\d")
_CHINESE = re.compile(r"[㐀-鿿]")
_LETTER = re.compile(r"[^\W\d_]")
_WORD = re.compile(r"[㐀-鿿]|[^\W㐀-鿿]+")  # the second: a run of other letters and digits


class Bags(NamedTuple):
    """The n-grams of some texts: those of text i begin at `start[i]`; its weights are a vector of length 1."""

    gram: NDArray[np.int64]  # (N,)
    weight: NDArray[np.float32]  # (N,)
    start: NDArray[np.int64]  # (texts,)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many are of each text."""
        return np.diff(self.start, append=len(self.gram))

    def take(self, rows: NDArray[np.int64]) -> "Bags":
        """Those of some of the texts, in the order of `rows`."""
        length = self.lengths[rows]
        start = np.cumsum(length) - length
        where = np.repeat(self.start[rows] - start, length) + np.arange(length.sum())
        return Bags(self.gram[where], self.weight[where], start)


def normalised(text: str) -> str:
    """In one form of each character (NFKC), lower case, with single spaces, and 0 for each digit."""
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARS])[:MAX_CHARS].lower()
    return " ".join(_DIGIT.sub("0", folded).split())


def chinese(texts: Sequence[str]) -> NDArray[np.float32]:
    """The share of each text's letters that are Chinese."""
    counts = [(len(_CHINESE.findall(text)), len(_LETTER.findall(text))) for text in (t[:MAX_CHARS] for t in texts)]
    return np.array([han / max(1, letters) for han, letters in counts], np.float32)


def ngrams(text: str) -> Iterator[str]:
    """All n-grams of a text, as often as they occur, each with a mark of its kind."""
    clean = normalised(text)
    framed = f" {clean} "  # so that the first and last letters differ from those within
    for n in CHARACTERS:
        for start in range(len(framed) - n + 1):
            piece = framed[start : start + n]
            if n <= CHINESE_CHARACTERS or not _CHINESE.search(piece):
                yield f"c{piece}"
    words = _WORD.findall(clean)
    for word in words:
        yield f"w{word}"
    for first, second in pairwise(words):
        yield f"p{first} {second}"


def bags(texts: Sequence[str], dimension: int = DIMENSION) -> Bags:
    """The hashed n-grams of texts. A number that occurs n times weighs 1 + ln n before the length is made 1."""
    index: list[NDArray[np.int64]] = []
    weight: list[NDArray[np.float32]] = []
    for text in texts:
        hashed = np.array([zlib.crc32(ngram.encode()) for ngram in ngrams(text)], np.int64) % dimension
        occurring, count = np.unique(hashed, return_counts=True)
        damped = 1 + np.log(count)
        index.append(occurring)
        weight.append((damped / np.sqrt((damped**2).sum() or 1.0)).astype(np.float32))
    length = np.array([len(each) for each in index], np.int64)
    start = np.cumsum(length) - length
    return Bags(np.concatenate(index), np.concatenate(weight), start) if index else _NONE


_NONE = Bags(np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64))
