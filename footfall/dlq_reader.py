"""Reads one source topic's dead letters, the source records they are about, and the log of what was retried.

Knows aiokafka and where things stand in a record; changes nothing. What was retried is in a topic of its own,
`<prefix>.dlq-retries.v1`: the place of a retried record as the key, and where it was sent as the value. Commits of a
group would not do: the local broker drops their metadata, and Kafka forgets them 7 days after the last one.
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from math import inf
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from agents.dead_letters import HEADER
from footfall import topics
from footfall.errors import FootfallError
from schemas.settings import Settings
from schemas.topics import SOURCES, Topic

RETRY_OF = "footfall.retry.of"  # header of a record that was sent again: the place of the one it repeats
RETRIES = Topic(
    name="dlq-retries", key="place of the record", direction="out", partitions=1,
    retention_days=max(source.dead_letters.retention_days for source in SOURCES),  # as long as there is a letter
)
MAX_OFFSET = (1 << 63) - 1
FETCH_WAIT_MS = 20  # a seek waits for the fetch that is under way
MAX_MESSAGE_CHARS = 80  # enough for a line; `show` has all of it
POLL_MS = 100
RECORDS_PER_POLL = 500
STALL_S = 30.0


class DlqError(FootfallError):
    """There is no such topic or dead letter, or Kafka does not do what is asked."""


class Place(Struct, frozen=True, order=True):
    """Where a record is."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def within(self) -> str:
        """The same without the topic."""
        return f"{self.partition}/{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """The reverse of `str`. Raises ValueError."""
        topic, partition, offset = text.rsplit("/", 2)
        return cls(topic, int(partition), int(offset))


class Letter(Struct, frozen=True):
    """A dead letter without its bytes. `source` is None where the headers name no record of the source topic."""

    place: Place
    source: Place | None
    time_ms: int
    key: bytes | None
    exception: str
    message: str  # its first characters
    of_retry: bool  # the record that failed had been sent by a retry


def source_topic(name: str, prefix: str) -> Topic:
    """Find a source topic by its short or full name. Raises DlqError with the choices."""
    for topic in SOURCES:
        if name in {topic.name, topic.full_name(prefix)}:
            return topic
    choices = ", ".join(topic.name for topic in SOURCES)
    example = SOURCES[0].full_name(prefix)
    raise DlqError(f"there is no source topic {name!r}; choose from {choices}, or in full as {example}")


def letter_of(record: ConsumerRecord, source: str) -> Letter:
    """Read a dead letter. `source`: the topic that its source record must be on."""
    headers = dict(record.headers)  # of two with one name the last counts: ours, behind the source record's

    def text(name: str) -> str:
        return (headers.get(HEADER + name) or b"").decode(errors="replace")

    try:
        place = Place(text("topic"), int(text("partition")), int(text("offset")))
    except ValueError:
        place = None
    return Letter(
        Place(record.topic, record.partition, record.offset),
        place if place is not None and place.topic == source else None,
        record.timestamp, record.key, text("exception"), text("message")[:MAX_MESSAGE_CHARS],
        of_retry=RETRY_OF in headers,
    )


class DeadLetterReader:
    """Reads up to what is the end when it is asked. Use it from `reading`."""

    def __init__(self, consumer: AIOKafkaConsumer, source: str, log: str, partitions: Mapping[str, int]) -> None:
        self._consumer = consumer
        self._partitions = partitions
        self._at: Place | None = None  # what `record` would read without a seek
        self.source = source
        self.log = log
        self.letters_topic = f"{source}.dlq"

    async def letters(self) -> list[Letter]:
        """Return all dead letters, oldest first; about half a kB of memory each."""
        records = self._records(self._partitions_of(self.letters_topic))
        letters = [letter_of(record, self.source) async for record in records]
        return sorted(letters, key=lambda letter: (letter.time_ms, letter.place))

    async def retried(self) -> dict[Place, Place]:
        """Return what was sent again: source record -> the record it was sent as."""
        return {
            Place.parse(record.key.decode()): Place.parse(record.value.decode())
            async for record in self._records(self._partitions_of(self.log))
        }

    async def newest(self, keys: Collection[bytes], since: Iterable[Place]) -> dict[bytes, Place]:
        """Return where the newest source record of each key is, as far as it is at one of the places or later."""
        starts: dict[TopicPartition, int] = {}
        for place in filter(self._may_be, since):
            partition = TopicPartition(place.topic, place.partition)
            starts[partition] = min(place.offset, starts.get(partition, place.offset))
        return {
            record.key: Place(record.topic, record.partition, record.offset)
            async for record in self._records(starts) if record.key in keys
        }

    async def record(self, place: Place) -> ConsumerRecord | None:
        """Return the record at a place, None where there is none. Consecutive places are read without a seek."""
        if not self._may_be(place):
            return None
        partition = TopicPartition(place.topic, place.partition)
        if self._at is None or (self._at.topic, self._at.partition) != (place.topic, place.partition):
            self._consumer.assign([partition])
        if self._at != place:
            self._consumer.seek(partition, place.offset)
        found = await self._next({partition: place.offset + 1}, max_records=1)
        self._at = Place(place.topic, place.partition, found[0].offset + 1 if found else -1)
        return found[0] if found and found[0].offset == place.offset else None

    def _may_be(self, place: Place) -> bool:
        """Headers may say anything: a partition or an offset that cannot be would fail all that is asked for."""
        return 0 <= place.partition < self._partitions[place.topic] and 0 <= place.offset <= MAX_OFFSET

    def _partitions_of(self, topic: str) -> dict[TopicPartition, int]:
        """Return all partitions of a topic, to be read from their beginning; none when it is missing."""
        return {TopicPartition(topic, number): 0 for number in range(self._partitions.get(topic, 0))}

    async def _records(self, starts: Mapping[TopicPartition, int]) -> AsyncIterator[ConsumerRecord]:
        """Yield what is there, in order of each partition, from these offsets or the first that is kept."""
        if not starts:
            return
        self._at = None
        self._consumer.assign(list(starts))
        for partition, offset in starts.items():
            self._consumer.seek(partition, offset)
        until = dict.fromkeys(starts, inf)
        while records := await self._next(until, RECORDS_PER_POLL):
            for record in records:
                yield record

    async def _next(self, until: dict[TopicPartition, float], max_records: int) -> list[ConsumerRecord]:
        """Return the next records before these offsets; none when all were read.

        Lowers `until` to the ends, as a fetch first tells them. To the question for its end offsets, the local broker
        gives an answer that is too low whenever the last batch holds more than one record.
        """
        try:
            async with asyncio.timeout(STALL_S):
                while True:
                    behind = [tp for tp in until if await self._consumer.position(tp) < self._end(tp, until)]
                    if not behind:
                        return []
                    fetched = await self._consumer.getmany(*behind, timeout_ms=POLL_MS, max_records=max_records)
                    if records := [one for tp, batch in fetched.items() for one in batch if one.offset < until[tp]]:
                        return records
        except TimeoutError:
            topic = next(iter(until)).topic
            raise DlqError(f"Kafka gave nothing of {topic} for {STALL_S:g} s: is it well? Then run it again") from None

    def _end(self, partition: TopicPartition, until: dict[TopicPartition, float]) -> float:
        end = self._consumer.highwater(partition)
        if end is not None:
            until[partition] = min(until[partition], end)
        return until[partition]


@asynccontextmanager
async def reading(settings: Settings, source: Topic) -> AsyncIterator[DeadLetterReader]:
    """Connect. Raises DlqError, or TopicsError when the broker cannot be reached or is not named."""
    table = await topics.listing(settings, (source, source.dead_letters, RETRIES))
    partitions = {state.name: state.partitions for state in table if state.partitions is not None}
    for topic in (source, source.dead_letters):
        if (name := topic.full_name(settings.prefix)) not in partitions:
            raise DlqError(f"there is no topic {name}: is FOOTFALL_PREFIX right? `footfall topics create` makes it")
    consumer = AIOKafkaConsumer(
        **topics.client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest",
        fetch_max_wait_ms=FETCH_WAIT_MS,
    )
    try:
        await consumer.start()
        yield DeadLetterReader(
            consumer, source.full_name(settings.prefix), RETRIES.full_name(settings.prefix), partitions
        )
    except (KafkaError, OSError) as error:
        raise DlqError(
            f"Kafka at {settings.bootstrap_servers} does not do it: {error!r}. Is it running, and may you use "
            f"{source.full_name(settings.prefix)}* and {RETRIES.full_name(settings.prefix)}? Then run it again"
        ) from error
    finally:
        await consumer.stop()
