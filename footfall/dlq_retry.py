"""`footfall dlq retry`: sends the source records of dead letters again, each once.

The record is read from the source topic and sent to the same partition with the same key, value, headers and timestamp,
so its identity (CloudEvents source and id) and its age are what they were; a header says which record it repeats. Once
Kafka has it, that is noted in the log (see `footfall.dlq_reader`). Crash in between: up to `CHUNK_RECORDS` records may
be sent a second time. So may those of two retries at the same time. That is harmless, since an event id that was seen
changes nothing.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer, ConsumerRecord
from aiokafka.errors import InvalidTimestampError, MessageSizeTooLargeError
from msgspec import Struct

from footfall import topics
from footfall.dlq import counted, no_letter
from footfall.dlq_reader import RETRY_OF, DeadLetterReader, Letter, Place, letter_of, reading
from schemas.settings import Settings
from schemas.topics import RETRIES, Topic

CHUNK_RECORDS = 50  # in memory, and under way, at a time; a record has 1 MB at most by Kafka's default
NO_LIMIT = 1 << 30  # bytes; the broker knows its own
SHOWN = 20  # letters of a kind
REFUSALS = (MessageSizeTooLargeError, InvalidTimestampError)  # for good, as the topic is set


class Report(Struct, frozen=True):
    """What became of each letter. A record is sent once, however many letters are about it."""

    topic: str
    sent: int  # records
    before: int  # retried earlier
    failed_again: tuple[Letter, ...]  # a retry's record, bad still: sent only if chosen
    outdated: tuple[Letter, ...]  # a compacted topic has a newer record of the key, which the old one would undo
    gone: tuple[Letter, ...]  # the source record is not there any more
    refused: tuple[Letter, ...]  # Kafka would not take it, or the letter does not say where its source record is

    def __str__(self) -> str:
        kinds = {
            "gone: the source record is not kept any more": self.gone,
            "refused by Kafka (size, age), or without a source record to send": self.refused,
            "outdated: a newer record of the same key is there": self.outdated,
            "failed again after a retry: sent only when named by --partition and --offset": self.failed_again,
        }
        lines = []
        for kind, letters in kinds.items():
            if letters:
                places = " ".join(letter.place.within for letter in letters[:SHOWN])
                lines.append(f"{len(letters):,} {kind} ({places}{' …' if len(letters) > SHOWN else ''})")
        before = f"; {self.before:,} retried before" if self.before else ""
        lines.append(f"{counted(self.sent, 'record')} sent again to {self.topic}{before}")
        return "\n".join(lines)


async def retry(settings: Settings, source: Topic, chosen: tuple[int, int] | None = None) -> Report:
    """Send again what was not sent yet; of `chosen` (partition and offset of a dead letter) only that one's record.

    Oldest first in each partition, so the order of a user's events holds. Raises DlqError when there is no such dead
    letter or Kafka fails, TopicsError when it cannot be reached or the log cannot be created.
    """
    async with reading(settings, source) as reader:
        letters = await _letters(reader, source, chosen)
        retried = await reader.retried()
        todo: dict[Place, Letter] = {}
        failed_again, nowhere = [], []
        for letter in letters:
            if letter.source is None:
                nowhere.append(letter)
            elif letter.source not in retried:
                if letter.of_retry and chosen is None:  # or a record that cannot be mended would multiply
                    failed_again.append(letter)
                else:
                    todo[letter.source] = letter
        before = sum(letter.source in retried for letter in letters)
        outdated = await _outdated(reader, todo) if source.cleanup == "compact" else set()
        places = sorted(todo.keys() - outdated)
        sent, gone, refused = 0, set[Place](), set[Place]()
        if places:
            await topics.create(settings, [RETRIES])
            async with _producing(settings) as producer:
                for start in range(0, len(places), CHUNK_RECORDS):
                    chunk = _Chunk(producer, reader.log)
                    try:
                        await chunk.send(reader, places[start : start + CHUNK_RECORDS])
                    finally:  # also what was sent before a failure, or before Ctrl-C
                        sent += await chunk.note()
                    gone |= chunk.gone
                    refused |= chunk.refused

    def about(places: set[Place]) -> tuple[Letter, ...]:
        return tuple(todo[place] for place in sorted(places))

    return Report(
        reader.source, sent, before, tuple(failed_again), about(outdated), about(gone), (*nowhere, *about(refused))
    )


class _Chunk:
    """Some records, sent and then noted."""

    def __init__(self, producer: AIOKafkaProducer, log: str) -> None:
        self._producer = producer
        self._log = log
        self._under_way: dict[Place, asyncio.Future[Any]] = {}
        self.gone: set[Place] = set()
        self.refused: set[Place] = set()

    async def send(self, reader: DeadLetterReader, places: Sequence[Place]) -> None:
        """Read the records and hand them to the producer, which keeps the order of each partition."""
        for place in places:
            record = await reader.record(place)
            if record is None:
                self.gone.add(place)
            elif record.key is None and record.value is None:  # aiokafka does not send it, and no event is in it
                self.refused.add(place)
            else:
                self._under_way[place] = await self._producer.send(
                    record.topic, record.value, record.key, partition=record.partition,
                    timestamp_ms=record.timestamp if record.timestamp >= 0 else None, headers=_headers(record, place),
                )

    async def note(self) -> int:
        """Wait until Kafka has them, and note those that it has; returns how many. Raises KafkaError."""
        outcomes = await asyncio.gather(*self._under_way.values(), return_exceptions=True)
        failure: BaseException | None = None
        notes = []
        for place, outcome in zip(self._under_way, outcomes, strict=True):
            if isinstance(outcome, REFUSALS):
                self.refused.add(place)
            elif isinstance(outcome, BaseException):
                failure = failure or outcome
            else:
                sent_as = Place(outcome.topic, outcome.partition, outcome.offset)
                notes.append(await self._producer.send(self._log, str(sent_as).encode(), str(place).encode()))
        await asyncio.gather(*notes)
        if failure is not None:
            raise failure
        return len(notes)


async def _letters(reader: DeadLetterReader, source: Topic, chosen: tuple[int, int] | None) -> list[Letter]:
    if chosen is None:
        return await reader.letters()
    place = Place(reader.letters_topic, *chosen)
    record = await reader.record(place)
    if record is None:
        raise no_letter(place, source)
    return [letter_of(record, reader.source)]


async def _outdated(reader: DeadLetterReader, todo: dict[Place, Letter]) -> set[Place]:
    """Return the records behind which a newer one of the same key is; the letters have their keys."""
    keys = {letter.key for letter in todo.values() if letter.key is not None}
    newest = await reader.newest(keys, todo)
    return {place for place, letter in todo.items() if letter.key is not None and newest.get(letter.key, place) > place}


def _headers(record: ConsumerRecord, place: Place) -> list[tuple[str, bytes | None]]:
    kept = [(name, content) for name, content in record.headers if name != RETRY_OF]
    return [*kept, (RETRY_OF, str(place).encode())]


@asynccontextmanager
async def _producing(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    producer = AIOKafkaProducer(
        **topics.client_options(settings), acks="all", max_request_size=NO_LIMIT,
        compression_type="gzip",  # the header must not make a record too large that just fitted
    )
    try:
        await producer.start()
        yield producer
    finally:
        await producer.stop()
