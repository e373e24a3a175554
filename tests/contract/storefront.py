"""A client of the running system, written from contract.md alone: plain JSON over aiokafka, and a Redis reader.

Sends events, and keeps all results and dead letters that it sees. While it reads it checks what must hold of every
record: one body for one id, and versions that never fall.
"""

import asyncio
import inspect
import json
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, NamedTuple, Self, TypeVar, overload

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord, TopicPartition
from redis.asyncio import Redis

Json = dict[str, Any]
Found = TypeVar("Found")

WITHIN_S = 15.0
SOURCE = "storefront/web"
SOURCES = ("clickstream", "purchases", "catalog", "inventory", "orders")
ERRORS = "__streams.errors."


class Offset(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int


class Sent(NamedTuple):
    at: Offset
    timestamp_ms: int
    value: bytes | None


class Result(NamedTuple):
    """A record of the recommendations topic."""

    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]]
    event: Json

    @property
    def data(self) -> Json:
        data: Json = self.event["data"]
        return data

    @property
    def item_ids(self) -> list[str]:
        return [item["item_id"] for item in self.data["items"]]

    def covers(self) -> Iterator[Offset]:
        for part in self.data["covers"]:
            for offset in range(part["from"], part["to"] + 1):
                yield Offset(part["topic"], part["partition"], offset)


class DeadLetter(NamedTuple):
    topic: str
    key: bytes | None
    value: bytes | None
    headers: dict[str, bytes | None]

    @property
    def source(self) -> Offset:
        def text(name: str) -> str:
            return (self.headers[ERRORS + name] or b"").decode()

        return Offset(text("topic"), int(text("partition")), int(text("offset")))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def rfc3339(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def unique(kind: str) -> str:
    return f"{kind}-{uuid.uuid4().hex[:12]}"


def event(kind: str, data: Json, *, id: str = "", time_ms: int = 0) -> Json:  # noqa: A002 - the CloudEvents name
    """The contract's envelope; a new id, and now, unless they are given."""
    return {
        "specversion": "1.0", "id": id or unique("e"), "source": SOURCE, "type": f"retail.{kind}.v1",
        "time": rfc3339(time_ms or now_ms()), "datacontenttype": "application/json", "data": data,
    }


def lines(*item_ids: str) -> list[Json]:
    return [{"item_id": item_id, "item_name": "…", "item_category": "…", "price": 2.99, "quantity": 1}
            for item_id in item_ids]


def click(user: str, *item_ids: str, kind: str = "view_item", id: str = "", time_ms: int = 0, **data: Any) -> Json:  # noqa: A002
    who = {"user_id": user, "session_id": "s-9", "consent": True}
    return event(kind, who | {"items": lines(*item_ids), "recommendation_id": None, "impressions": []} | data,
                 id=id, time_ms=time_ms)


def purchase(user: str, *item_ids: str, id: str = "", time_ms: int = 0, **data: Any) -> Json:  # noqa: A002
    who = {"user_id": user, "session_id": "s-9", "consent": True}
    bought = {"items": lines(*item_ids), "transaction_id": unique("t"), "currency": "EUR", "value": 2.99,
              "coupon": None, "store_id": "12"}
    return event("purchase", who | bought | data, id=id, time_ms=time_ms)


def catalogue(item_id: str, title: str = "Green tea", **data: Any) -> Json:
    return event("item", {"item_id": item_id, "title": title, "category": "Tea", "brand": "T", "price": 2.99} | data)


def stock_level(item_id: str, on_hand: float, **data: Any) -> Json:
    return event("stock_level", {"item_id": item_id, "on_hand": on_hand, "on_order": 0, "lead_time_days": 3} | data)


def order(order_id: str, user: str, status: str = "shipped", **data: Any) -> Json:
    given: Json = {"order_id": order_id, "user_id": user, "status": status, "currency": "EUR", "value": 2.99,
                   "lines": lines("1044078"), "placed_at": rfc3339(now_ms())}
    return event("order", given | data)


def topic_of(sent: Json) -> str:
    kind = sent["type"].split(".")[1]
    return {
        "purchase": "purchases", "refund": "purchases", "item": "catalog", "stock_level": "inventory",
        "order": "orders",
    }.get(kind, "clickstream")


def key_of(sent: Json) -> str:
    data = sent["data"]
    match topic_of(sent):
        case "catalog":
            return str(data["item_id"])
        case "orders":
            return str(data["order_id"])
        case "inventory":
            return f"{data['item_id']}|{data['location_id']}" if "location_id" in data else str(data["item_id"])
        case _:
            return data.get("user_id") or f"v:{data['visitor_id']}"


class Storefront:
    """One connection to the system for all tests. Lives in one event loop."""

    def __init__(self, bootstrap_servers: str, redis_url: str, prefix: str) -> None:
        self._prefix = prefix
        self._servers = bootstrap_servers
        self.redis: Any = Redis.from_url(redis_url, decode_responses=True)  # its types name what any server may say
        self._producer = AIOKafkaProducer(
            bootstrap_servers=bootstrap_servers, max_request_size=2_000_000, linger_ms=1, acks="all"
        )
        self._consumer = AIOKafkaConsumer(
            self.topic("recommendations"), *(f"{self.topic(name)}.dlq" for name in SOURCES),
            bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest", fetch_max_wait_ms=20,
        )
        self._reading: asyncio.Task[None] | None = None
        self.results: dict[str, list[Result]] = defaultdict(list)  # by user, in the order of the topic
        self.covered: dict[Offset, Result] = {}
        self.dead_letters: dict[Offset, list[DeadLetter]] = defaultdict(list)
        self.violations: list[str] = []
        self._bodies: dict[str, bytes] = {}

    async def __aenter__(self) -> Self:
        await self._producer.start()
        await self._consumer.start()
        self._reading = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        self._reading.cancel()
        with suppress(asyncio.CancelledError):
            await self._reading
        await self._consumer.stop()
        await self._producer.stop()
        await self.redis.aclose()

    def topic(self, name: str) -> str:
        return f"{self._prefix}.{name}.v1"

    # -- sending

    async def put(
        self, topic: str, key: bytes | None, value: bytes | None, *, headers: Sequence[tuple[str, bytes | None]] = (),
        timestamp_ms: int | None = None, partition: int | None = None,
    ) -> Sent:
        """One record as it is, and where the broker put it."""
        stamp = now_ms() if timestamp_ms is None else timestamp_ms
        meta = await self._producer.send_and_wait(
            self.topic(topic), value, key, partition=partition, timestamp_ms=stamp, headers=list(headers)
        )
        return Sent(Offset(meta.topic, meta.partition, meta.offset), stamp, value)

    async def send(self, sent: Json, **how: Any) -> Sent:
        return await self.put(topic_of(sent), key_of(sent).encode(), json.dumps(sent).encode(), **how)

    async def send_all(self, events: Sequence[Json]) -> list[Sent]:
        """In this order on each partition; in flight together."""
        return list(await asyncio.gather(*(self.send(one) for one in events)))

    # -- waiting

    @overload
    async def until(
        self, look: Callable[[], Awaitable[Found | None]], what: str, within_s: float = WITHIN_S
    ) -> Found: ...
    @overload
    async def until(self, look: Callable[[], Found | None], what: str, within_s: float = WITHIN_S) -> Found: ...
    async def until(self, look: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
        """What `look` finds, as soon as that is true."""
        deadline = time.monotonic() + within_s
        while True:
            if self._reading is not None and self._reading.done():
                self._reading.result()
            seen = look()
            found = await seen if inspect.isawaitable(seen) else seen
            if found:
                return found
            assert time.monotonic() < deadline, f"not within {within_s:g} s: {what}"
            await asyncio.sleep(0.01)

    async def result_for(self, sent: Sent, within_s: float = WITHIN_S) -> Result:
        """The result that covers this record."""
        return await self.until(lambda: self.covered.get(sent.at), f"a result that covers {sent.at}", within_s)

    async def results_for(self, sent: Sequence[Sent], within_s: float = WITHIN_S) -> None:
        def all_covered() -> bool:
            return all(one.at in self.covered for one in sent)

        await self.until(all_covered, f"results that cover {len(sent)} records", within_s)

    async def answer(self, sent: Json, **how: Any) -> Result:
        return await self.result_for(await self.send(sent, **how))

    async def dead_letter_of(self, sent: Sent) -> DeadLetter:
        (letter,) = await self.until(lambda: self.dead_letters.get(sent.at), f"a dead letter for {sent.at}")
        return letter

    # -- reading

    async def stored(self, user: str) -> Json | None:
        """The result that readers of Redis get."""
        text = await self.redis.get(f"user:{{{user}}}:recommendations")
        return json.loads(text) if text else None

    async def history(self, user: str) -> dict[str, float]:
        return dict(await self.redis.zrange(f"user:{{{user}}}:history", 0, -1, withscores=True))

    async def keys_of(self, user: str) -> dict[str, int]:
        """Everything about a user that Redis holds, with the time to live in s."""
        keys = [key async for key in self.redis.scan_iter(match=f"user:{{{user}}}*", count=10_000)]
        return {key: await self.redis.ttl(key) for key in keys}

    async def dump(self, user: str) -> dict[str, bytes]:
        """The same with contents, to be compared."""
        contents = {}
        for key in await self.keys_of(user):
            match await self.redis.type(key):
                case "string":  # some are not text
                    contents[key] = await self.redis.execute_command("DUMP", key, NEVER_DECODE=b"")
                case "hash":
                    contents[key] = repr(await self.redis.execute_command("HGETALL", key, NEVER_DECODE=b"")).encode()
                case "zset":
                    contents[key] = repr(await self.redis.zrange(key, 0, -1, withscores=True)).encode()
                case other:
                    raise AssertionError(f"a {other} at {key}")
        return contents

    async def all_committed(self, capability: str, sent: Sequence[Sent]) -> bool:
        """Whether the capability's group has reached the last of these records on each partition, and no more."""
        ends: dict[TopicPartition, int] = defaultdict(int)  # the local broker's own answer to that is too low at times
        for record in sent:
            partition = TopicPartition(record.at.topic, record.at.partition)
            ends[partition] = max(ends[partition], record.at.offset + 1)
        group = AIOKafkaConsumer(
            bootstrap_servers=self._servers, group_id=f"{self._prefix}.{capability}", enable_auto_commit=False
        )
        await group.start()
        try:
            return {partition: await group.committed(partition) for partition in ends} == ends
        finally:
            await group.stop()

    async def _read(self) -> None:
        while True:
            for records in (await self._consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    if record.topic.endswith(".dlq"):
                        letter = DeadLetter(record.topic, record.key, record.value, dict(record.headers))
                        self.dead_letters[letter.source].append(letter)
                    else:
                        self._result(record)

    def _result(self, record: ConsumerRecord) -> None:
        result = Result(record.key, record.value, record.headers, json.loads(record.value))
        user, id_ = result.key.decode(), result.event["id"]
        if self._bodies.setdefault(id_, result.value) != result.value:
            self.violations.append(f"id {id_} has two bodies")
        before = self.results[user]
        if before and result.data["history_version"] < before[-1].data["history_version"]:
            self.violations.append(f"the version of {user} falls to {result.data['history_version']}")
        before.append(result)
        self.covered.update({offset: result for offset in result.covers() if offset not in self.covered})
