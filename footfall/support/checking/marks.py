"""The values of a text: ids, days, sums, spans of time, names. Each becomes one sign, so that what is said of it can be read.

Knows how values are written in English and Chinese, and the names of this case; not whether a value is right.
"""

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from footfall.support.checking import dates
from footfall.support.checking.dates import Day
from footfall.support.checking.spelt import WORDS, digits
from footfall.support.checking.truth import Truth

SIGNS = {
    "order": "ⓞ", "tracking": "ⓣ", "carrier": "ⓒ", "title": "ⓘ", "date": "ⓓ", "money": "ⓜ", "percent": "ⓟ",
    "span": "ⓤ", "clock": "ⓚ", "number": "ⓝ", "contact": "ⓛ", "code": "ⓧ",
}
CURRENCIES = {
    "€": "EUR", "euro": "EUR", "euros": "EUR", "欧元": "EUR", "欧": "EUR", "$": "USD", "us$": "USD", "dollar": "USD",
    "dollars": "USD", "美元": "USD", "美金": "USD", "£": "GBP", "pound": "GBP", "pounds": "GBP", "英镑": "GBP",
    "¥": "CNY", "￥": "CNY", "元": "CNY", "块": "CNY", "块钱": "CNY", "人民币": "CNY", "rmb": "CNY", "yuan": "CNY",
    "瑞士法郎": "CHF", "瑞郎": "CHF", "日元": "JPY", "cent": "cent", "cents": "cent",
}
CARRIERS = (
    "DHL", "UPS", "FedEx", "DPD", "GLS", "TNT", "USPS", "Hermes", "Evri", "PostNL", "bpost", "Colissimo", "Chronopost",
    "Royal Mail", "Deutsche Post", "Amazon Logistics", "Yodel", "InPost", "Aramex", "EMS", "SF Express", "YTO", "ZTO",
    "顺丰", "圆通", "中通", "申通", "韵达", "极兔", "京东物流", "京东快递", "德邦", "百世", "菜鸟", "邮政",
)
UNITS = (
    (r"sec(?:ond)?s?|秒钟?", "second", 1), (r"min(?:ute)?s?|分钟", "minute", 1), (r"h(?:ou)?rs?|个?小时|个?钟头", "minute", 60),
    (r"(?:working|business)[ -]days?|个?工作日|个?工作天", "working day", 1),
    (r"(?:calendar |full |whole )?days?|天|个?自然日|日(?!期)", "day", 1), (r"weeks?|周|个?星期", "day", 7),
    (r"months?|个?月", "month", 1), (r"years?|年", "month", 12),
)
NUMBER = r"\d{1,3}(?:[ ,.]\d{3})+(?:[.,]\d{1,2})?(?!\d)|\d+(?:[.,]\d+)?"
CODE = r"#?[A-Za-z]*[A-Za-z0-9][A-Za-z0-9_-]*\d[A-Za-z0-9_-]*|#?\d[A-Za-z0-9_-]*"
SPOKEN = tuple((re.compile(pattern, re.IGNORECASE), words) for pattern, words in (
    (r"\bcan't\b", "cannot"), (r"\bwon't\b", "will not"), (r"n't\b", " not"), (r"'ll\b", " will"), (r"'ve\b", " have"), (r"'re\b", " are"),
    (r"\bi'm\b", "i am"), (r"'d\b", " would"), (r"\b(it|that|there|here|what|where|who|how|he|she)'s\b", r"\1 is"), (r"\be\.g\.", "for example"),
))
WIDE = str.maketrans({chr(0xFF01 + at): chr(0x21 + at) for at in range(94) if chr(0x21 + at).isalnum() or chr(0x21 + at) in "%#@"}
                     | {"’": "'", "‘": "'", "\u00a0": " ", "\u202f": " "})

_MONEY_SIGN = "|".join(re.escape(sign) for sign in sorted(CURRENCIES, key=len, reverse=True))
_SPAN_UNIT = "|".join(f"(?P<u{at}>{pattern})" for at, (pattern, _, _) in enumerate(UNITS))
_SPAN = re.compile(
    rf"(?<![\d.,])(?P<one>\d+(?:[.,]\d+)?)(?:\s?(?:to|-|–|or|and|至|到|~|或)\s?(?P<two>\d+))?[ -]?"
    rf"(?:(?:more|further|additional|extra|another|full|entire|whole)\s)?(?:{_SPAN_UNIT})(?![a-z])"
)
_VAGUE = re.compile(
    r"\b(?:a few|several|a couple of|a handful of|the next few|the coming|the next)(?: (?:working|business|short|more))? "
    r"(?:seconds|minutes|hours|days|weeks|months)\b|(?:几|数|若干)个?(?:工作日|分钟|小时|天|日|周|个?月)"
)
_CLOCK = re.compile(
    r"(?<![\d.])\d{1,2}[:：][0-5]\d\s?(?:to|-|–|and|until|至|到)\s?\d{1,2}[:：][0-5]\d|(?<![\d.])(?:[01]?\d|2[0-4])[:：][0-5]\d(?:\s?[ap]\.?m\b\.?)?|(?<![\d.])\d{1,2}\s?(?:[ap]\.?m\b\.?|o'clock)|\d{1,2}点(?:半|钟|整|\d+分)?"
    r"|\bnoon\b|\bmidnight\b|正午|午夜"
)
_CONTACT = re.compile(
    r"https?://\S+|www\.\S+|\b[\w-]+\.(?:com|de|org|net|eu|cn|shop|io|info)(?:/\S*)?\b|[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
)
_PHONE = re.compile(r"(?<![A-Za-z0-9.,/-])(?:\+\d|\(?0)[\d ()/-]{5,}\d(?![A-Za-z0-9-])|(?<![A-Za-z0-9.-])[48]00-\d{3,}-?\d{3,}(?![A-Za-z0-9-])")
_ORDER = re.compile(
    rf"(?:\borders? (?:numbers?|no\.?|id)?\s?(?:is |was )?:?\s?#?|\bnumber |订单号?(?:码|编号)?[为是：:]?\s?|#)(?P<id>{CODE})(?![\d%]|\s?(?:{_MONEY_SIGN})|[.,]\d)",
    re.IGNORECASE,
)
_ID_CUE = re.compile(r"(?:orders?|number|numbers|no\.|#|订单|订单号|单号|号码|[,、:：]|and|or|和|与|或)\s?$", re.IGNORECASE)


class Value(Struct, frozen=True):
    """`text`: as it is written. `numbers`, `unit`: of sums, spans and counts; a vague span has no number."""

    kind: str
    text: str
    numbers: tuple[float, ...] = ()
    unit: str = ""
    days: tuple[Day, ...] = ()
    names: tuple[str, ...] = ()


class Marked(Struct, frozen=True):
    """A text in small letters whose values are signs, and the value at each sign's place."""

    text: str
    values: Mapping[int, Value]

    def part(self, start: int, end: int) -> "Marked":
        while start < end and self.text[start].isspace():
            start += 1
        return Marked(self.text[start:end].rstrip(), {at - start: one for at, one in self.values.items() if start <= at < end})

    @property
    def written(self) -> str:
        """As it was before, but for capitals and spelt numbers."""
        return "".join(self.values[at].text if at in self.values else sign for at, sign in enumerate(self.text))

    def of(self, *kinds: str) -> Iterator[tuple[int, Value]]:
        return ((at, value) for at, value in sorted(self.values.items()) if value.kind in kinds)


def read(text: str, truth: Truth) -> Marked:
    """The text with its values marked."""
    for sign in SIGNS.values():
        text = text.replace(sign, " ")
    text = text.translate(WIDE)
    for pattern, words in SPOKEN:
        text = pattern.sub(words, text)
    text = _counted(text, truth)
    small = "".join(sign.lower() if len(sign.lower()) == 1 else sign for sign in text)
    taken: dict[int, tuple[int, Value]] = {}
    free = [True] * len(text)
    for start, end, value in _found(text, small, truth):
        if start < end and all(free[start:end]):
            free[start:end] = [False] * (end - start)
            taken[start] = (end, value)
    signs: list[str] = []
    values: dict[int, Value] = {}
    at = 0
    while at < len(text):
        if at in taken:
            at, value = taken[at]
            values[len(signs)] = value
            signs.append(SIGNS[value.kind])
        else:
            signs.append(small[at])
            at += 1
    return Marked("".join(signs), values)


def _counted(text: str, truth: Truth) -> str:
    """Spelt numbers as digits, but for those in the name of an item: a two-seat sofa stays one."""
    titles = [title for title, _ in _titles(truth) if re.search(WORDS, title)]
    if not titles:
        return digits(text)
    parts = re.split("(" + "|".join(map(re.escape, titles)) + ")", text, flags=re.IGNORECASE)
    return "".join(part if at % 2 else digits(part) for at, part in enumerate(parts))


def _found(text: str, small: str, truth: Truth) -> Iterator[tuple[int, int, Value]]:
    """Where values are, the surest first."""
    yield from _contacts(text)
    yield from _names(text, truth)
    for named in dates.find(small, truth.today):
        if any(day.month is None or 1 <= day.month <= 12 for day in named.days):
            yield named.start, named.end, Value("date", text[named.start:named.end], days=named.days)
    yield from _sums(small, text, truth)
    for match in re.finditer(rf"({NUMBER})\s?(?:%|percent\b|per cent\b)", small):
        yield *match.span(), Value("percent", match[0], (number(match[1]),), "%")
    for match in _CLOCK.finditer(small):
        yield *match.span(), Value("clock", match[0])
    yield from _spans(small, text)
    for written in re.findall(rf"(?<![A-Za-z0-9.,_-])(?:{CODE})(?![A-Za-z0-9_-]|[.,]\d)", truth.message):
        if re.search(r"\d{4}|[A-Za-z]", written) and len(written) > 3:
            yield from ((*match.span(), Value("order", match[0])) for match in _places(written, text))
    for match in _ORDER.finditer(text):
        code = match["id"].lstrip("#").rstrip("-_")
        if re.search(r"\d{4}|[A-Za-z]", code) and len(code) >= 3:
            yield match.start("id"), match.start("id") + len(match["id"].rstrip("-_")), Value("order", code)
    for match in re.finditer(rf"(?<![A-Za-z0-9.,_-])(?:{CODE})(?![A-Za-z0-9_-]|[.,]\d)", text):
        kind = "code" if re.search(r"\d{7}", match[0]) or (re.search("[A-Za-z]", match[0]) and len(match[0]) > 3) else ""
        if kind:
            yield *match.span(), Value(kind, match[0])
    for match in re.finditer(NUMBER, small):
        yield *match.span(), Value("number", match[0], (number(match[0]),))


def _contacts(text: str) -> Iterator[tuple[int, int, Value]]:
    for pattern in (_CONTACT, _PHONE):
        for match in pattern.finditer(text):
            shown = match[0].rstrip(".,;:!?)。，；）")
            yield match.start(), match.start() + len(shown), Value("contact", shown)


def _names(text: str, truth: Truth) -> Iterator[tuple[int, int, Value]]:
    orders = (*truth.orders, *truth.foreign)
    shipments = [order.shipment for order in orders if order.shipment]
    for title, whole in _titles(truth):
        for match in _places(title, text):
            yield *match.span(), Value("title", match[0], names=whole)
    for name in _long_first(shipment.tracking_id for shipment in shipments):
        for match in _places(name, text):
            yield *match.span(), Value("tracking", name)
    for name in _long_first(order.order_id for order in orders):
        for match in _places(name, text):
            if len(name) > 3 or _ID_CUE.search(text[: match.start()]):
                yield *match.span(), Value("order", name)
    for name in _long_first([*(shipment.carrier for shipment in shipments), *CARRIERS]):
        for match in _places(name, text, exact=name in CARRIERS):
            yield *match.span(), Value("carrier", name)


def _titles(truth: Truth) -> list[tuple[str, tuple[str, ...]]]:
    """Titles and what is said for short, with the titles that it may stand for; the longest first."""
    lines = [line.item_name or "" for order in (*truth.orders, *truth.foreign) for line in order.lines]
    full = {title for title in (*(item.title for item in truth.items), *truth.recommended, *lines) if title.strip()}
    meant: dict[str, set[str]] = {title.lower(): {title} for title in full}
    for title in full:
        for short in _short(title):
            meant.setdefault(short.lower(), set()).add(title)
    return [(name, tuple(sorted(titles))) for name, titles in sorted(meant.items(), key=lambda pair: -len(pair[0]))]


def _short(title: str) -> Iterator[str]:
    words = title.split()
    for length in range(2, len(words)):
        for at in range(len(words) - length + 1):
            run = words[at:at + length]
            if sum(len(word) > 2 and word[0].isalpha() for word in run) > 1:
                yield " ".join(run)
    if re.search("[一-鿿]", title):
        signs = title.replace(" ", "")
        for length in range(4, len(signs)):
            yield from (signs[:length], signs[-length:])


def _places(name: str, text: str, *, exact: bool = False) -> Iterator[re.Match[str]]:
    before = r"(?<![A-Za-z0-9])(?<!\d[.,:/-])" if name[:1].isascii() else ""
    after = r"(?![A-Za-z0-9]|[.,:/-]\d)" if name[-1:].isascii() else ""
    return re.finditer(before + re.escape(name) + after, text, 0 if exact else re.IGNORECASE)


def _sums(small: str, text: str, truth: Truth) -> Iterator[tuple[int, int, Value]]:
    codes = {truth.currency, *(order.currency or "" for order in truth.orders), "EUR", "USD", "GBP", "CHF", "CNY", "JPY", "SEK", "PLN"}
    sign = _MONEY_SIGN + "|" + "|".join(code.lower() for code in sorted(codes) if code)
    for match in re.finditer(
        rf"(?<![a-z0-9.,])(?P<before>{sign})\s?(?P<n>{NUMBER})|(?<![a-z0-9])(?<!\d[.,])(?P<m>{NUMBER})(?:\s?(?:to|-|–|至|到)\s?(?P<k>{NUMBER}))?\s?(?P<after>{sign})(?![a-z])",
        small,
    ):
        written = match["before"] or match["after"]
        numbers = tuple(number(part) for part in (match["n"], match["m"], match["k"]) if part)
        yield *match.span(), Value("money", text[slice(*match.span())], numbers, CURRENCIES.get(written, written.upper()))


def _spans(small: str, text: str) -> Iterator[tuple[int, int, Value]]:
    for match in _SPAN.finditer(small):
        at = next(at for at in range(len(UNITS)) if match[f"u{at}"])
        _, unit, times = UNITS[at]
        numbers = tuple(number(part) * times for part in (match["one"], match["two"]) if part)
        yield *match.span(), Value("span", text[slice(*match.span())], numbers, unit)
    for match in _VAGUE.finditer(small):
        yield *match.span(), Value("span", match[0], (), "vague")


def number(written: str) -> float:
    """1,299.00 and 1.299,00 and 12,5."""
    plain = written.replace(" ", "")
    if re.search(r"[.,]\d{3}(?:[.,]|$)", plain) and not plain.startswith("0"):
        head, tail = (plain[:-3], plain[-2:]) if re.search(r"[.,]\d\d$", plain) else (plain, "")
        plain = re.sub("[.,]", "", head) + (f".{tail}" if tail else "")
    return float(plain.replace(",", "."))


def _long_first(names: Iterable[str | None]) -> list[str]:
    return sorted({name for name in names if name}, key=len, reverse=True)


