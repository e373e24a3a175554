"""Numbers that are spelt out become digits: "thirty days", 三十天. Of "one" and 一 only those that count something."""

import re

UNITS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SMALL = {word: value for value, word in enumerate(UNITS)} | {word: 20 + 10 * at for at, word in enumerate(TENS)}
WORD = "|".join(sorted(SMALL, key=len, reverse=True))
COUNTED = (
    r"(?:(?:working|business|calendar|full)[ -])?(?:second|minute|hour|day|week|month|year|euro|dollar|pound|percent|per cent"
    r"|piece|unit|coupon|account)s?\b"
)
SPELT = re.compile(
    rf"\b(?:(?P<hundreds>a|{WORD}) (?P<big>hundred|thousand)(?: and)?(?: (?P<rest>{WORD})(?:[- ](?P<last>{WORD}))?)?"
    rf"|(?P<tens>{WORD})(?:[- ](?P<ones>{WORD}))?)\b",
    re.IGNORECASE,
)
FIXED = (
    (re.compile(r"\bhalf an hour\b", re.IGNORECASE), "30 minutes"),
    (re.compile(r"\bhalf a dozen\b", re.IGNORECASE), "6"),
    (re.compile(r"\ba dozen\b", re.IGNORECASE), "12"),
    (re.compile(r"\b(?:a fortnight|fortnight)\b", re.IGNORECASE), "2 weeks"),
    (re.compile(rf"\b(?:within|in|for|after|per|than) (?:an?|one|the next) (?={COUNTED})", re.IGNORECASE), None),
    (re.compile(r"半个?小时"), "30分钟"),
)

WORDS = re.compile(rf"\b(?:{WORD})\b|[一二两三四五六七八九十百千]", re.IGNORECASE)
DIGITS = {sign: value for value, sign in enumerate("零一二三四五六七八九")} | {"两": 2, "〇": 0}
STEPS = {"十": 10, "百": 100, "千": 1000, "万": 10_000}
SIGNS = "零〇一二两三四五六七八九十百千万"
TIMES = r"(?:个)?(?:工作日|自然日|小时|钟头|分钟|星期(?![一二三四五六日天])|周(?![一二三四五六日])|月|年)"
CHINESE = re.compile(
    rf"百分之(?P<percent>[{SIGNS}]+)|(?P<some>[{SIGNS}]+)(?=(?:[至到或、][{SIGNS}]+)?(?:{TIMES}|天|日|号|欧元|美元|元|块|%"
    rf"|个月|件|箱|瓶|台|张|次|期|颗|名|个字符|折|个(?=包裹|快递|快件)))"
)
ONE_OF_MANY = re.compile(r"(?:件|箱|瓶|台|张|次|颗|名|块|号|日|元)")  # 一件: "a", not a count


def _one(match: re.Match[str]) -> str:
    return re.sub(r"\b(?:an?|one|the next) $", "1 ", match[0])


def digits(text: str) -> str:
    """The text with its spelt numbers as digits."""
    for pattern, instead in FIXED:
        text = pattern.sub(instead or _one, text)
    return CHINESE.sub(_chinese, SPELT.sub(_english, text))


def _english(match: re.Match[str]) -> str:
    if match["big"]:
        first = 1 if match["hundreds"].lower() == "a" else SMALL[match["hundreds"].lower()]
        small = sum(SMALL[match[name].lower()] for name in ("rest", "last") if match[name])
        return str(first * (100 if match["big"].lower() == "hundred" else 1000) + small)
    tens, ones = match["tens"].lower(), (match["ones"] or "").lower()
    if ones and not (SMALL[tens] >= 20 and 0 < SMALL[ones] < 10):
        return match[0]
    if tens == "one" and not re.match(rf" {COUNTED}", match.string[match.end():], re.IGNORECASE):
        return match[0]
    return str(SMALL[tens] + (SMALL[ones] if ones else 0))


def _chinese(match: re.Match[str]) -> str:
    if match["percent"]:
        return f"{_value(match['percent'])}%"
    some, after = match["some"], match.string[match.end():]
    if some == "一" and (ONE_OF_MANY.match(after) or (after.startswith("天") and match.string[: match.start()].endswith("的"))):
        return some
    if some in {"万", "千", "百"} or match.string[: match.start()].endswith(("第", "星期", "周", "礼拜")):
        return some
    return str(_value(some))


def _value(signs: str) -> int:
    total, current = 0, 0
    for sign in signs:
        if sign in STEPS:
            total, current = (total + current) * 10_000 if sign == "万" else total + (current or 1) * STEPS[sign], 0
        else:
            current = DIGITS[sign]
    return total + current
