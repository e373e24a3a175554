"""`footfall dlq list` and `show`: what is in the dead letters, laid out for people.

Knows no Kafka and changes nothing. Values may hold personal data: they are shown only when that is asked for. All else
came from outside too, so what a terminal would obey is escaped.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from aiokafka import ConsumerRecord

from footfall.dlq_reader import DlqError, Letter, Place, letter_of, reading
from schemas.settings import Settings
from schemas.topics import Topic


async def listing(settings: Settings, source: Topic, limit: int) -> str:
    """Return the newest dead letters as a table, and a summary of all. Raises DlqError or TopicsError."""
    async with reading(settings, source) as reader:
        letters = await reader.letters()
        retried = await reader.retried() if letters else {}
    if not letters:
        return f"no dead letters on {reader.letters_topic}"
    return f"{table(letters[-limit:], retried)}\n\n{summary(reader.letters_topic, letters, retried, limit)}"


async def showing(settings: Settings, source: Topic, partition: int, offset: int, *, with_value: bool) -> str:
    """Return all about one dead letter. Raises DlqError when there is none, or TopicsError."""
    async with reading(settings, source) as reader:
        place = Place(reader.letters_topic, partition, offset)
        record = await reader.record(place)
        retried = await reader.retried()
    if record is None:
        raise no_letter(place, source)
    return details(record, letter_of(record, reader.source), retried, with_value=with_value)


def no_letter(place: Place, source: Topic) -> DlqError:
    return DlqError(f"there is no dead letter {place}: `footfall dlq list {source.name}` shows those that are there")


def table(letters: Sequence[Letter], retried: Mapping[Place, Place]) -> str:
    """Lay letters out, a line each."""
    rows = [("LETTER", "SOURCE", "TIME", "RETRIED", "EXCEPTION", "MESSAGE")]
    rows += [
        (
            letter.place.within, letter.source.within if letter.source else "?", _time(letter.time_ms),
            _retried(letter, retried), _clean(letter.exception) or "?", _clean(letter.message),
        )
        for letter in letters
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def summary(topic: str, letters: Sequence[Letter], retried: Mapping[Place, Place], limit: int) -> str:
    """Count all letters by exception, the most frequent first."""
    counts = Counter(_clean(letter.exception) or "?" for letter in letters).most_common()
    done = sum(letter.source in retried for letter in letters)
    text = (
        f"{counted(len(letters), 'dead letter')} on {topic}: "
        f"{', '.join(f'{count:,} {exception}' for exception, count in counts)}; {done:,} retried"
    )
    return f"{text}. The newest {limit:,} are shown: see --limit" if len(letters) > limit else text


def details(record: ConsumerRecord, letter: Letter, retried: Mapping[Place, Place], *, with_value: bool) -> str:
    """Lay one letter out with its headers; its value only `with_value`."""
    key, value = record.key, record.value or b""
    headers_bytes = sum(len(name.encode()) + len(content or b"") for name, content in record.headers)
    lines = [
        f"dead letter    {letter.place}",
        f"source record  {letter.source or '? (the headers name no record of the source topic)'}",
        f"time           {_time(letter.time_ms)}",
        f"retried        {_retried(letter, retried)}",
        "key            " + ("none" if key is None else f"{_text(key)} ({counted(len(key), 'byte')})"),
        f"value          {counted(len(value), 'byte')}{_about(value, with_value=with_value)}",
        f"headers        {len(record.headers)}, {counted(headers_bytes, 'byte')}",
    ]
    for name, content in record.headers:
        text = "null" if content is None else _text(content).rstrip("\n").replace("\n", "\n    ")
        lines.append(f"  {_clean(name)}:{chr(10) + '    ' if chr(10) in text else ' '}{text}")
    if with_value and value:
        lines += ["", _text(value)]
    return "\n".join(lines)


def counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _about(value: bytes, *, with_value: bool) -> str:
    if not value:
        return " (the source record had none, or it may not be copied, or it is too large)"
    return "" if with_value else " (it may hold personal data: shown with --value)"


def _retried(letter: Letter, retried: Mapping[Place, Place]) -> str:
    sent_as = retried.get(letter.source) if letter.source else None
    if sent_as is not None:
        return f"as {sent_as.within}"
    return "failed again" if letter.of_retry else "no"


def _time(time_ms: int) -> str:
    if time_ms < 0:
        return "?"
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _text(content: bytes) -> str:
    return _clean(content.decode(errors="backslashreplace"), keep="\n\t")


def _clean(text: str, keep: str = "") -> str:
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)
