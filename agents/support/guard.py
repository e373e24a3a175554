"""Whether a reply may be sent: it must say nothing that the facts and the known wordings do not.

Pure. Judges a text against *grounds*: the quotes of the facts and the template of the situation, which is true by
construction. What it refuses is answered by that template. So it may be strict, and is: a reply that is merely unusual
is refused too. It knows nothing of how the text was made, and trusts no model.

1. Its language is the customer's.
2. Each number, date, amount and id in it stands in the grounds, and so does a number that is spelt out.
3. The slots that the situation requires are in it.
4. It is made of what may be said here: each word lies in a group of words, and in Chinese each character in a group of
   characters (`GROUP`), that stands in the grounds, and a number after the words that are before it there. So no
   product, place or promise comes from nowhere, no two dates change places, and parts of wordings may be joined.
5. What it claims of an order, a refund or an item (`CLAIMS`), the grounds claim too.
6. A sentence denies as often as the one in the grounds that it is nearest to.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

from msgspec import Struct

from agents.support.language import Language, detect

MAX_CHARS = 600
GROUP: Mapping[str, int] = {"en": 3, "zh": 4}
BEFORE: Mapping[str, int] = {"en": 3, "zh": 7}  # words that tell what a number is of: "日期为" is too few

NUMBER = re.compile(r"[A-Za-z]*\d[A-Za-z0-9.,:/\-]*")
TRAILING = ".,:;/-"
WORD = re.compile(r"[a-z]+(?:'[a-z]+)?|[\u3400-\u9fff]|\d[a-z0-9.,:/\-]*")
SENTENCE = re.compile(r"[^.!?。！？]+(?:\.\d[^.!?。！？]*)*[.!?。！？]?")

SPELT = {
    "two": "2", "three": "3", "four": "4", "five": "5", "six": "6", "seven": "7", "eight": "8", "nine": "9",
    "ten": "10", "eleven": "11", "twelve": "12", "fourteen": "14", "twenty": "20", "thirty": "30", "hundred": "100",
}
HAN_DIGITS = {"一": 1, "二": 2, "两": 2, "三": 3, "四": 4, "五": 5, "六": 6, "七": 7, "八": 8, "九": 9}
HAN_NUMBER = re.compile(
    r"([一二两三四五六七八九]?)(十?)([一二三四五六七八九]?)"
    r"(?=个?(?:天|日|周|月|年|小时|分钟|工作日|元|欧元|件|次|折))"
)

NEGATIONS: Mapping[str, re.Pattern[str]] = {
    "en": re.compile(r"\b(?:not|no|never|cannot|nothing|nobody|none|neither|without|unable|[a-z]+n't)\b"),
    "zh": re.compile(r"不|没|無|无|未|勿|别"),
}
# what is said to be so, by the words that say it
CLAIMS: Mapping[str, Mapping[str, re.Pattern[str]]] = {
    "en": {
        "shipped": re.compile(r"\b(?:shipped|dispatched|sent out|on its way|handed (?:over )?to|in transit|left)\b"),
        "delivered": re.compile(r"\b(?:delivered|arrived|reached you)\b"),
        "cancelled": re.compile(r"\bcancell?ed\b"),
        "returned": re.compile(r"\breturned\b|\bcame back\b"),
        "packed": re.compile(r"\bpack(?:ed|ing)\b"),
        "refunded": re.compile(r"\brefunded\b|\bpaid (?:out|back)\b|\bbeen paid\b"),
        "declined": re.compile(r"\b(?:declined|rejected|refused)\b"),
        "approved": re.compile(r"\b(?:approved|accepted|granted)\b"),
        "available": re.compile(r"\b(?:in stock|available)\b"),
        "gone": re.compile(r"\b(?:sold out|out of stock|unavailable)\b"),
        "free": re.compile(r"\bfree\b"),
    },
    "zh": {
        "shipped": re.compile(r"已发货|已寄出|已发出|已交给|已交付|在途|运输中|配送中|派送中"),
        "delivered": re.compile(r"已送达|已签收|已到货|已妥投"),
        "cancelled": re.compile(r"已取消|取消了|被取消"),
        "returned": re.compile(r"已退回|已退货"),
        "packed": re.compile(r"已打包|打包完成|已备货"),
        "refunded": re.compile(r"已退款|已到账|已支付给|已退还|已退回"),
        "declined": re.compile(r"被拒|未通过|已拒绝|未获批准"),
        "approved": re.compile(r"已批准|已通过|已同意|审核通过"),
        "available": re.compile(r"有货|有现货|有库存"),
        "gone": re.compile(r"缺货|无货|售罄|没货|没有库存"),
        "free": re.compile(r"免费"),
    },
}


class Grounds(Struct, frozen=True):
    """What a reply may rest on: facts, and texts that are true here. `required`: values that it must name."""

    language: Language
    texts: tuple[str, ...]
    required: tuple[str, ...] = ()


def refusal(reply: str, grounds: Grounds) -> str | None:
    """Why the reply may not be sent, in a word and without what it says; None where it may."""
    numbers = {number for text in grounds.texts for number in _numbers(text)}
    claims = {claim for text in grounds.texts for claim in _claims(text, grounds.language)}
    rules: Mapping[str, Callable[[], bool]] = {
        "length": lambda: bool(reply.strip()) and len(reply) <= MAX_CHARS,
        "language": lambda: detect(reply, grounds.language) == grounds.language,
        "number": lambda: numbers.issuperset(_numbers(reply)),
        "slot": lambda: all(value in reply for value in grounds.required),
        "wording": lambda: _unknown(reply, grounds) is None,
        "claim": lambda: claims.issuperset(_claims(reply, grounds.language)),
        "negation": lambda: not _denies_otherwise(reply, grounds),
    }
    return next((name for name, holds in rules.items() if not holds()), None)


def _unknown(reply: str, grounds: Grounds) -> str | None:
    """The first word of the reply that stands in no group of the grounds; None where there is no such word.

    A number stands where it stands in the grounds: after the same words. Else dates, or sums, could change places.
    """
    size = GROUP[grounds.language]
    known = {group for text in grounds.texts for group in _groups(_words(text), size)}
    words = _words(reply)
    covered = [False] * len(words)
    for at, group in enumerate(_groups(words, size)):
        if group in known:
            covered[at : at + size] = [True] * size
    for at, word in enumerate(words):
        if word[0].isdigit():
            before = words[max(0, at - BEFORE[grounds.language]) : at + 1]
            if not any(tuple(before) in _groups(_words(text), len(before)) for text in grounds.texts):
                return word
    return next((word for word, is_known in zip(words, covered, strict=True) if not is_known), None)


def _groups(words: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    return zip(*(words[at:] for at in range(size)), strict=False)


def _numbers(text: str) -> Iterator[str]:
    """Everything that has a digit, and numbers that are spelt out."""
    for match in NUMBER.findall(text):
        yield match.rstrip(TRAILING).lower()
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in SPELT:
            yield SPELT[word]
    for tens, ten, ones in HAN_NUMBER.findall(text):
        number = HAN_DIGITS.get(tens, 1 if ten else 0) * (10 if ten else 1) + HAN_DIGITS.get(ones, 0)
        if number:
            yield str(number)


def _claims(text: str, language: str) -> set[tuple[str, bool]]:
    """What is claimed, and whether it is denied in the same sentence."""
    lower = text.lower()
    return {
        (claim, NEGATIONS[language].search(sentence) is not None)
        for sentence in SENTENCE.findall(lower)
        for claim, pattern in CLAIMS[language].items() if pattern.search(sentence)
    }


def _denies_otherwise(reply: str, grounds: Grounds) -> bool:
    negation = NEGATIONS[grounds.language]
    ground = [
        (set(_words(sentence)), len(negation.findall(sentence)))
        for text in grounds.texts for sentence in SENTENCE.findall(text.lower())
    ]
    for sentence in SENTENCE.findall(reply.lower()):
        words = set(_words(sentence))
        nearest = max(ground, key=lambda one: _overlap(words, one[0]), default=None)
        if nearest and _overlap(words, nearest[0]) > 0.5 and nearest[1] != len(negation.findall(sentence)):
            return True
    return False


def _overlap(one: Collection[str], other: Collection[str]) -> float:
    return len(set(one) & set(other)) / max(1, len(set(one) | set(other)))


def _words(text: str) -> list[str]:
    return [word.rstrip(TRAILING) for word in WORD.findall(text.lower())]
