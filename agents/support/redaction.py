"""Personal data in a message's text, replaced by placeholders before anyone stores the text or a model reads it.

Pure, by pattern and check digit: knows the forms in which people write their data in English and Chinese, and German
addresses; knows no dictionary of people or places. So a name is found by what is said before it, never by itself.
In doubt about a number that could be an order's, the number stays, unless its check digits say that it is a card.

A message may be hostile. Every repetition is bounded, or what follows it cannot also be read as one more of it, so that
no text makes the search go back more than a fixed number of characters from any place.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

KINDS: Final = ("address", "card", "email", "iban", "name", "phone")
PLACEHOLDER: Final = re.compile(rf"\[({'|'.join(KINDS)})\]")
# The search runs over a copy of the text in which what was found is overwritten, each character by its kind's mark:
# later rules neither find it again nor join what stands on its two sides, and positions stay those of the text.
MARKS: Final[Mapping[str, str]] = {kind: chr(0xE000 + number) for number, kind in enumerate(KINDS)}
NOT_PERSONAL: Final = chr(0xE000 + len(KINDS))
ANY_MARK: Final = f"\ue000-{NOT_PERSONAL}"
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
WORD: Final = re.compile(r"[0-9A-Za-z]")
WORDS: Final = re.compile(r"[+(]{0,2}\w+")
KEPT: Final = "k"
NOT_KEPT: Final = re.compile(" +")
DIGITS: Final = re.compile(r"[0-9]+")
HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff"
LATIN: Final = "A-Za-z\u00c0-\u024f"

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]


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
# A number's neighbours: `A-4411`, `#4411`, `/p/4411` and `1.4411` are ids, addresses of pages and amounts.
ALONE = r"(?<![0-9A-Za-z_#/=])(?<![0-9A-Za-z]-)(?<![0-9][.,])"
ENDS = r"(?![0-9A-Za-z_]|-[0-9])"
ORDER_BEFORE = re.compile(
    r"(?:(?<![A-Za-z])(?:order|tracking|parcel|shipment|invoice|item|product|article|sku|ean|imei|serial|ref|reference"
    r"|rma|ticket)s? ?(?:no|nr|number|num|code|id)?[.:]?(?: is| was)?[ :#]{0,2}"
    r"|(?:订单|商品|单|货|编)号?(?:码|是|为)?[ :#]{0,2})$",
    re.IGNORECASE,
)
ORDER_BEFORE_REACH = 24


def _any(words: str) -> str:
    """One of the words, as a word of its own; `_` stands for a blank."""
    return rf"(?<![{LATIN}])(?:{'|'.join(words.split()).replace('_', ' ')})(?![{LATIN}])"


def _none(words: str) -> str:
    """Not one of the words, in whatever letters."""
    return rf"(?!(?i:{'|'.join(words.split())})(?![{LATIN}'-]))"


def _is_order(page: str, start: int) -> bool:
    return page[start].isdigit() and ORDER_BEFORE.search(page, max(0, start - ORDER_BEFORE_REACH), start) is not None


def _by(pattern: re.Pattern[str]) -> Finder:
    """What the group `hit` holds, if there is one, else all: the words that gave it away stay."""
    group = pattern.groupindex.get("hit", 0)
    return lambda page: (match.span(group) for match in pattern.finditer(page))


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


# --- e-mail

LOCAL = rf"{LATIN}0-9._%+'-"
LABEL = rf"[{LATIN}0-9-]{{1,63}}"
SPOKEN = rf"[{LATIN}0-9_+-]{{1,64}}"
SPOKEN_AT = r" ?[(\[{] ?(?:at|@) ?[)\]}] ?"
SPOKEN_DOT = r"(?: {1,2}dot {1,2}| ?[(\[{] ?(?:dot|\.) ?[)\]}] ?)"
EMAIL = re.compile(
    rf"(?<![{LOCAL}])(?:"
    # without an ending as well: "anna@gmail" is what people forget the rest of
    rf"[{LOCAL}]{{1,128}}@(?:(?:{LABEL}[.。]){{1,8}}[A-Za-z]{{2,24}}|[A-Za-z][A-Za-z-]{{1,62}})"
    rf"|[{LOCAL}]{{1,128}} ?@ ?(?:{LABEL}\.){{1,8}}[A-Za-z]{{2,24}}"
    rf"|(?:{SPOKEN}(?: {{1,2}}dot {{1,2}}|\.)){{0,3}}{SPOKEN}"
    rf"(?: {{1,2}}at {{1,2}}{LABEL}{SPOKEN_DOT}|{SPOKEN_AT}{LABEL}(?:{SPOKEN_DOT}|\.))"
    rf"(?:{LABEL}(?:{SPOKEN_DOT}|\.)){{0,3}}[A-Za-z]{{2,24}}"
    r")(?![A-Za-z])",
    re.IGNORECASE,
)

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

# --- addresses

CAPITAL = rf"[A-Z\u00c0-\u00de][{LATIN}'.-]{{0,24}}"
CITY = _none("""
    a ad also an and best but call can cancel change cheers contact could customer dear deliver delivery e-mail email
    for hello hi how i i'm i've if instead is it item kind mobile my name not order phone please refund regards send
    ship sincerely tel thank thanks that the there this tracking we what when where why would you your
""") + rf"{CAPITAL}(?![0-9A-Za-z]|-[0-9])"
AND = r"(?: {0,2}, ?\n? ?| {0,2}\n ?| - | {1,2})"  # between the parts of an address, which may be lines
UK_POSTCODE = r"(?i:[A-Z]{1,2}[0-9][0-9A-Z]? ?[0-9][A-Z]{2})"
POSTCODE = rf"(?:{UK_POSTCODE}|(?:D-)?[0-9]{{5}}(?:-[0-9]{{4}})?)(?![0-9A-Za-z])"
FLAT = (
    r"(?:(?i:apt|apartment|flat|unit|suite|ste|room|rm|floor|fl|building|bldg|block)\.? ?#?[0-9]{1,5}[A-Za-z]?"
    r"|#[0-9]{1,4}[A-Za-z]?)(?![0-9A-Za-z])"
)
TAIL = rf"(?:{AND}{FLAT}){{0,2}}(?:{AND}{CITY}){{0,5}}(?:{AND}{POSTCODE})?(?:(?<=[0-9A-Z]){AND}{CITY}){{0,3}}"
HOUSE = rf"(?:{FLAT}{AND}){{0,3}}(?:(?i:no)\.? ?)?[0-9]{{1,5}}[A-Za-z]?(?:[-/][0-9]{{1,4}}[A-Za-z]?)?,? "
STREET = (
    r"(?i:street|avenue|ave|road|rd|lane|ln|boulevard|blvd|crescent|terrace|parkway|pkwy|highway|hwy|mews)"
    r"(?![A-Za-z])\.?"
)
# These are words of product names and sentences too: they end an address's line, or are no street's.
MAYBE_STREET = (
    r"(?i:st|drive|dr|court|ct|place|pl|square|sq|way|close|gardens|grove|row|hill|walk|circle|cir|trail|park|green|wharf)"
    r"(?![A-Za-z])\.?(?= ?(?:, ?\n? ?[A-Z]|[;\n]|$))"
)
ENGLISH_ADDRESS = re.compile(
    rf"{ALONE}{HOUSE}(?:(?:{CAPITAL}|[0-9]{{1,3}}(?:st|nd|rd|th)) ){{1,4}}(?:{STREET}|{MAYBE_STREET}){TAIL}"
)
# In small letters it could be "2 black street lamps": there the line ends, or the words before tell.
SMALL = _none(
    "a all and at black by down for from i in is it its of off on or the their this to up was white with"
) + "[a-z'-]{2,24}"
SMALL_STREET = rf"{HOUSE}(?:{SMALL} ){{1,2}}(?:street|avenue|ave|road|rd|lane|boulevard|blvd)(?![A-Za-z])"
SMALL_TAIL = rf"(?:,? {{1,2}}[a-z-]{{2,20}}){{0,3}},? {{1,2}}{POSTCODE}"
ADDRESS_WORD = (
    r"(?<![A-Za-z])(?i:address(?: is| to|:)?|(?:deliver|ship|send)(?:ed)?(?: it| them| this| everything)? to"
    r"|live (?:at|in)|moved? to)[ :,]{1,3}"
)
SMALL_ADDRESS = re.compile(rf"{ALONE}{SMALL_STREET}(?:{SMALL_TAIL}|(?=[ .]{{0,2}}(?:[,;.\n]|$)))")
TOLD_SMALL_ADDRESS = re.compile(rf"{ADDRESS_WORD}(?P<hit>{SMALL_STREET}(?:{SMALL_TAIL})?)")
TOLD_ADDRESS = re.compile(rf"{ADDRESS_WORD}(?P<hit>{HOUSE}{CITY}(?: {CITY}){{1,3}}{TAIL})")
BOX_ADDRESS = re.compile(
    rf"(?<![A-Za-z])(?i:p\.? ?o\.? ?box|postfach|packstation) ?[0-9]{{1,6}}(?![0-9A-Za-z]){TAIL}"
)
GERMAN_NUMBER = r"[0-9]{1,4}(?: ?[a-z](?![A-Za-z]))?(?:[-/][0-9]{1,4}[a-z]?)?(?![0-9A-Za-z])"
GERMAN_ADDRESS = re.compile(
    rf"(?<![{LATIN}-])(?:"
    rf"[{LATIN}][{LATIN}-]{{1,40}}(?i:stra(?:ß|ss)e|str\.?|weg|platz|allee|gasse|damm|ufer|chaussee|steig)"
    r"|(?!(?:Das|Dem|Den|Der|Die|Ein) )(?:[A-Z\u00c0-\u00de][a-z\u00df-\u00ff-]{1,24} ){1,3}"
    r"(?:Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Gasse|Ring|Damm|Ufer)"
    rf") ?{GERMAN_NUMBER}{TAIL}"
)
# any street's name, given away by the postcode and the town after it
GERMAN_LINES = re.compile(
    rf"(?<![{LATIN}0-9-])(?:{CITY} ){{1,4}}{GERMAN_NUMBER}{AND}(?:D-)?[0-9]{{5}} {CITY}(?:[ -]{CITY}){{0,2}}"
)
GERMAN_TOWN = re.compile(rf"(?<![0-9A-Za-z-])D-[0-9]{{5}} {CITY}")
TOLD_POSTCODE = re.compile(
    r"(?:(?<![A-Za-z])(?:zip(?: ?code)?|post(?:al)? ?code|plz|postleitzahl)(?![A-Za-z])|邮编|邮政编码)"
    rf"(?: to| is|是|为|:|改成){{0,2}}[ :.]{{0,2}}(?P<hit>[0-9]{{6}}(?![0-9A-Za-z])|{POSTCODE})",
    re.IGNORECASE,
)

# Chinese writes no blanks, so a place's name ends before a character that sentences need and places hardly have.
NOT_IN_PLACE = "我你您他她请把的了吗呢吧给到寄送在是为不没有要想退换货订件买这那跟或往改址住谢说问什么怎"
PLACE = rf"(?:(?![{NOT_IN_PLACE}])[{HAN}])"
UNITS = "(?:号楼|号院|号|弄|栋|幢|座|塔|单元|室|楼|层|房|户)"
CHINESE_NUMBER = "[0-9A-Za-z一二三四五六七八九十百]{1,5}(?:-[0-9]{1,5}){0,2}"
CHINESE_ADDRESS = re.compile(
    rf"{PLACE}(?:(?<![线条])[路街]|大道|巷|弄|胡同|小区|花园|公寓|大厦|广场|家园|新村|苑|宿舍|村)"
    rf"[ ,]?{PLACE}{{0,6}}{CHINESE_NUMBER} ?{UNITS}"
    rf"(?:[ ,]?[A-Za-z]{{0,8}}{PLACE}{{0,10}}[0-9A-Za-z]{{1,5}}(?:-[0-9]{{1,5}}){{0,2}} ?{UNITS}){{0,5}}"
    r"(?:-?[0-9]{2,4}(?![0-9A-Za-z]))?"
)
CHINESE_ADDRESS_REACH = 32
IN_PLACE = re.compile(PLACE)
IN_ADDRESS = rf"(?:{PLACE}|[0-9A-Za-z#-])"
TOLD_CHINESE_ADDRESS = re.compile(
    rf"地址 ?(?:变更为|改成|改为|换成|是|为|:)[ :]{{0,2}}(?={IN_ADDRESS}{{0,40}}[省市区县镇村路街号室栋])"
    rf"(?P<hit>{IN_ADDRESS}{{3,60}})"
)


def _chinese_addresses(page: str) -> Iterator[Span]:
    """From the number in the street or on the estate back over what can be the names of places."""
    least = 0
    for match in CHINESE_ADDRESS.finditer(page):
        start, end = match.span()
        least = max(least, start - CHINESE_ADDRESS_REACH)
        while start > least and _is_in_place(page, start - 1):
            start -= 1
        if page[max(0, start - 1):start] in {"改", "换", "变"} and page[start] in "成为":
            start += 1
        yield start, end
        least = end


def _is_in_place(page: str, at: int) -> bool:
    return IN_PLACE.match(page, at) is not None or (page[at] in " ," and page[at - 1:at] in {*"省市区县镇"})


# --- names

NOT_NAME = _none("""
    a actually again all already also am an and are as at blank but called can cancel changed correct currently cut
    different displayed dr email empty for frau from goodbye hello here herrn? hi how i i'd i'm i've if in incomplete
    incorrect invalid is isn't it item just listed long miss missing misspell?ed misspelt mrs? ms mx my never no not
    now nowhere of off ok on only or order password phone please pls printed private prof really refund registered
    right same showing shown so something spelled spelt still supposed tel thank thanks that the there they this to
    too under unknown used very was we what when where who why with without written wrong you your
""")
# What people say of themselves more often than a name.
NOT_SELF = _none("""
    american angry australian british canadian chinese confused customer disappointed dutch english french frustrated
    furious german gold happy indian interested irish italian japanese jewish late member muslim new platinum plus
    polish premium prime pro ready sad scottish sick silver sorry spanish student sure tired turkish unable unhappy
    upset vegan vegetarian vip welsh [a-z]{1,12}ing
""")
NOT_TITLED = _none("""
    beckmann best bronners? browns? clean coffee jart martens? meyers? muscle oetker office pepper scholl word
""")
NOT_SIGNED = _none("all bye cheers everyone great guys regards support team waiting")
STOPS = r" {0,2}(?:[,.;:!?()\n-]|$)"
GOES_ON = rf"(?={STOPS}| (?i:{_any('and at calling customer from here i in my of order the who with writing')}))"
REST = rf"[{LATIN}'-]{{0,24}}(?![{LATIN}0-9])"
TITLE_CASE = rf"{NOT_NAME}[A-Z\u00c0-\u00de](?:[a-z\u00df-\u00ff]|'[A-Z]){REST}"
ANY_CASE = rf"{NOT_NAME}[{LATIN}]{REST}"
INITIALS = r"(?:[A-Z]\. ?){0,2}"
PARTICLES = "(?:(?:al|bin|da|de|del|den|der|di|du|la|le|ten|ter|van|von|zu) ){0,2}"
FULL_NAME = rf"{INITIALS}{TITLE_CASE}(?: {INITIALS}{PARTICLES}{TITLE_CASE}){{0,3}}"
LOOSE_NAME = (
    rf"(?:{INITIALS}{TITLE_CASE}(?: {INITIALS}{PARTICLES}{TITLE_CASE}){{1,3}}"
    # "my name is engraved on it"
    rf"|(?:{INITIALS}{TITLE_CASE}|{ANY_CASE}(?! {_any('as at by in into off on onto the')}))"
    rf"(?: {ANY_CASE}{GOES_ON}){{0,2}})"
)
NAME = "(?:full |first |last |family |sur)?names?"
NOT_OF_A_THING = (
    "(?<!article )(?<!brand )(?<!company )(?<!file )(?<!item )(?<!model )(?<!product )(?<!shop )(?<!store )(?<!user )"
)
TOLD_NAME = re.compile(
    rf"(?<![{LATIN}])(?i:my {NAME}(?: is|'s| ?:)|mein name ist|ich hei(?:ß|ss)e"
    r"|(?:the )?name (?:on|for|of) (?:the|my) (?:account|card|invoice|order|parcel) is"
    rf"|(?:under|in) the name(?: of)?|{NOT_OF_A_THING}{NAME} ?[:=]"
    r"|(?:recipient|consignee|addressee|attn) ?:|attn\.?|c/o)"
    rf" ?[: ] ?(?P<hit>{LOOSE_NAME})"
)
SELF_NAME = re.compile(
    rf"(?<![{LATIN}])(?i:i am|i'm|im|ich bin|my name|contact ?:|customer ?:) {NOT_SELF}(?P<hit>{FULL_NAME}){GOES_ON}"
)
SPEAKING_NAME = re.compile(
    rf"(?<![{LATIN}])(?i:this is|it's|it is) "
    rf"(?P<hit>{FULL_NAME}(?= (?i:{_any('speaking calling writing here again from')}))"
    rf"|{ANY_CASE}(?: {ANY_CASE})?(?= (?i:{_any('speaking calling')})))"
)
TITLED_NAME = re.compile(
    rf"(?<![{LATIN}])(?:Mrs?|Ms|Miss|Mx|Dr|Prof|Herrn?|Frau)\b\.? {{0,2}}{NOT_TITLED}(?P<hit>{FULL_NAME})"
)
SMALL_TITLED_NAME = re.compile(rf"(?i:{_any('mrs?')})\.? {{0,2}}{NOT_TITLED}(?P<hit>{ANY_CASE})")
SIGNED_NAME = re.compile(
    rf"(?<![{LATIN}])(?i:regards|sincerely|yours truly|faithfully|best wishes|mit freundlichen gr(?:ü|ue)(?:ß|ss)en"
    rf"|(?:viele|liebe|beste) gr(?:ü|ue)(?:ß|ss)e)[ ,.!-]{{0,3}}\n{{0,3}} ?"
    rf"(?P<hit>{NOT_SIGNED}{INITIALS}{ANY_CASE}(?: {INITIALS}{ANY_CASE}){{0,3}})(?={STOPS})"
)
THANKFUL_NAME = re.compile(
    rf"(?i:{_any('thanks thank_you thx cheers best love')})(?:[,.!]? ?\n{{1,3}} ?|, )"
    rf"(?P<hit>{NOT_SIGNED}{FULL_NAME})(?=[ .]{{0,2}}(?:\n|$))"
)

SURNAMES = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖萧田董袁潘于蒋蔡余"
    "杜叶程苏魏吕丁任沈姚卢姜崔钟谭陆汪范金石廖贾夏韦傅方白邹孟熊秦邱江尹薛闫阎段雷侯龙史"
    "陶黎贺顾毛郝龚邵万钱严武戴莫孔向汤安常康乔翁柳詹关温牛樊葛邢路岳齐梅庄辛管祝左涂谷祁"
    "时舒耿牟卜凌霍鲁柯毕简司倪游俞华宁裴符成焦伍申盛冉蓝翟阚季柴章"
)
SURNAME = (
    f"(?:欧阳|司马|上官|诸葛|东方|皇甫|尉迟|公孙|慕容|司徒|夏侯|令狐|端木|南宫|[{SURNAMES}])"
)
CHINESE_TITLE = "(?:先生|女士|小姐|太太)"
# What a sentence goes on with; a given name ends before it.
NOT_GIVEN = (
    "想要是的了在有我你您他她它和与这那订买退换吗呢吧啊请把给到去说问收电手地住已没不就也都还又被让"
    "很最什么谁哪怎从对下错"
)
GIVEN = rf"(?:(?![{NOT_GIVEN}]|{CHINESE_TITLE})[{HAN}])"
NOT_HAN = rf"(?![{HAN}{MARKS['name']}])"  # nor what was one of these before another name was found there
NOT_CHINESE_NAME = (
    "(?!方便|谢谢|安排|时间|万一|快递|客服|外卖|朋友|家人|师傅|本人|同上|未知|匿名|空白|经理|店家|商家|卖家"
    "|买家|用户|会员)"
)
CHINESE_NAME = (
    rf"{NOT_CHINESE_NAME}{SURNAME}(?:{GIVEN}{{1,2}}|(?!{CHINESE_TITLE})[{HAN}]{{1,2}}{NOT_HAN})"
)
ANY_CHINESE_NAME = rf"{NOT_CHINESE_NAME}{GIVEN}{{2,4}}{NOT_HAN}"  # without a surname that is known
TOLD_CHINESE_NAME = re.compile(
    r"(?:我叫做?|我的?(?:名字|姓名)(?:叫做?|是)|名叫"
    r"|(?:姓名|名字|收件人|收货人|联系人|签收人)(?:姓名|名字)? ?[:,]? ?"
    rf"(?:(?:请|帮我|麻烦){{0,2}}[改换][成为]|是|为|叫|(?<=:)|(?={SURNAME}[{HAN}]{{1,2}}{NOT_HAN})))"
    rf"[ :]{{0,2}}(?P<hit>{CHINESE_NAME}|{ANY_CHINESE_NAME}|{FULL_NAME})"
)
# as people write whom a parcel is for: "王小明 13812345678 上海市……"
CHINESE_NAME_AT_PHONE = re.compile(
    rf"(?<![{HAN}{MARKS['name']}])(?P<hit>{CHINESE_NAME})(?=[ ,]{{0,2}}{MARKS['phone']})"
)
# "I am" says more often what one is than who: a customer, a member, of a place, in a hurry.
NOT_CHINESE_SELF = (
    "(?!高级|金[卡牌]|白金|黄金|黄牛|周[一二三四五六日末天]|马上|方便|安全|任何|何时|万分|严重|向来|常[客用]|成年"
    "|江苏|江西|温州)"
)
SELF_CHINESE_NAME = re.compile(
    rf"(?:我|这里|本人)是 ?(?P<hit>{NOT_CHINESE_SELF}{SURNAME}"
    rf"(?:(?![人生员卡户家民客友粉版店]|{CHINESE_TITLE})[{HAN}]){{1,2}}?(?=[的我想要]|{NOT_HAN})"
    rf"|{NOT_SELF}{FULL_NAME}(?! ?[会用客粉]))"
)
CHINESE_SURNAME = re.compile(rf"(?:我|本人|免贵)姓(?P<hit>{SURNAME})")
TITLED_CHINESE_NAME = re.compile(
    rf"(?:(?<=[是叫找给:])|(?<=联系))(?P<hit>{SURNAME}{GIVEN}{{1,2}})(?={CHINESE_TITLE})"
)
# "白色女士外套" and "对于女士" are of no Ms 白 and no Ms 于.
TITLED_CHINESE_SURNAME = re.compile(
    rf"(?<![色米纯深浅灰藏乳奶红黑蓝绿粉紫对关由属适任位])(?P<hit>{SURNAME})(?={CHINESE_TITLE}"
    r"(?![款士式鞋包表装手外衬裤裙运内羽毛大皮背帽钱短长上夏冬春秋香护专A-Za-z]))"
)

_CARD: Final = (_cards, _chinese_ids, _by(CARD_EXPIRY), _by(CARD_CODE), _by(CARD_CODE_BESIDE))
_PHONE: Final = (
    _numbers(INTERNATIONAL, 7, 15), _numbers(INTERNATIONAL_00, 9, 17), _numbers(FRENCH, 10, 10),
    _numbers(NATIONAL, 9, 12), _numbers(AMERICAN, 10, 11), _numbers(CHINESE_MOBILE, 11, 13),
    _numbers(CONTACT_NUMBER, 5, 15), _numbers(DEVICE_NUMBER, 7, 15), _numbers(NUMBER_OF, 5, 15),
    _by(PHONE_EXTENSION), _by(PHONE_BESIDE), _by(CHAT_NAME),
)
_ADDRESS: Final = (_chinese_addresses, *map(_by, (
    TOLD_CHINESE_ADDRESS, ENGLISH_ADDRESS, SMALL_ADDRESS, TOLD_SMALL_ADDRESS, TOLD_ADDRESS, BOX_ADDRESS,
    GERMAN_ADDRESS, GERMAN_LINES, GERMAN_TOWN, TOLD_POSTCODE,
)))
_NAME: Final = tuple(map(_by, (
    TOLD_NAME, SELF_NAME, SPEAKING_NAME, TITLED_NAME, SMALL_TITLED_NAME, SIGNED_NAME, THANKFUL_NAME,
    TOLD_CHINESE_NAME, CHINESE_NAME_AT_PHONE, SELF_CHINESE_NAME, CHINESE_SURNAME, TITLED_CHINESE_NAME,
    TITLED_CHINESE_SURNAME,
)))
# In this order: the digits of an account or a card would be a phone's too, and a street's name a person's.
RULES: Final[Sequence[tuple[str, Finder]]] = (
    ("email", _by(EMAIL)),
    ("iban", _ibans),
    *(("card", find) for find in _CARD),
    *(("phone", find) for find in _PHONE),
    *(("address", find) for find in _ADDRESS),
    *(("name", find) for find in _NAME),
)
