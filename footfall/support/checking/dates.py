"""Days as people write them, in English and Chinese: 2026-11-20, 20 November, 11月20日, Friday, 明天."""

import re
from collections.abc import Callable, Iterator
from datetime import date, timedelta

from msgspec import Struct

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
MONTH = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
CHINESE_WEEKDAYS = "一二三四五六日天"
NEAR = {
    "the day after tomorrow": 2, "day after tomorrow": 2, "tomorrow": 1, "today": 0, "tonight": 0, "yesterday": -1,
    "大后天": 3, "后天": 2, "明天": 1, "明日": 1, "今天": 0, "今晚": 0, "今早": 0, "明晚": 1, "明早": 1, "昨晚": -1, "今日": 0, "当日": 0, "昨天": -1, "昨日": -1, "前天": -2,
}


class Day(Struct, frozen=True):
    """What is said of a day: the parts that are named, or the first and the last day that it may be."""

    year: int | None = None
    month: int | None = None
    day: int | None = None
    weekday: int | None = None
    first: date | None = None
    last: date | None = None

    def fits(self, day: date) -> bool:
        named = ((self.year, day.year), (self.month, day.month), (self.day, day.day), (self.weekday, day.weekday()))
        inside = (self.first is None or self.first <= day) and (self.last is None or day <= self.last)
        return inside and all(said is None or said == is_so for said, is_so in named)


class Named(Struct, frozen=True):
    """A place in a text where a day is named; of `days` any may be meant."""

    start: int
    end: int
    days: tuple[Day, ...]


def find(text: str, today: date) -> Iterator[Named]:
    """All days that are named in a text of small letters; places may overlap, the surer ones come first."""
    for pattern, read in _FORMS:
        for match in re.finditer(pattern, text):
            days = read(match, today)
            if days:
                yield Named(*match.span(), days)


def _full(match: re.Match[str], _: date) -> tuple[Day, ...]:
    year, month, day = (int(part) for part in match.groups())
    return (Day(year=year, month=month, day=day),)


def _day_first(match: re.Match[str], _: date) -> tuple[Day, ...]:
    first, second, year = int(match[1]), int(match[3]), int(match[4]) if match[4] else None
    year = year + 2000 if year is not None and year < 100 else year
    european = Day(year=year, month=second, day=first)
    return (european,) if match[2] == "." else (european, Day(year=year, month=first, day=second))


def _worded(match: re.Match[str], _: date) -> tuple[Day, ...]:
    parts = match.groupdict()
    year = int(parts["year"]) if parts.get("year") else None
    day = int(parts["day"]) if parts.get("day") else None
    return (Day(year=year, month=MONTHS.index(parts["month"][:3]) + 1, day=day),)


def _chinese(match: re.Match[str], _: date) -> tuple[Day, ...]:
    year, month, day = (int(part) if part else None for part in match.groups())
    return (Day(year=year, month=month, day=day),)


def _day_only(match: re.Match[str], _: date) -> tuple[Day, ...]:
    return (Day(day=int(match[1])),)


def _near(match: re.Match[str], today: date) -> tuple[Day, ...]:
    day = today + timedelta(days=NEAR[match[0]])
    return (Day(first=day, last=day),)


def _counted(match: re.Match[str], today: date) -> tuple[Day, ...]:
    """Three days ago, in two weeks."""
    parts = match.groupdict()
    many = int(parts["n"]) * (7 if parts["unit"].startswith(("week", "周", "星期")) else 1)
    day = today + timedelta(days=-many if parts["when"] in {"ago", "前", "之前", "以前"} else many)
    return (Day(first=day, last=day),)


def _weekday(match: re.Match[str], _: date) -> tuple[Day, ...]:
    return (Day(weekday=WEEKDAYS.index(match[1])),)


def _chinese_weekday(match: re.Match[str], _: date) -> tuple[Day, ...]:
    return (Day(weekday=min(CHINESE_WEEKDAYS.index(match[1]), 6)),)


def _week(match: re.Match[str], today: date) -> tuple[Day, ...]:
    """This week, next month, 下周: the days from its first to its last."""
    word = match[0]
    moved = -1 if word.startswith(("last", "上")) else 1 if word.startswith(("next", "下")) else 0
    if "month" in word or "月" in word:
        months = today.year * 12 + today.month - 1 + moved
        return (Day(year=months // 12, month=months % 12 + 1),)
    monday = today + timedelta(days=7 * moved - today.weekday())
    return (Day(first=monday, last=monday + timedelta(days=6)),)


_YEAR = r"(?P<year>20\d\d)"
_DAY = r"(?<!\d)(?P<day>\d{1,2})(?:st|nd|rd|th)?"
_FORMS: tuple[tuple[str, Callable[[re.Match[str], date], tuple[Day, ...]]], ...] = (
    (r"(?<!\d)(20\d\d)[-/.](\d{1,2})[-/.](\d{1,2})(?!\d)", _full),
    (r"(?<!\d)(\d{1,2})([/.])(\d{1,2})\2((?:20)?\d\d)(?!\d)", _day_first),
    (r"(?<!\d)(\d{1,2})(\.)(\d{1,2})()\.(?!\d)", _day_first),
    (rf"{_DAY}(?: of)? (?P<month>{MONTH})(?:,? {_YEAR})?", _worded),
    (rf"\b(?P<month>{MONTH}) {_DAY}\b(?:,? {_YEAR})?", _worded),
    (rf"\b(?:in|since|of|until|by) (?P<month>{MONTH})(?: {_YEAR})?(?! be\b)", _worded),
    (r"(?:(20\d\d)年)?(\d{1,2})月(\d{1,2})[日号]?", _chinese),
    (r"(?:(20\d\d)年)()(?<!\d)(\d{1,2})月(?!\d)", lambda match, _: (Day(year=int(match[1]), month=int(match[3])),)),
    (r"(?<![\d个月])(\d{1,2})[日号](?!内|后|前|码)", _day_only),
    (r"\bthe (\d{1,2})(?:st|nd|rd|th)\b", _day_only),
    (r"\b(?:the )?day after tomorrow\b|\b(?:tomorrow|today|tonight|yesterday)\b", _near),
    (r"大后天|后天|[明今昨当]日|[明今昨前]天|[今明昨]晚|[今明]早", _near),
    (r"\b(?P<n>\d+) (?P<unit>day|week)s? (?P<when>ago)\b", _counted),
    (r"\b(?P<when>in) (?P<n>\d+) (?P<unit>day|week)s?\b", _counted),
    (r"(?P<n>\d+)个?(?P<unit>天|日|周|星期)(?P<when>之?前|以前|之?后|以后)", _counted),
    (r"\b(?:on |next |this |last |by |until )?(" + "|".join(WEEKDAYS) + r")\b", _weekday),
    (rf"[本这上下]?个?(?:周|星期|礼拜)([{CHINESE_WEEKDAYS}])", _chinese_weekday),
    (r"\b(?:this|next|last) (?:week(?:end)?|month)\b|[本这上下]个?(?:周|星期|月)(?:末|底|初|内)?", _week),
)
