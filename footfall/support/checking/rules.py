"""Whether a statement is what the shop's rules say: the same words, the same numbers, denied where the rule denies.

Knows the passages and what the system itself always holds to, and how two sentences are compared; no facts of a customer.
"""

import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date
from functools import lru_cache
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from footfall.support.checking.marks import Marked, Value, read
from footfall.support.checking.quotes import Quote, quote
from footfall.support.checking.reading import Grammar, clauses, sentences, silent
from footfall.support.checking.truth import Truth

ALIKE = {"en": 0.74, "zh": 0.6}  # of what is said, the share that the rule must say too
NUMBER_WEIGHT = 2.0
LEAST = 0.24  # of what the rule says, the share that must be said, that it is this rule at all
LEAST_DENIED = 0.5  # a denial, or a gift, that leaves out to whom it applies is another rule
NEAR_SHARE = 0.7  # for each word of the rule itself, how many of the rest of its passage count
LISTED = 5  # words: what has no verb and is no longer goes on with the list before it
HOUSE = {
    "en": (
        "An approved refund will be paid within 5 working days.",
        "We only help with orders, deliveries, returns, products and your account.",
        "A colleague in customer service can explain why a refund was declined.",
        "You can cancel it in your account, or customer service can cancel it for you, until it is handed to the carrier.",
        "You can change it in your account, or customer service can change it for you, until it is handed to the carrier.",
        "Only open orders can be changed.", "An order can be cancelled only before it is with you.",
        "Orders that have been delivered, cancelled or returned are closed and can no longer be changed.",
        "The phone number and the e-mail address of customer service are in your account under Contact.",
    ),
    "zh": (
        "已批准的退款将在5个工作日内支付。", "我们只能为您解答订单、配送、退货、商品和账户方面的问题。",
        "客服的同事可以说明退款被拒绝的原因。", "在订单交给快递公司之前，您可以在账户中取消，也可以请客服为您取消。",
        "在订单交给快递公司之前，您可以在账户中修改，也可以请客服为您修改。", "已送达、已取消或已退货的订单均不能修改。",
        "客服的电话和邮箱见您的账户的联系我们。",
    ),
}
"""What is so without a passage, because the system is made this way."""


class Rule(Struct, frozen=True):
    """A sentence of a passage, or two that follow each other. `words`: whether its clause denies each.

    `around`: the words of the whole passage.
    """

    words: Mapping[str, bool]
    numbers: frozenset[str]
    text: str
    around: frozenset[str] = frozenset()


class Rules(Struct, frozen=True):
    """What a shop's passages say."""

    rules: tuple[Rule, ...]
    said: frozenset[str]
    text: str
    quotes: tuple[Quote, ...]


@lru_cache(maxsize=16)
def learn(grammar: "_Same", policies: tuple[str, ...], currency: str) -> Rules:
    """The rules of these passages; they are few, and the same for many replies."""
    language = grammar.grammar
    nobody = Truth(currency=currency, today=date(2000, 1, 1))
    rules: list[Rule] = []
    said: set[str] = set()
    quotes: list[Quote] = []
    for passage in (*policies, *HOUSE[language.language]):
        parts = list(sentences(language, read(passage, nobody)))
        single = [_rule(language, one) for one in parts]
        around = frozenset(word for rule in single for word in rule.words)
        found = [*single, *(_joined(first, second) for first, second in pairwise(single))]
        found += [part for one in parts for part in _parts(language, one)]
        rules += [replace(rule, around=around) for rule in found]
        quotes += [quote(language, one) for one in parts]
        said |= {plain(one.text) for one in single}
    return Rules(tuple(rules), frozenset(said), "\n".join(policies), tuple(quotes))


class _Same(Struct, frozen=True, eq=False):
    """A grammar as a key: there is one of each language."""

    grammar: Grammar


_KEYS: dict[str, _Same] = {}


def rules_of(grammar: Grammar, truth: Truth) -> Rules:
    return learn(_KEYS.setdefault(grammar.language, _Same(grammar)), truth.policies, truth.currency)


def plain(text: str) -> str:
    """A sentence without what does not matter when it is quoted."""
    return "".join(sign for sign in text.lower() if sign.isalnum())


def _rule(grammar: Grammar, sentence: Marked) -> Rule:
    return Rule(denials(grammar, sentence), numbers(sentence), sentence.written)


def _parts(grammar: Grammar, sentence: Marked) -> Iterator[Rule]:
    """The clauses of a sentence without conditions, each as a rule of its own."""
    spans = clauses(grammar, sentence.text)
    if len(spans) > 1 and not silent(grammar, sentence.text) and not grammar.about("exception", sentence.text):
        for start, end in spans:
            rule = _rule(grammar, sentence.part(start, end))
            if len(rule.words) > 2 and grammar.verb.search(sentence.text[start:end]):
                yield rule


def _joined(first: Rule, second: Rule) -> Rule:
    both = {word: first.words.get(word, False) or denied for word, denied in second.words.items()}
    return Rule({**first.words, **both}, first.numbers | second.numbers, "")


def denials(grammar: Grammar, sentence: Marked) -> Mapping[str, bool]:
    """The words that carry the meaning, and whether they are denied."""
    found: dict[str, bool] = {}
    before = False
    for start, end in clauses(grammar, sentence.text):
        words, times = grammar.tokens(sentence.part(start, end))
        clause = sentence.text[start:end]
        before = denied = times % 2 == 1 or (before and len(clause.split()) <= LISTED and not grammar.verb.search(clause))
        for word in words:
            found[word] = found.get(word, False) or denied
    return found


def numbers(part: Marked) -> frozenset[str]:
    return frozenset(key for _, value in part.values.items() for key in _keys(value))


def _keys(value: Value) -> Iterator[str]:
    if value.kind in {"span", "money", "percent", "number"}:
        yield "-".join(f"{one:g}" for one in value.numbers) + f" {value.unit}"
        if value.kind == "money":
            yield from (f"{one:g} {value.unit}" for one in value.numbers)
    elif value.kind == "date":
        yield from (f"weekday {day.weekday}" for day in value.days if day.weekday is not None)
    elif value.kind in {"clock", "contact"}:
        yield "-".join(re.findall(r"\d+[:：]\d+", value.text)).replace("：", ":") or value.text.lower()


def quoted(rules: Rules, sentence: Marked) -> bool:
    """Whether it is a sentence of a passage, word by word."""
    return plain(sentence.written) in rules.said


def supported(grammar: Grammar, rules: Rules, part: Marked, *, giving: bool = False, topics: Collection[str] = ()) -> bool:
    """Whether a rule says this. `giving`: it promises the customer something. `topics`: words that must be in the rule."""
    words, amounts = denials(grammar, part), numbers(part)
    if not words:
        return False
    if len(topics) > 1 and any(_denies(grammar, rule, words, topics) for rule in rules.rules):
        return False
    return any(_says(grammar, rule, words, amounts, giving=giving, topics=topics) for rule in rules.rules)


def _denies(grammar: Grammar, rule: Rule, words: Mapping[str, bool], topics: Collection[str]) -> bool:
    if any(_turned(words, rule.words, *pair) for pair in grammar.opposites):
        return False
    alike = 2 * sum(word in rule.words for word in words) >= len(words)
    return alike and bool(rule.text) and all(rule.words.get(topic, words[topic]) != words[topic] for topic in topics)


def _says(
    grammar: Grammar, rule: Rule, words: Mapping[str, bool], amounts: frozenset[str], *, giving: bool, topics: Collection[str]
) -> bool:
    if not amounts <= rule.numbers or any(word not in rule.words and (word in grammar.hard or word not in rule.around) for word in topics):
        return False
    if any(_turned(words, rule.words, *pair) for pair in grammar.opposites):
        return False
    shared = [word for word in words if word in rule.words]
    weight = NUMBER_WEIGHT * len(amounts)
    share = (len(shared) + weight) / max(1.0, len(rule.words) + NUMBER_WEIGHT * len(rule.numbers))
    if amounts and len(shared) < 2 and not (shared and share >= LEAST_DENIED):  # a number alone is no rule
        return False
    rest = [word for word in words if word not in rule.words]
    near = min(len(rest), len(shared) * NEAR_SHARE) if all(word in rule.around for word in rest) else 0
    if len(shared) + near + weight < ALIKE[grammar.language] * (len(words) + weight):
        return False
    turned = sum(words[word] != rule.words[word] for word in shared)
    if turned * 2 > len(shared) or (turned and not any(words.values()) and turned * 3 > len(shared)):
        return False
    return share >= (LEAST_DENIED if giving or any(words.values()) else LEAST)


def _turned(said: Mapping[str, bool], rule: Mapping[str, bool], one: str, other: str) -> bool:
    return (one in said) != (other in said) and (one in rule) != (other in rule) and (one in said) != (one in rule)
