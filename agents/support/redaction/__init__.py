"""Personal data in a message's text, replaced by placeholders before anyone stores the text or a model reads it.

Pure, by pattern and check digit: knows the forms in which people write their data in English and Chinese, and German
addresses; knows no dictionary of people or places. So a name is found by what is said before it, never by itself.
In doubt about a number that could be an order's, the number stays, unless its check digits say that it is a card.

A message may be hostile. Every repetition is bounded, or what follows it cannot also be read as one more of it, so that
no text makes the search go back more than a fixed number of characters from any place.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from agents.support.redaction.addresses import ADDRESSES, EMAILS
from agents.support.redaction.chinese_names import CHINESE_NAMES
from agents.support.redaction.names import NAMES
from agents.support.redaction.numbers import AMOUNT, CARDS, DATE, IBANS, PHONES
from agents.support.redaction.patterns import KINDS, MARKS, NOT_PERSONAL, WORD, Finder, Span

__all__ = ["KINDS", "PLACEHOLDER", "Redacted", "redact"]

PLACEHOLDER: Final = re.compile(rf"\[({'|'.join(KINDS)})\]")
# What one rule takes away may free a match for an earlier one. Of random texts of cues and data one in two thousand
# needs a second round, none a third; the limit is for texts that are made to need many.
ROUNDS: Final = 4
KEPT_FROM: Final = 4  # an item called "12" must not save the house number of each address

# What the patterns see; one character for one.
FOLD: Final[Mapping[int, str]] = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)},  # full-width forms
    **dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2212"), "-"),
    **dict.fromkeys(map(ord, "\t\u00a0\u2002\u2003\u2007\u2008\u2009\u202f\u3000"), " "),
    0x2019: "'",
    **dict.fromkeys(map(ord, (*MARKS.values(), NOT_PERSONAL)), "\ufffd"),  # in a customer's text they mean nothing
}
LOWER: Final = {code: chr(code + 32) for code in range(ord("A"), ord("Z") + 1)}
WORDS: Final = re.compile(r"[+(]{0,2}\w+")
KEPT: Final = "k"
NOT_KEPT: Final = re.compile(" +")

# In this order: the digits of an account or a card would be a phone's too, and a street's name a person's.
RULES: Final[Sequence[tuple[str, Finder]]] = tuple((kind, find) for kind, finders in (
    ("email", EMAILS), ("iban", IBANS), ("card", CARDS), ("phone", PHONES), ("address", ADDRESSES),
    ("name", NAMES), ("name", CHINESE_NAMES),
) for find in finders)


class Redacted(Struct, frozen=True, gc=False):
    """`kinds`: of what was found now, sorted; placeholders that were there before do not count."""

    text: str
    kinds: tuple[str, ...]


def redact(text: str, keep: Collection[str] = ()) -> Redacted:
    """The text without personal data. `keep`: ids that stay even where they look like a number of somebody.

    An id shorter than `KEPT_FROM` is not looked for: no rule takes it for a number by itself, and inside an address it
    goes with the address.
    """
    page = PLACEHOLDER.sub(lambda match: MARKS[match[1]] * len(match[0]), text.translate(FOLD))
    kept = _kept(page, keep)
    for pattern in (DATE, AMOUNT):
        page = _covered(page, [match.span() for match in pattern.finditer(page)], NOT_PERSONAL)
    found: list[tuple[int, int, str]] = []
    for _ in range(ROUNDS):
        before = len(found)
        for kind, find in RULES:
            if spans := list(_without(kept, page, find(page))):
                page = _covered(page, spans, MARKS[kind])
                found.extend((start, end, kind) for start, end in spans)
        if len(found) == before:
            break
    return Redacted(_replaced(text, found), tuple(sorted({kind for _, _, kind in found})))


def _replaced(text: str, found: Iterable[tuple[int, int, str]]) -> str:
    parts: list[str] = []
    at = 0
    for start, end, kind in sorted(found):
        parts += text[at:start], f"[{kind}]"
        at = end
    return "".join([*parts, text[at:]])


def _covered(page: str, spans: Iterable[Span], mark: str) -> str:
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += page[at:start], mark * (end - start)
        at = end
    return "".join([*parts, page[at:]])


def _kept(page: str, keep: Collection[str]) -> str:
    """As long as the page, with `KEPT` where an id stands as a word of its own."""
    out = [" "] * len(page)
    lower = page.translate(LOWER)
    for item in keep:
        word = item.translate(FOLD).translate(LOWER)
        at = lower.find(word) if len(word) >= KEPT_FROM else -1
        while at >= 0:
            end = at + len(word)
            if not (at and WORD.match(lower, at - 1)) and not WORD.match(lower, end):
                out[at:end] = KEPT * len(word)
            at = lower.find(word, end)
    return "".join(out)


def _without(kept: str, page: str, spans: Iterable[Span]) -> Iterator[Span]:
    """The spans less what is kept: of a number that holds a kept id the rest is still somebody's."""
    for start, end in spans:
        if KEPT not in kept[start:end]:
            yield start, end
            continue
        for free in NOT_KEPT.finditer(kept, start, end):
            words = [match.span() for match in WORDS.finditer(page, *free.span())]
            if words:
                yield words[0][0], words[-1][1]
