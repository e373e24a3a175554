"""Policy passages: a folder of Markdown that the retailer edits, and which passage answers a question.

A file is a passage: `# Title`, a line `Intents: …` that names what it is for, and its statements. Its name is its id,
the same in each language's folder. Found by words and by meaning: BM25 (Robertson and Zaragoza, 2009) over words, in
Chinese over characters and pairs of them, and the cosine of the encoder's vectors, joined by their ranks (reciprocal
rank fusion: Cormack, Clarke and Büttcher, SIGIR 2009). Pure, once read: whoever has an encoder gives the vectors.
"""

import math
import re
import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

from msgspec import Struct

FOLDER = Path(__file__).parent / "policies"
K1, B = 1.2, 0.75  # as is usual for BM25
RANK_OFFSET = 60  # of the fusion, as in its paper

WORD = re.compile(r"[a-z0-9]+|[\u3400-\u9fff]+")
ENDINGS = re.compile(r"(?<=\w{3})(?:ing|ed|es|s|e)$")
HEAD = re.compile(r"# (?P<title>[^\n]+)\nIntents: (?P<intents>[a-z_, ]+)\n\n(?P<text>.+)", re.DOTALL)


class PolicyError(ValueError):
    """A passage cannot be used; the message names the file and says what is wrong with it."""


class Passage(Struct, frozen=True):
    """`ref`: the name of its file. `as_of_s`: when that was last changed."""

    ref: str
    language: str
    title: str
    text: str
    intents: tuple[str, ...]
    as_of_s: float


def read(folder: Path = FOLDER) -> list[Passage]:
    """All passages of all languages, a folder each. Raises `PolicyError` for what is not a passage."""
    files = sorted(folder.glob("*/*.md"))
    if not files:
        raise PolicyError(f"{folder} holds no passages: put Markdown files into its folders en and zh, one for each")
    return [_passage(file) for file in files]


def _passage(file: Path) -> Passage:
    match = HEAD.fullmatch(file.read_text(encoding="utf-8"))
    if match is None:
        raise PolicyError(f"{file}: begin with '# Title', then 'Intents: …', an empty line, and the statements")
    intents = tuple(name.strip() for name in match["intents"].split(","))
    return Passage(
        file.stem, file.parent.name, match["title"].strip(), match["text"].strip(), intents, file.stat().st_mtime
    )


class Policies:
    """Which passage answers a question, in one language or another."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self._of = {
            language: _Shelf([passage for passage in passages if passage.language == language])
            for language in sorted({passage.language for passage in passages})
        }

    @property
    def texts(self) -> dict[tuple[str, str], str]:
        """What is to be encoded, by language and ref."""
        return {
            (language, passage.ref): f"{passage.title}. {passage.text}"
            for language, shelf in self._of.items() for passage in shelf.passages
        }

    def learn(self, language: str, ref: str, vector: bytes) -> None:
        """Where a passage lies: an `EncodeResult.vector`."""
        self._of[language].vectors[ref] = _floats(vector)

    def best(self, language: str, question: str, vector: bytes, intent: str) -> Passage | None:
        """The passage for a question of this intent; None where there is none for it, or no such language."""
        shelf = self._of.get(language)
        return shelf.best(question, _floats(vector), intent) if shelf else None


class _Shelf:
    """The passages of one language."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self.vectors: dict[str, tuple[float, ...]] = {}
        self._counts = [Counter(terms(f"{passage.title} {passage.title} {passage.text}")) for passage in passages]
        self._mean_length = sum(count.total() for count in self._counts) / max(1, len(passages))
        containing = Counter(term for count in self._counts for term in count)
        self._rarity = {
            term: math.log(1 + (len(passages) - n + 0.5) / (n + 0.5)) for term, n in containing.items()
        }

    def best(self, question: str, vector: Sequence[float], intent: str) -> Passage | None:
        fitting = [at for at, passage in enumerate(self.passages) if intent in passage.intents]
        asked = set(terms(question))
        by_words = {at: self._bm25(asked, self._counts[at]) for at in fitting}
        by_meaning = {at: _dot(vector, self.vectors.get(self.passages[at].ref, ())) for at in fitting}
        fused = dict.fromkeys(fitting, 0.0)
        for scores in (by_words, by_meaning):
            if len(set(scores.values())) > 1:  # else it says nothing
                for rank, at in enumerate(sorted(fitting, key=scores.__getitem__, reverse=True)):
                    fused[at] += 1 / (RANK_OFFSET + rank)
        # who names the intent first, where nothing else decides
        first = max(fitting, key=lambda at: (fused[at], -self.passages[at].intents.index(intent)), default=None)
        return None if first is None else self.passages[first]

    def _bm25(self, asked: Iterable[str], count: Counter[str]) -> float:
        length = 1 - B + B * count.total() / self._mean_length
        return sum(
            self._rarity[term] * count[term] * (K1 + 1) / (count[term] + K1 * length) for term in asked if count[term]
        )


def terms(text: str) -> Iterator[str]:
    """Words without their endings; of Chinese, characters and pairs of them."""
    for word in WORD.findall(text.lower()):
        if word[0] < "\u3400":
            yield ENDINGS.sub("", word)
        else:
            yield from word
            yield from map("".join, pairwise(word))


def _floats(vector: bytes) -> tuple[float, ...]:
    return struct.unpack(f"<{len(vector) // 4}f", vector)


def _dot(one: Sequence[float], other: Sequence[float]) -> float:
    return sum(map(float.__mul__, one, other))
