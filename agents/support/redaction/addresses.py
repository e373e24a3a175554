"""Where somebody is reached: addresses of e-mail, and of post as English, German and Chinese write them.

Knows the words that streets, flats and estates are called by, and how postcodes look. Knows no names of streets or
towns.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from agents.support.redaction.patterns import ALONE, HAN, LATIN, Finder, Span, by, none_of

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

# --- post

CAPITAL = rf"[A-Z\u00c0-\u00de][{LATIN}'.-]{{0,24}}"
CITY = none_of("""
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
    r"(?i:st|drive|dr|court|ct|place|pl|square|sq|way|close|gardens|grove|row|hill|walk|circle|cir|trail|park|green"
    r"|wharf)"
    r"(?![A-Za-z])\.?(?= ?(?:, ?\n? ?[A-Z]|[;\n]|$))"
)
ENGLISH_ADDRESS = re.compile(
    rf"{ALONE}{HOUSE}(?:(?:{CAPITAL}|[0-9]{{1,3}}(?:st|nd|rd|th)) ){{1,4}}(?:{STREET}|{MAYBE_STREET}){TAIL}"
)
# In small letters it could be "2 black street lamps": there the line ends, or the words before tell.
SMALL = none_of(
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


EMAILS: Final[Sequence[Finder]] = (by(EMAIL),)
ADDRESSES: Final[Sequence[Finder]] = (_chinese_addresses, *map(by, (
    TOLD_CHINESE_ADDRESS, ENGLISH_ADDRESS, SMALL_ADDRESS, TOLD_SMALL_ADDRESS, TOLD_ADDRESS, BOX_ADDRESS,
    GERMAN_ADDRESS, GERMAN_LINES, GERMAN_TOWN, TOLD_POSTCODE,
)))
