"""How a sentence is read, whatever its language: what it claims of an order, and which words stand nearest to a value.

A `Grammar` holds what a language has of its own. Knows no facts.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from footfall.support.checking.marks import Marked

Pattern: TypeAlias = re.Pattern[str]
CUE_AFTER = 1.4  # words after a value say less of it than words before it

IN_FUTURE: Mapping[tuple[str, bool], tuple[str, bool]] = {
    ("shipped", True): ("with_us", True), ("shipped", False): ("coming", False), ("packed", True): ("packed", False),
    ("in_transit", True): ("with_us", True), ("in_transit", False): ("coming", False),
    ("delivered", True): ("coming", True), ("delivered", False): ("coming", False),
    ("out_for_delivery", True): ("coming", True), ("coming", True): ("coming", True), ("coming", False): ("coming", False),
    ("refund_paid", True): ("refund_coming", True), ("refund_paid", False): ("refund_declined", True),
    ("refund_coming", True): ("refund_coming", True), ("refund_coming", False): ("refund_declined", True),
}
"""What it says of now that something will be so, or will not. Of what is not here nobody can say that it will be."""


class Claim(Struct, frozen=True):
    """That something of `truth.stands` is so, or is not. `promised`: that it will be; nothing in the facts says that."""

    name: str
    wanted: bool
    start: int
    end: int
    promised: bool = False


class Grammar(Struct, frozen=True):
    """What is a language's own.

    `silent`: parts of a sentence that assert nothing, such as conditions. `denial`, `possible`, `future`: what turns a
    claim that comes after it. `idioms`: what is said by a whole turn of phrase. `plain`: what is said by a word, if
    nothing turns it. `refunds`: the same two of a refund. `acts`: what may be possible, or not, and the words for it.
    `tokens`: the words of a clause that a rule turns on, and how often it denies. `hinges`: those that a rule must have, or
    its passage, where they are not `hard`. `verb`: what every
    clause has that is not part of a list. `opposites`: a rule with the one does not say the other. `cues`: words that say which day is meant. `topics`: what a sentence is about.
    """

    language: str
    sentence_end: Pattern
    clause_end: Pattern
    question: Pattern
    silent: Pattern
    denial: Pattern
    possible: Pattern
    future: Pattern
    idioms: Sequence[tuple[str, bool, Pattern]]
    plain: Sequence[tuple[str, Pattern]]
    refund_idioms: Sequence[tuple[str, bool, Pattern]]
    refund_plain: Sequence[tuple[str, Pattern]]
    acts: Mapping[str, Pattern]
    cues: Sequence[tuple[str, Pattern]]
    topics: Mapping[str, Pattern]
    residue: Callable[[str], Sequence[tuple[int, str]]]
    tokens: Callable[[Marked], tuple[Sequence[str], int]]
    hinges: frozenset[str]
    hard: frozenset[str]
    opposites: Sequence[tuple[str, str]]
    verb: Pattern

    def about(self, topic: str, text: str) -> bool:
        return self.topics[topic].search(text) is not None


def sentences(grammar: Grammar, text: Marked) -> Iterator[Marked]:
    at = 0
    for match in grammar.sentence_end.finditer(text.text):
        yield from _kept(text.part(at, match.end()))
        at = match.end()
    yield from _kept(text.part(at, len(text.text)))


def _kept(part: Marked) -> Iterator[Marked]:
    if re.search(r"\w|[ⓐ-ⓩ]", part.text):
        yield part


def clauses(grammar: Grammar, text: str) -> list[tuple[int, int]]:
    """Where the clauses of a sentence begin and end."""
    ends = [match.span() for match in grammar.clause_end.finditer(text)]
    starts = [0, *(end for _, end in ends)]
    return [(start, stop) for start, stop in zip(starts, [*(first for first, _ in ends), len(text)], strict=True) if start < stop]


def silent(grammar: Grammar, text: str) -> list[tuple[int, int]]:
    """Where nothing is asserted. A question asserts nothing at all."""
    if grammar.question.search(text):
        return [(0, len(text))]
    return [match.span() for match in grammar.silent.finditer(text)]


def inside(at: int, spans: Sequence[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in spans)


def claims(grammar: Grammar, text: str, *, refund: bool) -> list[Claim]:
    """What the sentence says of an order, or, where it is about a refund, of that."""
    quiet = silent(grammar, text)
    parts = clauses(grammar, text)
    found: list[Claim] = []
    left = text
    idioms = [*(grammar.refund_idioms if refund else ()), *(row for row in grammar.idioms if not refund or row[0] not in BOTH)]
    plain = [*(grammar.refund_plain if refund else ()), *(row for row in grammar.plain if not refund or row[0] not in BOTH)]
    for name, wanted, pattern in idioms:
        for match in pattern.finditer(left):
            if not inside(match.start(), quiet):
                named = f"{'refund' if refund else 'status'}:{match['status']}" if "status" in match.groupdict() else name
                if named == "shipped" and not wanted:
                    found.append(Claim("coming", True, *match.span()))
                if named:
                    found.append(Claim(named.replace(" ", "_"), wanted, *match.span()))
                left = left[: match.start()] + "·" * (match.end() - match.start()) + left[match.end():]
    for name, pattern in plain:
        for match in pattern.finditer(left):
            if not inside(match.start(), quiet):
                found.extend(_turned(grammar, name, left, match, parts))
    found.extend(_possibilities(grammar, left, parts, quiet))
    return found


BOTH = frozenset({"paid", "shipped", "packed", "with_us"})
"""What is said of an order by words that are also said of a refund."""


def _turned(grammar: Grammar, name: str, text: str, match: re.Match[str], parts: Sequence[tuple[int, int]]) -> Iterator[Claim]:
    start = max((first for first, _ in parts if first <= match.start()), default=0)
    before = text[start:match.start()]
    denied = _count(grammar.denial, before + match[0]) % 2 == 1
    if grammar.possible.search(before):
        return
    claim = (name, not denied)
    if grammar.future.search(before) and name != "late":
        if name == "refund":
            return
        turned = IN_FUTURE.get(claim)
        yield Claim(*(turned or claim), *match.span(), promised=turned is None)
        return
    claim = ("shipped", False) if claim == ("in_transit", False) else claim
    yield Claim(*claim, *match.span())
    if claim == ("shipped", False) and grammar.about("yet", text):
        yield Claim("coming", True, *match.span())


def _possibilities(
    grammar: Grammar, text: str, parts: Sequence[tuple[int, int]], quiet: Sequence[tuple[int, int]]
) -> Iterator[Claim]:
    """What can be done, or no longer. It is not said of one order where a condition goes with it and no order is named."""
    for name, pattern in grammar.acts.items():
        for match in pattern.finditer(text):
            start, end = next(part for part in parts if part[0] <= match.start() < part[1])
            clause = text[start:end]
            if grammar.about("generic", clause) and "ⓞ" not in clause and not grammar.about("same for it", text):
                continue
            first, last = text.rfind(";", 0, start) + 1, (text.find(";", end) + len(text) + 1) % (len(text) + 1)
            if inside(match.start(), quiet) or not grammar.topics["possible"].search(clause):
                continue
            if any(first <= one < last for one, _ in quiet) and "ⓞ" not in text[first:last]:
                continue
            denied = _count(grammar.topics["impossible"], clause) % 2 == 1
            yield Claim(name, not denied, *match.span())


def nearest_cue(grammar: Grammar, text: str, at: int, roles: Sequence[str]) -> str:
    """Which of the roles the words around a value give it: "" where there are none."""
    best, name = float("inf"), ""
    for role, pattern in grammar.cues:
        if role.partition("/")[0] not in roles:
            continue
        for match in pattern.finditer(text):
            if match.start() <= at < match.end():
                return role
            gap = text[match.end():at] if match.end() <= at else text[at + 1:match.start()]
            far: float = len(gap) + 12 * len(grammar.clause_end.findall(gap))
            far = far if match.end() <= at else CUE_AFTER * far + 2
            if far < best:
                best, name = far, role
    return name


def _count(pattern: Pattern, text: str) -> int:
    return sum(1 for _ in pattern.finditer(text))
