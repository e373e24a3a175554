"""Numbers of somebody's: bank accounts, payment and identity cards, phones; and dates and amounts, which are nobody's.

Knows how they are grouped, their check digits, and the words before and beside them. Knows no numbers of streets and no
postcodes, and of orders only the words that come before theirs.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from agents.support.redaction.patterns import ALONE, ANY_MARK, ENDS, MARKS, WORD, Finder, Span, by

DIGITS: Final = re.compile(r"[0-9]+")

# --- numbers that are nobody's

DATE = re.compile(
    r"(?<![0-9])(?<![0-9][./-])(?:"
    r"(?:19|20)[0-9]{2}([./-])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12][0-9]|3[01])(?!\1?[0-9])"
    r"|(?:0?[1-9]|[12][0-9]|3[01])([./-])(?:0?[1-9]|[12][0-9]|3[01])\2(?:19|20)?[0-9]{2}(?!\2?[0-9])"
    r")"
)
AMOUNT = re.compile(
    r"(?:[€$£¥]|(?<![A-Za-z])(?:eur|usd|gbp|cny|rmb|chf)) ?[0-9][0-9.,]{0,14}"
    r"|(?<![0-9.,])[0-9][0-9.,]{0,14} ?(?:[€$£¥元块]|(?:eur|euros?|usd|gbp|cny|rmb|chf|pounds?|dollars?)(?![A-Za-z]))",
    re.IGNORECASE,
)
ORDER_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])(?:order|tracking|parcel|shipment|invoice|item|product|article|sku|ean|imei|serial|ref|reference"
    r"|rma|ticket)s? ?(?:no|nr|number|num|code|id)?[.:]?(?: is| was)?[ :#]{0,2}"
    r"|(?:订单|商品|单|货|编)号?(?:码|是|为)?[ :#]{0,2})$",
    re.IGNORECASE,
)
ORDER_BEFORE_REACH = 24


def _is_order(page: str, start: int) -> bool:
    return page[start].isdigit() and ORDER_BEFORE.search(page, max(0, start - ORDER_BEFORE_REACH), start) is not None


# --- bank accounts

# The registry's lengths for the countries whose customers a European shop has; of others the number is found only where
# it is written without blanks.
IBAN_LENGTHS: Final[Mapping[str, int]] = {
    country[:2]: int(country[2:]) for countries in (
        "AD24 AE23 AL28 AT20 BA20 BE16 BG22 CH21 CY28 CZ24 DE22 DK18 EE20 ES24 FI18 FO18 FR27 GB22 GE22 GI23 GL18 GR27",
        "HR21 HU28 IE22 IL23 IS26 IT27 KZ20 LI21 LT20 LU20 LV21 MC27 MD24 ME22 MK19 MT31 NL18 NO15 PL28 PT25 QA29 RO24",
        "RS22 SA24 SE24 SI19 SK24 SM27 TR26 UA29 VA22 XK20",
    ) for country in countries.split()
}
IBAN = re.compile(r"(?<![0-9A-Za-z])[A-Z]{2}[0-9]{2}(?:[ -]?[A-Z0-9]){11,30}", re.IGNORECASE)


def _ibans(page: str) -> Iterator[Span]:
    for match in IBAN.finditer(page):
        places = [at for at in range(*match.span()) if page[at].isalnum()]
        number = "".join(page[at] for at in places).upper()
        solid = len(number) == match.end() - match.start()
        length = IBAN_LENGTHS.get(number[:2], len(number) if solid else 0)
        if not 0 < length <= len(number) or WORD.match(page, places[length - 1] + 1):
            continue
        if _iban_is_valid(number[:length]):
            yield match.start(), places[length - 1] + 1


def _iban_is_valid(number: str) -> bool:
    return int("".join(str(int(sign, 36)) for sign in number[4:] + number[:4])) % 97 == 1


# --- cards

CARD_RUN = re.compile(r"(?<![0-9A-Za-z_+])(?<![0-9A-Za-z]-)[0-9]{1,19}(?:[ .-]{1,3}[0-9]{1,19})*(?![0-9])")
CARD_SHAPES: Final = {(4, 6, 5), (4, 6, 4), (6, 13), (6, 10)}  # American Express, Diners, bank cards of China
CHINESE_ID = re.compile(
    rf"{ALONE}[1-9][0-9]{{5}}(?:19|20)[0-9]{{2}}(?:0[1-9]|1[0-2])[0-3][0-9]{{4}}[0-9X]{ENDS}", re.IGNORECASE
)
CHINESE_ID_WEIGHTS: Final = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
# The month and the three digits are the card's only beside it, or by name: alone they are a date and a quantity.
CARD_EXPIRY = re.compile(
    rf"{MARKS['card']}[^{ANY_MARK}0-9]{{0,32}}"
    r"(?P<hit>(?:0[1-9]|1[0-2]) ?[/-] ?(?:20)?[2-9][0-9](?![0-9/-])(?:[ ,;/]{1,3}[0-9]{3,4}(?![0-9]))?)"
)
CARD_CODE = re.compile(
    r"(?:(?<![A-Za-z])(?:cvv2?|cvc2?|cvn|csc|security code|card code)|安全码|校验码)"
    r"(?: code| number| no)?[.:]?(?: is|是|为)?[ :=]{0,3}(?P<hit>[0-9]{3,4})(?![0-9A-Za-z])",
    re.IGNORECASE,
)
CARD_CODE_BESIDE = re.compile(rf"{MARKS['card']}[ ,;/]{{1,3}}(?P<hit>[0-9]{{3}})(?= ?(?:[,.;\n]|$))")


def _cards(page: str) -> Iterator[Span]:
    for run in CARD_RUN.finditer(page):
        groups = [group.span() for group in DIGITS.finditer(page, *run.span())]
        first = 0
        while first < len(groups):
            after = _card_ends(page, groups, first)
            if after > first:
                yield groups[first][0], groups[after - 1][1]
            first = max(after, first + 1)


def _card_ends(page: str, groups: list[Span], first: int) -> int:
    """The group after the longest card that begins with the group `first`, or 0."""
    number = ""
    sizes: tuple[int, ...] = ()
    out = 0
    for last, (start, end) in enumerate(groups[first:first + 19], first):
        number += page[start:end]
        sizes = (*sizes, end - start)
        if len(number) > 19 or not (sizes in CARD_SHAPES or all(size % 4 == 0 for size in sizes[:-1])):
            break
        if len(number) >= 13 and number[0] in "23456" and _luhn_is_valid(number):
            out = last + 1
    return 0 if out == first + 1 and _is_order(page, groups[first][0]) else out


def _luhn_is_valid(number: str) -> bool:
    digits = [int(digit) for digit in reversed(number)]
    return (sum(digits[::2]) + sum(sum(divmod(2 * digit, 10)) for digit in digits[1::2])) % 10 == 0


def _chinese_ids(page: str) -> Iterator[Span]:
    """Identity cards: what they say of their holder is more than a payment card does."""
    for match in CHINESE_ID.finditer(page):
        number = match[0]
        total = sum(weight * int(digit) for weight, digit in zip(CHINESE_ID_WEIGHTS, number[:17], strict=True))
        if "10X98765432"[total % 11] == number[17].upper():
            yield match.span()


# --- phones

GAP = "[ .-]{1,2}"
INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z+])\+\(?[1-9][0-9]{0,14}\)?(?:[ ./()-]{1,4}[0-9]{1,12}){0,7}")
INTERNATIONAL_00 = re.compile(
    # without blanks and shorter it is the number of an order, with zeros before it
    rf"{ALONE}00 ?[1-9](?:[0-9]{{9,13}}|[0-9]{{0,2}}(?:[ ./()-]{{1,4}}[0-9]{{1,12}}){{1,7}}){ENDS}"
)
NATIONAL = re.compile(
    rf"{ALONE}\(?0[1-9][0-9]{{1,4}}(?: ?[ /.-] ?|\) ?[ /.-]? ?)"
    rf"(?:[0-9]{{6,9}}|[0-9]{{2,5}}(?:{GAP}[0-9]{{2,5}}){{0,4}})(?![0-9A-Za-z_])"
)
FRENCH = re.compile(rf"{ALONE}0[1-9](?:[ .-][0-9]{{2}}){{4}}{ENDS}")
AMERICAN = re.compile(
    rf"{ALONE}(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}[ .-])[2-9][0-9]{{2}}[ .-][0-9]{{4}}{ENDS}"
)
CHINESE_MOBILE = re.compile(
    rf"{ALONE}(?:86[ -]?)?1[3-9][0-9](?:[0-9]{{8}}|{GAP}[0-9]{{8}}|{GAP}[0-9]{{4}}{GAP}[0-9]{{4}}"
    rf"|[0-9]{GAP}[0-9]{{4}}{GAP}[0-9]{{3}}|[0-9]{{4}}{GAP}[0-9]{{4}}){ENDS}"
)
MY_PHONE = r"(?:(?:tele)?phone|mobile|cell(?:phone)?|handy|contact|whats ?app|fax|my) ?(?:number|no|nr|num)s?"
CONTACT = (
    rf"(?:(?<![A-Za-z])(?:{MY_PHONE}|tele(?:ph|f)one?|tel|whats ?app|wechat|qq|fax"
    r"|(?:call|ring|text|phone|reach) (?:me|us)|rufnummer|handynummer)(?![A-Za-z])"
    r"|电话|手机号|微信|联系方式|联系号码|我的?号码|打给我|打我|致电|拨打|座机|传真)"
)
# A phone is also what shops sell: few digits after it are an item's.
DEVICE = r"(?:(?<![A-Za-z])(?:phone|mobile|mobil|handy|cell|call|contact)(?![A-Za-z])|手机)"
LINK = (
    r"(?:[ .:=(/-]{0,3}(?:(?:number|no|nr|is|are|me|back|us|on|at|to|under|my|it's|now)(?![A-Za-z])"
    r"|号码?|是|为|我|到|改成|改为|联系)){0,4}[ .:=(/-]{0,3}"
)
AFTER_WORD = (
    r"(?P<hit>\+?(?:[0-9]{7,15}|[0-9]{1,6}(?:[ ./()-]{1,3}[0-9]{1,12}){0,6}))(?![0-9A-Za-z_])"
)
CONTACT_NUMBER = re.compile(CONTACT + LINK + AFTER_WORD, re.IGNORECASE)
DEVICE_NUMBER = re.compile(DEVICE + LINK + AFTER_WORD, re.IGNORECASE)
NUMBER_OF = re.compile(
    rf"{ALONE}(?P<hit>[0-9]{{3,15}}(?:[ -][0-9]{{2,8}}){{0,3}}) ?"
    r"(?:is my (?:new )?(?:tele|mobile|cell|work|home)? ?(?:phone|number|mobile|cell|whatsapp|wechat)"
    r"|\((?:mobile|cell|phone|tel|whatsapp|home|work)\)|是我的?(?:电话|手机|微信|号码|联系))",
    re.IGNORECASE,
)
PHONE_EXTENSION = re.compile(
    rf"{MARKS['phone']}(?:-| ?(?:ext|x|转|分机)\.? ?)(?P<hit>[0-9]{{1,6}})(?![0-9A-Za-z_])", re.IGNORECASE
)
PHONE_BESIDE = re.compile(
    rf"{MARKS['phone']} ?(?:or|and|/|或|和) ?(?P<hit>[0-9]{{7,15}})(?![0-9A-Za-z_])", re.IGNORECASE
)
CHAT_NAME = re.compile(
    r"(?:(?:微信号|加我?微信) ?(?:是|为|:)? ?|微信 ?(?:是|:) ?|微信(?=wxid_)"
    r"|(?<![A-Za-z])(?:wechat|whatsapp|qq)(?: id)? ?: ?|wechat id(?: is)? )"
    r"(?P<hit>[A-Za-z][0-9A-Za-z_-]{5,19})(?![0-9A-Za-z_-])",
    re.IGNORECASE,
)


def _numbers(pattern: re.Pattern[str], least: int, most: int) -> Finder:
    """The matches with so many digits, less the groups at the end that are beyond that, or a single digit: a count."""
    group = pattern.groupindex.get("hit", 0)

    def find(page: str) -> Iterator[Span]:
        for match in pattern.finditer(page):
            start, end = match.span(group)
            groups = [digits.span() for digits in DIGITS.finditer(page, start, end)]
            total = sum(last - first for first, last in groups)
            while len(groups) > 1 and (total > most or groups[-1][1] - groups[-1][0] == 1):
                first, last = groups.pop()
                total -= last - first
            if least <= total <= most and not (len(groups) == 1 and _is_order(page, start)):
                yield start, groups[-1][1]

    return find


IBANS: Final[Sequence[Finder]] = (_ibans,)
CARDS: Final[Sequence[Finder]] = (_cards, _chinese_ids, by(CARD_EXPIRY), by(CARD_CODE), by(CARD_CODE_BESIDE))
PHONES: Final[Sequence[Finder]] = (
    _numbers(INTERNATIONAL, 7, 15), _numbers(INTERNATIONAL_00, 9, 17), _numbers(FRENCH, 10, 10),
    _numbers(NATIONAL, 9, 12), _numbers(AMERICAN, 10, 11), _numbers(CHINESE_MOBILE, 11, 13),
    _numbers(CONTACT_NUMBER, 5, 15), _numbers(DEVICE_NUMBER, 7, 15), _numbers(NUMBER_OF, 5, 15),
    by(PHONE_EXTENSION), by(PHONE_BESIDE), by(CHAT_NAME),
)
