"""Reads one source topic's dead letters, the source records they are about, and the log of what was retried.

Knows where things stand in a record; changes nothing. What was retried is in a topic of its own,
`<prefix>.dlq-retries.v1`: the place of a retried record as the key, and where it was sent as the value. Commits of a
group would not do: the local broker drops their metadata, and Kafka forgets them 7 days after the last one.
"""

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Self

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct

from agents.dead_letters import HEADER
from footfall import topic_reader, topics
from footfall.errors import FootfallError
from footfall.topic_reader import TopicReader
from schemas.settings import Settings
from schemas.topics import RETRIES, SOURCES, Topic

RETRY_OF = "footfall.retry.of"  # header of a record that was sent again: the place of the one it repeats
MAX_OFFSET = (1 << 63) - 1
MAX_MESSAGE_CHARS = 80  # enough for a line; `show` has all of it


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

    @property
    def tp(self) -> TopicPartition:
        return TopicPartition(self.topic, self.partition)

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

    def __init__(self, reader: TopicReader, source: str, log: str, partitions: Collection[TopicPartition]) -> None:
        self._reader = reader
        self._partitions = partitions  # all there are
        self._at: Place | None = None  # what `record` would read next
        self.source = source
        self.log = log
        self.letters_topic = f"{source}.dlq"

    async def letters(self) -> list[Letter]:
        """Return all dead letters, oldest first; about half a kB of memory each."""
        letters = [letter_of(record, self.source) async for record in self._all(self.letters_topic)]
        return sorted(letters, key=lambda letter: (letter.time_ms, letter.place))

    async def retried(self) -> dict[Place, Place]:
        """Return what was sent again: source record -> the record it was sent as."""
        notes = self._all(self.log)
        return {Place.parse(note.key.decode()): Place.parse(note.value.decode()) async for note in notes}

    async def newest(self, keys: Collection[bytes], since: Iterable[Place]) -> dict[bytes, Place]:
        """Return where the newest source record of each key is, as far as it is at one of the places or later."""
        starts: dict[TopicPartition, int] = {}
        for place in filter(self._may_be, since):
            starts[place.tp] = min(place.offset, starts.get(place.tp, place.offset))
        return {
            record.key: Place(record.topic, record.partition, record.offset)
            async for record in self._records(starts) if record.key in keys
        }

    async def record(self, place: Place) -> ConsumerRecord | None:
        """Return the record at a place, None where there is none. Consecutive places are read without a seek."""
        if not self._may_be(place):
            return None
        if self._at != place:
            self._reader.begin({place.tp: place.offset})
        fetched = await self._reader.fetch(max_records=1)
        found = fetched[place.tp][0] if fetched else None
        self._at = Place(place.topic, place.partition, found.offset + 1) if found else None
        return found if found and found.offset == place.offset else None

    def _may_be(self, place: Place) -> bool:
        """Headers may say anything: a partition or an offset that cannot be would fail all that is asked for."""
        return place.tp in self._partitions and 0 <= place.offset <= MAX_OFFSET

    def _all(self, topic: str) -> AsyncIterator[ConsumerRecord]:
        return self._records({partition: 0 for partition in self._partitions if partition.topic == topic})

    def _records(self, starts: Mapping[TopicPartition, int]) -> AsyncIterator[ConsumerRecord]:
        self._at = None
        return self._reader.records(starts)


@asynccontextmanager
async def reading(settings: Settings, source: Topic) -> AsyncIterator[DeadLetterReader]:
    """Connect. Raises DlqError, or TopicsError when a topic is missing, or the broker is not named or not there."""
    partitions = await topic_reader.partitions_of(settings, (source, source.dead_letters), RETRIES)
    source_name, log = source.full_name(settings.prefix), RETRIES.full_name(settings.prefix)
    try:
        async with topic_reader.reading(topics.client_options(settings)) as reader:
            yield DeadLetterReader(reader, source_name, log, frozenset(partitions))
    except (KafkaError, OSError) as error:
        raise DlqError(
            f"Kafka at {settings.bootstrap_servers} does not do it: {error!r}. Is it running, and may you use "
            f"{source_name}* and {log}? Then run it again"
        ) from error
