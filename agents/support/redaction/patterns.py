"""What the patterns of all kinds of personal data share: the marks, the letters, and how a rule is made of a pattern.

Knows how the text looks in which the rules search; knows no form of personal data.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

KINDS: Final = ("address", "card", "email", "iban", "name", "phone")
# The search runs over a copy of the text in which what was found is overwritten, each character by its kind's mark:
# later rules neither find it again nor join what stands on its two sides, and positions stay those of the text.
MARKS: Final[Mapping[str, str]] = {kind: chr(0xE000 + number) for number, kind in enumerate(KINDS)}
NOT_PERSONAL: Final = chr(0xE000 + len(KINDS))
ANY_MARK: Final = f"\ue000-{NOT_PERSONAL}"

HAN: Final = "\u3400-\u4dbf\u4e00-\u9fff"
LATIN: Final = "A-Za-z\u00c0-\u024f"
WORD: Final = re.compile(r"[0-9A-Za-z]")
# A number's neighbours: `A-4411`, `#4411`, `/p/4411` and `1.4411` are ids, addresses of pages and amounts.
ALONE = r"(?<![0-9A-Za-z_#/=])(?<![0-9A-Za-z]-)(?<![0-9][.,])"
ENDS = r"(?![0-9A-Za-z_]|-[0-9])"

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]


def none_of(words: str) -> str:
    """Not one of the words, in whatever letters."""
    return rf"(?!(?i:{'|'.join(words.split())})(?![{LATIN}'-]))"


def by(pattern: re.Pattern[str]) -> Finder:
    """What the group `hit` holds, if there is one, else all: the words that gave it away stay."""
    group = pattern.groupindex.get("hit", 0)
    return lambda page: (match.span(group) for match in pattern.finditer(page))
