"""Fills Redis with the users' state that follows from the topics: `footfall rebuild`.

Reads clicks and purchases by no consumer group and without a commit, in the order of the records' times across all
partitions, which is about how agents got them. What an event does to the state is known in agents/applying.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from redis.asyncio import Redis
from redis.exceptions import RedisError

from agents.applying import EventBatch
from agents.decoding import Poison, customer_decoders
from agents.state.connection import connect
from agents.state.store import UserStore
from footfall import topics
from footfall.errors import FootfallError
from schemas import keys
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES

RECORDS_PER_BATCH = 512  # one pipeline to Redis, as the agents'
RECORDS_PER_FETCH = 2000  # a partition waits with at most twice as many, so 16 of them with 100 MB at the very worst
POLL_MS = 200
SILENCE_S = 60.0  # after that the broker will not answer any more
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


class Log:
    """The records of partitions up to their ends as of now, the earliest first; of one partition, in its order.

    `ends`: behind the last record, as the broker lists it. The consumer is assigned to these partitions and stands at
    `starts`. Memory is bounded by `RECORDS_PER_FETCH`.
    """

    def __init__(
        self, consumer: AIOKafkaConsumer, starts: Mapping[TopicPartition, int], ends: Mapping[TopicPartition, int],
        clock: Callable[[], float],
    ) -> None:
        self._consumer = consumer
        self._starts = starts
        self._ends = dict(ends)
        self._clock = clock
        self._queues: dict[TopicPartition, deque[ConsumerRecord]] = {tp: deque() for tp in ends}
        self._untouched, self._unread = set(ends), set(ends)

    @property
    def total(self) -> int:
        """How many records there are, holes included."""
        return sum(end - self._starts[tp] for tp, end in self._ends.items())

    async def records(self) -> AsyncIterator[ConsumerRecord]:
        """Raise RebuildError when the broker gives nothing for `SILENCE_S`."""
        while True:
            await self._fill()
            waiting = [queue for queue in self._queues.values() if queue]
            if not waiting:
                return
            yield min(waiting, key=lambda queue: queue[0].timestamp).popleft()

    async def _fill(self) -> None:
        """Have a record of each partition that has one left."""
        heard_s = self._clock()
        while not all(self._queues[tp] for tp in self._unread):
            hungry = [tp for tp in self._unread if len(self._queues[tp]) < RECORDS_PER_FETCH]
            fetched = await self._consumer.getmany(*hungry, timeout_ms=POLL_MS, max_records=RECORDS_PER_FETCH)
            for tp, records in fetched.items():
                if tp in self._untouched:  # the local broker lists an end inside the last batch
                    self._untouched.discard(tp)
                    self._ends[tp] = max(self._ends[tp], self._consumer.highwater(tp))
                self._queues[tp].extend([record for record in records if record.offset < self._ends[tp]])
                heard_s = self._clock()
            for tp in hungry:  # by position: what ends a partition may be no record but a transaction's mark
                if await self._consumer.position(tp) >= self._ends[tp]:
                    self._unread.discard(tp)
            if self._clock() - heard_s > SILENCE_S:
                raise RebuildError(
                    f"Kafka has given nothing for {SILENCE_S:g} s: see that it runs, then run this again with "
                    "--into-existing"
                )


async def rebuild(
    settings: Settings, *, into_existing: bool, progress: Callable[[int, int], None],
    clock: Callable[[], float] = time.monotonic,
) -> Rebuilt:
    """Apply every click and purchase that the topics hold now. `progress`: records done, records in all.

    May be repeated, with `into_existing`. Once begun, it waits for a Redis that goes away. Raises RebuildError when
    Redis holds users already (unless `into_existing`), when a topic is missing, or when Redis or Kafka do not answer;
    TopicsError when the topics cannot be listed.
    """
    started_s = clock()
    redis = connect(settings.redis_url)
    try:
        if await _holds_users(redis) and not into_existing:
            raise RebuildError(
                "this Redis holds state of users: set REDIS_URL to an empty one, or see what `footfall rebuild --help` "
                "says of --into-existing"
            )
        partitions = await _partitions(settings)
        consumer = AIOKafkaConsumer(
            **topics.client_options(settings), enable_auto_commit=False, auto_offset_reset="earliest",
            fetch_max_wait_ms=settings.fetch_max_wait_ms,
        )
        try:
            await consumer.start()
            starts = await consumer.beginning_offsets(partitions)
            ends = {tp: end for tp, end in (await consumer.end_offsets(partitions)).items() if end > starts[tp]}
            consumer.assign(list(ends))
            for tp in ends:
                consumer.seek(tp, starts[tp])
            log = Log(consumer, starts, ends, clock)
            read = await _apply(
                log, UserStore(redis, settings), settings.prefix, lambda done: progress(done, log.total)
            )
            progress(log.total, log.total)
        finally:
            await consumer.stop()
    except KafkaError as error:
        raise RebuildError(f"Kafka does not do it: {error!r}. Is it running, and are its settings right?") from error
    except RedisError as error:
        raise RebuildError(f"Redis does not do it: {error}. Is it running, and is REDIS_URL right?") from error
    finally:
        await redis.aclose()
    return Rebuilt(*read, clock() - started_s)


async def _apply(
    log: Log, store: UserStore, prefix: str, progress: Callable[[int], None]
) -> tuple[int, int, int]:
    """Return how many events, users and poison records there were."""
    decoders = customer_decoders(prefix)
    users: set[str] = set()  # far less than Redis needs for them
    done = poison = 0
    batch = EventBatch()
    async for record in log.records():
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


async def _partitions(settings: Settings) -> list[TopicPartition]:
    partitions = []
    for state in await topics.listing(settings, (CLICKSTREAM, PURCHASES)):
        if state.partitions is None:
            raise RebuildError(f"there is no topic {state.name}: is FOOTFALL_PREFIX right?")
        partitions += [TopicPartition(state.name, number) for number in range(state.partitions)]
    return partitions
