"""Fills Redis with the users' state that follows from the topics: `footfall rebuild`.

Reads clicks and purchases by no consumer group and without a commit, in the order of the records' times across all
partitions, which is about how agents got them. What an event does to the state is known in agents/applying.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agents.applying import EventBatch
from agents.decoding import Poison, customer_decoders
from agents.state.connection import connect
from agents.state.store import UserStore
from footfall import topic_reader, topics
from footfall.errors import FootfallError
from footfall.topic_reader import RECORDS_PER_FETCH, TopicReader
from schemas import keys
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES

RECORDS_PER_BATCH = 512  # one pipeline to Redis, as the agents'
REDIS_ANSWERS_WITHIN_S = 10.0
KEYS_PER_SCAN = 1000


class RebuildError(FootfallError):
    """Nothing was rebuilt, or not everything; the message says why and what to do."""


class Rebuilt(Struct, frozen=True):
    """What was read. `events`: repeated ones too, which change nothing. `users`: of these events, with visitors."""

    events: int
    users: int
    poison: int
    seconds: float


async def by_time(reader: TopicReader, starts: Mapping[TopicPartition, int]) -> AsyncIterator[ConsumerRecord]:
    """Yield all that is there, the earliest first; of one partition, in its order. Of 16, 100 MB wait at the worst."""
    queues: dict[TopicPartition, deque[ConsumerRecord]] = {partition: deque() for partition in starts}
    reader.begin(starts)
    while True:
        while not all(queues[partition] for partition in reader.unread):
            hungry = [partition for partition in reader.unread if len(queues[partition]) < RECORDS_PER_FETCH]
            for partition, records in (await reader.fetch(hungry)).items():
                queues[partition].extend(records)
        waiting = [queue for queue in queues.values() if queue]
        if not waiting:
            return
        yield min(waiting, key=lambda queue: queue[0].timestamp).popleft()


async def rebuild(
    settings: Settings, *, into_existing: bool, progress: Callable[[int, int], None],
    clock: Callable[[], float] = time.monotonic,
) -> Rebuilt:
    """Apply every click and purchase that the topics hold now. `progress`: records done, records in all.

    May be repeated, with `into_existing`. Once begun, it waits for a Redis that goes away. Raises RebuildError when
    Redis holds users already (unless `into_existing`), or when Redis or Kafka do not answer; TopicsError when the
    topics cannot be listed or one is missing.
    """
    started_s = clock()
    redis = connect(settings.redis_url)
    try:
        if await _holds_users(redis) and not into_existing:
            raise RebuildError(
                "this Redis holds state of users: set REDIS_URL to an empty one, or see what `footfall rebuild --help` "
                "says of --into-existing"
            )
        partitions = await topic_reader.partitions_of(settings, (CLICKSTREAM, PURCHASES))
        async with topic_reader.reading(topics.client_options(settings)) as reader:
            starts: dict[TopicPartition, int] = await reader.consumer.beginning_offsets(partitions)

            def total() -> int:  # holes included; all ends are known before the first record comes
                return sum(reader.ends.values()) - sum(starts.values())

            records = by_time(reader, starts)
            read = await _apply(records, UserStore(redis, settings), settings.prefix, lambda n: progress(n, total()))
            progress(total(), total())
    except KafkaError as error:
        raise RebuildError(
            f"Kafka does not do it: {error!r}. Is it running, and are its settings right? Then run this again with "
            "--into-existing"
        ) from error
    except RedisError as error:
        raise RebuildError(f"Redis does not do it: {error}. Is it running, and is REDIS_URL right?") from error
    finally:
        await redis.aclose()
    return Rebuilt(*read, clock() - started_s)


async def _apply(
    records: AsyncIterator[ConsumerRecord], store: UserStore, prefix: str, progress: Callable[[int], None]
) -> tuple[int, int, int]:
    """Return how many events, users and poison records there were."""
    decoders = customer_decoders(prefix)
    users: set[str] = set()  # far less than Redis needs for them
    done = poison = 0
    batch = EventBatch()
    async for record in records:
        event = decoders[record.topic](record)
        if isinstance(event, Poison):
            poison += 1
        else:
            batch.add(event, record.timestamp)
            users.add(event.data.user)
        done += 1
        if done % RECORDS_PER_BATCH == 0:
            await batch.apply(store)
            batch = EventBatch()
            progress(done)
    await batch.apply(store)
    return done - poison, len(users), poison


async def _holds_users(redis: Redis) -> bool:
    try:
        async with asyncio.timeout(REDIS_ANSWERS_WITHIN_S):
            await redis.ping()
    except TimeoutError as error:
        raise RebuildError(
            f"Redis did not answer within {REDIS_ANSWERS_WITHIN_S:g} s: is it running, and is REDIS_URL right?"
        ) from error
    async for _ in redis.scan_iter(match=f"{keys.user('*')}:*", count=KEYS_PER_SCAN):
        return True
    return False
