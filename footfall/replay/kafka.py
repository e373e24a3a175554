"""The replay's way out and back: records to Kafka, recommendations from Redis. Knows clients and bytes, not trips."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaProducer, TopicPartition

from footfall.ledger import Ledger
from footfall.replay.runner import Message, Place, Served
from footfall.replay.scoring import SHOWN
from footfall.topic_reader import ends
from schemas import keys
from schemas.events import VISITOR_PREFIX, Click, Purchase, SupportMessage
from schemas.results import RecommendationsData, RecommendedItem
from schemas.topics import Topic

if TYPE_CHECKING:
    from redis.asyncio import Redis

LINGER_MS = 2
SCORE_TIMEOUT_S = 2.0

encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(RecommendationsData).decode


class DeliveryError(RuntimeError):
    """The broker did not take a record; the message says why."""


class KafkaTransport:
    """Sends messages in structured mode, in order per key, and tells the ledgers of what calls for an answer.

    `ledger`: of clicks and purchases, `replies`: of support messages. `client`: aiokafka's connection settings. Queued
    records are bounded by the producer's one batch per partition.
    """

    def __init__(
        self, client: Mapping[str, Any], prefix: str, ledger: Ledger | None, replies: Ledger | None = None,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._producer = AIOKafkaProducer(**client, acks="all", linger_ms=LINGER_MS)
        self._prefix = prefix
        self._ledger = ledger
        self._replies = replies
        self._wall_ms = wall_ms
        self._error: BaseException | None = None

    async def start(self) -> None:
        await self._producer.start()

    async def stop(self) -> None:
        await self._producer.stop()

    async def send(self, message: Message) -> "asyncio.Future[Place]":
        """Queue one record. Raises DeliveryError when an earlier one was refused."""
        self._raise_if_failed()
        sent_ms = self._wall_ms()
        sending = await self._producer.send(
            message.topic.full_name(self._prefix), encode(message.event), message.key.encode(), timestamp_ms=sent_ms
        )
        delivered: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        sending.add_done_callback(partial(self._delivered, message, sent_ms, delivered))
        return delivered

    async def flush(self) -> None:
        """Return when the broker has everything. Raises DeliveryError when it refused something."""
        await self._producer.flush()
        await asyncio.sleep(0)  # the callbacks of the last batch
        self._raise_if_failed()

    def _delivered(
        self, message: Message, sent_ms: int, delivered: "asyncio.Future[Place]", sending: "asyncio.Future[Any]"
    ) -> None:
        if sending.cancelled():
            delivered.cancel()
            return
        error = sending.exception()
        if error is not None:
            self._error = self._error or error
            delivered.cancel()
            return
        at = sending.result()
        event = message.event
        ledger = self._replies if isinstance(event, SupportMessage) else self._ledger
        if ledger is not None and isinstance(event, Click | Purchase | SupportMessage):
            data = event.data
            both = data.user_id is not None and data.visitor_id is not None
            ledger.record_sent(
                at.topic, at.partition, at.offset,
                sent_ms=sent_ms, user=message.key, event_ms=round(event.time.timestamp() * 1000),
                visitor=f"{VISITOR_PREFIX}{data.visitor_id}" if both else None,
            )
        if not delivered.cancelled():
            delivered.set_result(Place(at.topic, at.partition, at.offset))

    def _raise_if_failed(self) -> None:
        if self._error is not None:
            raise DeliveryError(f"the broker refused a record ({self._error!r}): is it running, do the topics exist?")


class RedisStorefront:
    """Reads what a storefront would show. `answered` waits for an input record's answer (see LedgerReader)."""

    def __init__(
        self, redis: "Redis", answered: Callable[[str, int, int, float], Awaitable[bool]],
        timeout_s: float = SCORE_TIMEOUT_S,
    ) -> None:
        self._redis = redis
        self._answered = answered
        self._timeout_s = timeout_s

    async def recommended(self, user: str, arrival: "asyncio.Future[Place]") -> Served:
        """The first available items of the stored result. After the time-out: of whatever result is stored."""
        place = await arrival
        in_time = await self._answered(place.topic, place.partition, place.offset, self._timeout_s)
        return Served((await self.items(user))[:SHOWN], in_time)

    async def items(self, user: str) -> tuple[str, ...]:
        """The available items of the user's stored result, best first."""
        result = await stored_result(self._redis, user)
        return () if result is None else tuple(item.item_id for item in await available(self._redis, result.items))


async def total_records(client: Mapping[str, Any], topics: Sequence[Topic], prefix: str) -> int:
    """How many records were ever written to these topics. Raises TopicsError when one is missing."""
    return sum((await ends(client, [
        TopicPartition(topic.full_name(prefix), number) for topic in topics for number in range(topic.partitions)
    ])).values())


async def stored_result(redis: "Redis", user: str) -> RecommendationsData | None:
    """A user's stored result as it is."""
    value = await redis.get(keys.recommendations(user))
    return _decode(value) if value is not None else None


async def available(redis: "Redis", items: Sequence[RecommendedItem]) -> list[RecommendedItem]:
    """Those that can be bought now."""
    if not items:
        return []
    gone = await redis.smismember(keys.UNAVAILABLE_ITEMS, [item.item_id for item in items])
    return [item for item, is_gone in zip(items, gone, strict=True) if not is_gone]
