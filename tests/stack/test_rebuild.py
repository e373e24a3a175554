"""Redis is lost; the topics are not: what is rebuilt from them is what was there."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from agents.decoding import event_time_ms
from agents.state.connection import connect
from agents.state.reference import ReferenceStore, StateDigest
from footfall import topics as table
from footfall.cli.base import Commands
from footfall.cli.rebuild import rebuild as command
from footfall.errors import FootfallError
from footfall.rebuild import RebuildError, Rebuilt, by_time, rebuild
from footfall.stack import Stack
from footfall.state_digest import differences, read_states
from footfall.topics import client_options
from schemas.events import CustomerEvent
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES
from tests.doubles import as_bytes, envelope
from tests.stack.fetches import A, B, Fetches, at

DATABASE = 3  # other tests use 0
BAD = (b"hello", b"", None)


@pytest.fixture
async def empty(any_topics: Settings) -> AsyncIterator[Settings]:
    """Topics without a record and a Redis without a key."""
    settings = msgspec.structs.replace(any_topics, redis_url=any_topics.redis_url.removesuffix("0") + str(DATABASE))
    redis = connect(settings.redis_url)
    await redis.flushdb()
    yield settings
    await redis.flushdb()
    await redis.aclose()


class Shop:
    """Sends events to the topics, and knows from them alone what the state must be."""

    def __init__(self, settings: Settings, seed: int = 1) -> None:
        self.chance = random.Random(seed)
        self.clicks, self.purchases = (topic.full_name(settings.prefix) for topic in (CLICKSTREAM, PURCHASES))
        self.time_ms = int(time.time() * 1000) - 3_600_000
        self.twin = ReferenceStore()
        self.records: list[tuple[str, bytes | None, bytes, int]] = []
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def event(self, kind: str, who: Mapping[str, Any], *items: str) -> None:
        at_ms = self.time_ms - self.chance.choice((0, 0, 7_200_000, -900_000))  # late; a clock that runs ahead
        data = {**who, "items": [{"item_id": item} for item in items]}
        if kind in {"purchase", "refund"}:
            data["transaction_id"] = "t"
        at = datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")
        self.sent.append((
            self.purchases if "transaction_id" in data else self.clicks,
            envelope(kind, data, id=f"e{len(self.sent)}", time=at),
        ))
        self.again(-1)

    def again(self, number: int) -> None:
        topic, made = self.sent[number]
        self.time_ms += 1000
        event: CustomerEvent = msgspec.convert(made, CustomerEvent)
        self.twin.take(event, event_time_ms(event.time.timestamp(), self.time_ms))
        self.records.append((topic, as_bytes(made), event.data.user.encode(), self.time_ms))

    def bad(self, value: bytes | None) -> None:
        self.records.append((self.clicks, value, b"17", self.time_ms))

    def busy_day(self, prefix: str, people: Sequence[Mapping[str, Any]], events: int) -> None:
        kinds = ("view_item", "add_to_cart", "remove_from_cart", "search", "add_to_wishlist", "purchase", "refund")
        for _ in range(events):
            who = self.chance.choice(people)
            items = self.chance.sample([f"{prefix}{n}" for n in range(30)], self.chance.randint(1, 4))
            self.event(self.chance.choice(kinds), who, *items)
            if self.chance.random() < 0.1:
                self.again(self.chance.randrange(len(self.sent)))

    async def send(self, settings: Settings) -> dict[str, StateDigest]:
        producer = AIOKafkaProducer(**client_options(settings), linger_ms=5)
        await producer.start()
        try:
            await asyncio.gather(*[
                await producer.send(topic, value, key, timestamp_ms=time_ms)
                for topic, value, key, time_ms in self.records
            ])
        finally:
            await producer.stop()
        self.records.clear()
        return self.twin.digests()


def crowd(prefix: str) -> list[Mapping[str, Any]]:
    """Users, visitors, the visitors' logins (two users share one), and someone who does not consent."""
    one, two, three = (f"{prefix}-{number}" for number in (1, 2, 3))
    return [
        {"user_id": one}, {"user_id": two}, {"visitor_id": one}, {"visitor_id": two},
        {"user_id": one, "visitor_id": one}, {"user_id": two, "visitor_id": two}, {"user_id": two, "visitor_id": one},
        {"user_id": one, "session_id": "s", "consent": False},
        {"user_id": three, "visitor_id": three, "consent": False},
    ]


async def kept(settings: Settings, users: Sequence[str]) -> dict[str, StateDigest]:
    redis = connect(settings.redis_url)
    try:
        return await read_states(redis, users)
    finally:
        await redis.aclose()


def quiet(done: int, total: int) -> None:
    pass


async def test_what_is_rebuilt_is_what_follows_from_the_events(empty: Settings, prefix: str) -> None:
    shop = Shop(empty)
    shop.busy_day(prefix, crowd(prefix), 700)
    for value in BAD:
        shop.bad(value)
    records = len(shop.records)
    expected = await shop.send(empty)
    told: list[tuple[int, int]] = []

    rebuilt = await rebuild(empty, into_existing=False, progress=lambda done, of: told.append((done, of)))

    assert differences(expected, await kept(empty, list(expected))) == []
    assert max(digest.version for digest in expected.values()) > 100
    assert (rebuilt.events, rebuilt.users, rebuilt.poison) == (records - 3, 5, 3)
    assert told[0] == (512, records)
    assert told[-1] == (records, records)
    redis = connect(empty.redis_url)
    assert not [key async for key in redis.scan_iter(match="*recommendations")]
    await redis.aclose()


async def test_a_redis_with_users_is_refused_unless_it_may_be_added_to(empty: Settings, prefix: str) -> None:
    shop = Shop(empty)
    shop.busy_day(prefix, [{"user_id": f"{prefix}-{n}"} for n in range(4)], 40)
    await shop.send(empty)
    await rebuild(empty, into_existing=False, progress=quiet)
    shop.busy_day(prefix, [{"user_id": f"{prefix}-{n}"} for n in range(6)], 40)
    expected = await shop.send(empty)

    with pytest.raises(RebuildError, match="--into-existing"):
        await rebuild(empty, into_existing=False, progress=quiet)
    await rebuild(empty, into_existing=True, progress=quiet)

    assert differences(expected, await kept(empty, list(expected))) == []


async def test_items_in_redis_are_no_users(empty: Settings) -> None:
    redis = connect(empty.redis_url)
    await redis.hset("item:{1}", "title", "lamp")
    await redis.aclose()

    assert msgspec.structs.replace(
        await rebuild(empty, into_existing=False, progress=quiet), seconds=0.0
    ) == Rebuilt(0, 0, 0, 0.0)


@pytest.mark.kafka
async def test_it_ends_where_a_partition_ends_with_a_transactions_mark(kafka_stack: Stack, prefix: str) -> None:
    settings = msgspec.structs.replace(
        kafka_stack.settings, prefix=prefix, redis_url=kafka_stack.settings.redis_url.removesuffix("0") + str(DATABASE)
    )
    await table.create(settings)
    shop = Shop(settings)
    shop.event("view_item", {"user_id": prefix}, "lamp")
    ((topic, value, key, _),) = shop.records
    producer = AIOKafkaProducer(**client_options(settings), transactional_id=prefix)
    await producer.start()
    try:
        async with producer.transaction():
            await producer.send_and_wait(topic, value, key)
    finally:
        await producer.stop()

    rebuilt = await rebuild(settings, into_existing=True, progress=quiet)

    assert rebuilt.events == 1
    await table.delete(settings)


@pytest.mark.stack
async def test_what_is_missing_is_named(stack: Stack, prefix: str) -> None:
    there = msgspec.structs.replace(
        stack.settings, prefix=prefix, redis_url=stack.settings.redis_url.removesuffix("0") + str(DATABASE)
    )

    async def fails(match: str, **changed: str) -> None:
        with pytest.raises(FootfallError, match=match):
            await rebuild(msgspec.structs.replace(there, **changed), into_existing=True, progress=quiet)

    await fails(f"no topic {prefix}.clickstream.v1: is FOOTFALL_PREFIX right")
    await fails("REDIS_URL", redis_url="redis://127.0.0.1:1/0")
    await fails("KAFKA_BOOTSTRAP_SERVERS", bootstrap_servers="127.0.0.1:1")


async def test_the_command_says_what_it_did_and_why_it_would_not(empty: Settings, prefix: str) -> None:
    shop = Shop(empty)
    shop.event("view_item", {"user_id": prefix}, "lamp")
    shop.bad(b"hello")
    await shop.send(empty)
    group = Commands("footfall", commands=[command])
    environment = {
        "KAFKA_BOOTSTRAP_SERVERS": empty.bootstrap_servers, "REDIS_URL": empty.redis_url, "FOOTFALL_PREFIX": prefix,
        "FOOTFALL_FETCH_MAX_WAIT_MS": str(empty.fetch_max_wait_ms),
    }

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(group, ["rebuild", *arguments], env=environment)

    done, refused = [await asyncio.to_thread(run) for _ in range(2)]

    assert (done.exit_code, refused.exit_code) == (0, 2)
    assert done.stdout.startswith("1 events of 1 users and visitors applied, 1 bad records skipped, ")
    assert "footfall: this Redis holds state of users" in refused.stderr
    assert (await asyncio.to_thread(run, "--into-existing")).exit_code == 0


async def read(fetches: Fetches) -> list[int]:
    return [one.timestamp async for one in by_time(fetches.reader(), {A: 0, B: 0})]


async def test_records_come_in_the_order_of_their_times_though_a_partition_is_fetched_late() -> None:
    fetches = Fetches([at(A, 0, 10), at(A, 1, 30)], [], [at(B, 0, 5)], [at(B, 1, 20)], ends={A: 2, B: 2})
    assert await read(fetches) == [5, 10, 20, 30]


async def test_within_a_partition_the_order_is_the_logs() -> None:
    assert await read(Fetches([at(A, 0, 30), at(A, 1, 10), at(B, 0, 20)], ends={A: 2, B: 1})) == [20, 30, 10]
