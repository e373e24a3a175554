"""Records and dead letters for tests: put on the broker as producers and agents do it, and read back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from click.testing import CliRunner, Result

from agents.dead_letters import DeadLetters
from agents.decoding import Poison, RecordError
from agents.publisher import Publisher
from footfall import dlq_reader, topic_reader, topics
from footfall.cli.base import Commands
from footfall.cli.dlq import dlq as group
from footfall.dlq_reader import RETRY_OF, Letter, Place
from footfall.stack.environment import environment_of
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, RETRIES, SOURCES, Topic
from tests.doubles import record

NOW_MS = time.time_ns() // 1_000_000  # what is older than the topic's retention Kafka drops, soon after its start
SECRET = b'{"user_id": "a secret"}'
Headers = Sequence[tuple[str, bytes | None]]


class Records:
    """Puts records and dead letters on the broker, and reads topics."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer, letters: DeadLetters) -> None:
        self.settings = settings
        self._producer = producer
        self.letters = letters

    async def put(
        self, value: bytes | None, *, topic: Topic = CLICKSTREAM, key: bytes = b"17", partition: int | None = None,
        headers: Headers = (), timestamp_ms: int = NOW_MS,
    ) -> ConsumerRecord:
        name = topic.full_name(self.settings.prefix)
        at = await self._producer.send_and_wait(
            name, value, key, partition=partition, timestamp_ms=timestamp_ms, headers=list(headers)
        )
        return record(
            value, topic=name, partition=at.partition, offset=at.offset, key=key, timestamp_ms=timestamp_ms,
            headers=headers,  # type: ignore[arg-type]  # null contents are left out of the type
        )

    async def bury(self, source: ConsumerRecord, error: Exception | None = None) -> Letter:
        """Write the dead letter; returns it as the reader sees it."""
        await self.letters.send(source, Poison(error or RecordError("it is bad")))
        letters = [dlq_reader.letter_of(one, source.topic) for one in await self.read(f"{source.topic}.dlq")]
        return [letter for letter in letters if letter.source == place_of(source)][-1]

    async def dead(self, value: bytes | None = SECRET, error: Exception | None = None, **how: object) -> Letter:
        return await self.bury(await self.put(value, **how), error)  # type: ignore[arg-type]

    async def read(self, topic: Topic | str) -> list[ConsumerRecord]:
        """All records of a topic, by time."""
        name = topic if isinstance(topic, str) else topic.full_name(self.settings.prefix)
        async with topic_reader.reading(topics.client_options(self.settings)) as reader:
            read = [one async for one in reader.records({TopicPartition(name, number): 0 for number in range(8)})]
        return sorted(read, key=lambda one: (one.timestamp, one.offset))


@asynccontextmanager
async def writing(settings: Settings) -> AsyncIterator[Records]:
    producer = AIOKafkaProducer(bootstrap_servers=settings.bootstrap_servers, acks="all")
    await producer.start()
    publisher = Publisher(producer)
    running = asyncio.create_task(publisher.run())
    try:
        yield Records(settings, producer, DeadLetters(publisher, settings.prefix, SOURCES))
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await producer.stop()
        await topics.delete(settings, [RETRIES])


def place_of(one: ConsumerRecord) -> Place:
    return Place(one.topic, one.partition, one.offset)


def at(letter: Letter) -> tuple[int, int]:
    return letter.place.partition, letter.place.offset


def source_of(letter: Letter) -> Place:
    assert letter.source is not None
    return letter.source


async def retried(records: Records, topic: Topic = CLICKSTREAM) -> list[ConsumerRecord]:
    """The records that retries have sent, by time."""
    return [one for one in await records.read(topic) if RETRY_OF in dict(one.headers)]


async def run(settings: Settings, *arguments: str) -> Result:
    """Run the command line, which has an event loop of its own."""
    root = Commands()
    root.add_command(group)
    environment = environment_of(settings)
    return await asyncio.to_thread(CliRunner().invoke, root, ["dlq", *arguments], env=environment)
