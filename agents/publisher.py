"""Sends records and does not give up: a record is delivered, or refused for good, or the process is on its way out.

Records of one partition wait in a *lane* and leave as one batch. A lane has one batch under way, so its records arrive
in order whatever fails. aiokafka's own `send` costs a future and three calls a record, and its batches are smaller
(docs/performance.md).
"""

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Protocol

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2
from msgspec import Struct

from agents.backoff import wait_s

logger = logging.getLogger(__name__)

RETRY_S = (0.1, 0.3, 1.0, 3.0, 5.0)  # the producer itself has retried for its request time-out before we do
PAUSE_S = 0.005  # between rounds, so that under load a request holds more than one record of a partition
NO_LIMIT = 1 << 30

Headers = list[tuple[str, bytes]]  # aiokafka takes no other sequence
OnDelivered = Callable[[MessageSizeTooLargeError | None], None]


@lru_cache(maxsize=65_536)  # users: the hash is pure Python, 8 CPU us for a short key
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_of(key: bytes | None, partitions: int) -> int:
    """Choose as every Kafka client does by default."""
    if key is None:
        return random.randrange(partitions)  # noqa: S311 - spreads load, hides nothing
    return _hash(key) % partitions


class Batch(Protocol):
    """The part of aiokafka's `BatchBuilder` that is used."""

    def append(self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Headers) -> object:
        """Add a record; returns None when the batch is full."""

    def close(self) -> None: ...


class Producer(Protocol):
    """The part of aiokafka's producer that is used."""

    async def partitions_for(self, topic: str) -> Collection[int]: ...
    def create_batch(self) -> Batch: ...
    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        """Queue a batch; the future resolves when the broker has it."""


class _Record(Struct, frozen=True):
    key: bytes | None
    value: bytes | None
    headers: Headers
    on_delivered: OnDelivered


class _Lane(Struct, eq=False):
    topic: str
    partition: int
    waiting: deque[_Record]  # the first ones may be under way; bounded by what the agents hold
    under_way: bool = False
    failures: int = 0
    limit: int = NO_LIMIT  # records of the next batch


class Publisher:
    """Output records; what is acknowledged on the input has arrived on the output. Nothing leaves without `run`."""

    def __init__(self, producer: Producer, *, chance: Callable[[], float] = random.random) -> None:
        self._producer = producer
        self._chance = chance  # lanes, and agents, that lost the same broker do not return in the same moment
        self._partitions: dict[str, int] = {}
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._ready: list[_Lane] = []  # with records, and nothing under way
        self._wake = asyncio.Event()
        self._failure: BaseException | None = None

    @property
    def unsent(self) -> bool:
        """Whether Kafka does not have all records yet."""
        return any(lane.waiting for lane in self._lanes.values())

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivered: OnDelivered
    ) -> None:
        """Queue one record. `on_delivered` is called with None once Kafka has it, or with why it never will."""
        partitions = self._partitions.get(topic) or await self._look_up(topic)
        partition = partition_of(key, partitions)
        lane = self._lanes.get((topic, partition))
        if lane is None:
            lane = self._lanes[topic, partition] = _Lane(topic, partition, deque())
        lane.waiting.append(_Record(key, value, headers, on_delivered))
        if not lane.under_way:
            lane.under_way = True
            self._start(lane)

    async def deliver(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers) -> None:
        """Send and wait until Kafka has it.

        Raises MessageSizeTooLargeError, which no retry can mend.
        """
        delivered: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def resolve(error: MessageSizeTooLargeError | None) -> None:
            if delivered.cancelled():
                return
            if error is None:
                delivered.set_result(None)
            else:
                delivered.set_exception(error)

        await self.send(topic, key, value, headers, resolve)
        await delivered

    async def run(self) -> None:
        """Send what is queued, for ever. Raises what an `on_delivered` raised."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._failure is not None:
                raise self._failure
            ready, self._ready = self._ready, []
            for lane in ready:
                await self._send_batch(lane)
            self._partitions.clear()  # looked up again, in memory, once a round: topics grow
            await asyncio.sleep(PAUSE_S)

    async def _look_up(self, topic: str) -> int:
        attempt = 0
        while True:
            try:
                partitions = self._partitions[topic] = len(await self._producer.partitions_for(topic))
            except KafkaError as error:
                await asyncio.sleep(self._wait_s(topic, attempt, error))
                attempt += 1
            else:
                return partitions

    def _start(self, lane: _Lane) -> None:
        self._ready.append(lane)
        self._wake.set()

    async def _send_batch(self, lane: _Lane) -> None:
        batch, count = self._producer.create_batch(), 0
        for record in islice(lane.waiting, lane.limit):
            if batch.append(timestamp=None, key=record.key, value=record.value, headers=record.headers) is None:
                break
            count += 1
        batch.close()
        try:
            sending = await self._producer.send_batch(batch, lane.topic, partition=lane.partition)
        except KafkaError as error:
            self._failed(lane, count, error)
        else:
            sending.add_done_callback(partial(self._sent, lane, count))

    def _sent(self, lane: _Lane, count: int, sending: "asyncio.Future[Any]") -> None:
        if sending.cancelled():
            return  # the producer is closing; nothing of this is acknowledged
        error = sending.exception()
        if isinstance(error, KafkaError):
            self._failed(lane, count, error)
        elif error is not None:
            self._stop(error)
        else:
            lane.failures, lane.limit = 0, min(2 * lane.limit, NO_LIMIT)
            self._done(lane, count, None)

    def _failed(self, lane: _Lane, count: int, error: KafkaError) -> None:
        """Send the same records again, in a while; of a batch that is too large, half."""
        if not isinstance(error, MessageSizeTooLargeError):
            asyncio.get_running_loop().call_later(self._wait_s(lane.topic, lane.failures, error), self._start, lane)
            lane.failures += 1
        elif count > 1:
            lane.limit = count // 2
            self._start(lane)
        else:
            self._done(lane, 1, error)

    def _done(self, lane: _Lane, count: int, error: MessageSizeTooLargeError | None) -> None:
        try:
            for _ in range(count):
                lane.waiting.popleft().on_delivered(error)
        except Exception as failure:  # noqa: BLE001 - raised again by `run`
            self._stop(failure)
        lane.under_way = bool(lane.waiting)
        if lane.under_way:
            self._start(lane)

    def _stop(self, failure: BaseException) -> None:
        self._failure = failure
        self._wake.set()

    def _wait_s(self, topic: str, attempt: int, error: KafkaError) -> float:
        again_in_s = wait_s(RETRY_S, attempt, self._chance())
        logger.warning("sending to %s failed (%r); again in %.1f s", topic, error, again_in_s)
        return again_in_s
