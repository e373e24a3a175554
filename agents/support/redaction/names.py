"""Names of people in Latin letters, by what English and German say before and after them.

Knows the words that are said where a name could be and are none. Knows no names.
"""

import re
from collections.abc import Sequence
from typing import Final

from agents.support.redaction.patterns import LATIN, Finder, by, none_of


def _any(words: str) -> str:
    """One of the words, as a word of its own; `_` stands for a blank."""
    return rf"(?<![{LATIN}])(?:{'|'.join(words.split()).replace('_', ' ')})(?![{LATIN}])"


NOT_NAME = none_of("""
    a actually again all already also am an and are as at blank but called can cancel changed correct currently cut
    different displayed dr email empty for frau from goodbye hello here herrn? hi how i i'd i'm i've if in incomplete
    incorrect invalid is isn't it item just listed long miss missing misspell?ed misspelt mrs? ms mx my never no not
    now nowhere of off ok on only or order password phone please pls printed private prof really refund registered
    right same showing shown so something spelled spelt still supposed tel thank thanks that the there they this to
    too under unknown used very was we what when where who why with without written wrong you your
""")
# What people say of themselves more often than a name.
NOT_SELF = none_of("""
    american angry australian british canadian chinese confused customer disappointed dutch english french frustrated
    furious german gold happy indian interested irish italian japanese jewish late member muslim new platinum plus
    polish premium prime pro ready sad scottish sick silver sorry spanish student sure tired turkish unable unhappy
    upset vegan vegetarian vip welsh [a-z]{1,12}ing
""")
NOT_TITLED = none_of("""
    beckmann best bronners? browns? clean coffee jart martens? meyers? muscle oetker office pepper scholl word
""")
NOT_SIGNED = none_of("all bye cheers everyone great guys regards support team waiting")
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

NAMES: Final[Sequence[Finder]] = tuple(map(by, (
    TOLD_NAME, SELF_NAME, SPEAKING_NAME, TITLED_NAME, SMALL_TITLED_NAME, SIGNED_NAME, THANKFUL_NAME,
)))
