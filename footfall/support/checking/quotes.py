"""Whether a sentence is a rule of the shop with something turned round in it: nearly its words, and not what it says.

Knows how near two sentences are, and which differences matter; not what is true of a customer.
"""

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from footfall.support.checking.marks import Marked
from footfall.support.checking.reading import Grammar, clauses

SLIP = {"en": 1, "zh": 2}  # words that may differ where only a denial was put in or taken out
NEAR = {"en": 0.78, "zh": 0.72}  # of two sentences' words, in Chinese pairs of signs, the share that is in both


class Quote(Struct, frozen=True):
    """A sentence as it is compared. `denied`: how often. `words`: that carry the meaning."""

    bag: Counter[str]
    denied: int
    words: frozenset[str]
    text: str


def quote(grammar: Grammar, sentence: Marked) -> Quote:
    """What is compared of a sentence."""
    words: set[str] = set()
    denied = 0
    for start, end in clauses(grammar, sentence.text):
        found, times = grammar.tokens(sentence.part(start, end))
        words |= set(found)
        denied += times
    return Quote(_bag(grammar, sentence.text), denied, frozenset(words), sentence.written)


class Twist(Struct, frozen=True):
    """The rule that a sentence turns round, and the words that do it, if it is not a denial alone."""

    rule: str
    words: frozenset[str] = frozenset()


def twisted(grammar: Grammar, quotes: Sequence[Quote], sentence: Marked) -> Twist | None:
    """How the sentence turns round a rule; None where it does not, or where it is near to none."""
    said = quote(grammar, sentence)
    near = [one for one in quotes if _alike(said.bag, one.bag) >= NEAR[grammar.language]]
    twists = [_twist(grammar, said, one) for one in near]
    return twists[0] if twists and all(twists) else None


def _bag(grammar: Grammar, text: str) -> Counter[str]:
    if grammar.language == "en":
        return Counter(re.findall(r"[a-z]+|[ⓐ-ⓩ]", text))
    signs = re.sub(r"[^\u3400-\u9fffⓐ-ⓩ]", "", text)
    return Counter(signs[at:at + 2] for at in range(len(signs) - 1))


def _alike(one: Counter[str], other: Counter[str]) -> float:
    return 2 * (one & other).total() / max(one.total() + other.total(), 1)


def _twist(grammar: Grammar, said: Quote, rule: Quote) -> Twist | None:
    """What is different and matters: a denial, or a word on which rules turn."""
    added, left = said.words - rule.words, rule.words - said.words
    dropped = said.denied < rule.denied and left  # a part that denies may be left out
    if said.denied != rule.denied and not dropped and len(added) + len(left) <= SLIP[grammar.language]:
        return Twist(rule.text, frozenset(added))
    turned = {word for pair in grammar.opposites for word, other in (pair, pair[::-1]) if word in added and other in left}
    turned |= added & grammar.hard
    return Twist(rule.text, frozenset(turned)) if turned else None
