"""A user's state in Redis: free of order, applied once, never older than it was."""

import asyncio
import math
import random
import struct
from collections.abc import Sequence
from typing import Any

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from agents.ack_window import Partition
from agents.state.changes import Change, event_id
from agents.state.connection import connect
from agents.state.scripts import is_away
from agents.state.store import Applied, Debt, StoredResult, UserChanges, UserStore
from footfall.stack import Stack
from schemas import keys
from schemas.inference import UserState, user_state_decoder
from schemas.results import Trigger

pytestmark = pytest.mark.stack
DAY_MS = 86_400_000
NOW = 1_760_000_000_000


@pytest.fixture
async def store(redis: Redis, stack: Stack) -> UserStore:
    return UserStore(redis, stack.settings)


def event(number: int, kind: str, *items: str, time_ms: int) -> tuple[bytes, Change]:
    seen_as = event_id("test", str(number))
    bought = items if kind == "purchase" else ()
    return seen_as, Change(
        time_ms, tuple(f"{kind}:{item}:{seen_as.hex()}" for item in items), bought, (),
        items if kind == "cart" else (), bought,
    )


def of(user: str, events: list[tuple[bytes, Change]], session: str | None = None) -> UserChanges:
    return UserChanges(user, tuple(change for _, change in events), b"".join(seen for seen, _ in events), session)


def decoded(applied: Applied) -> UserState:
    return user_state_decoder.decode(applied.state)


def counters(applied: Applied) -> dict[str, tuple[float, float, float]]:
    state = decoded(applied)
    values = struct.iter_unpack("<ddd", state.counter_values)
    return dict(zip(state.counter_items, values, strict=True))


def some_events(seed: int, count: int = 40) -> list[tuple[bytes, Change]]:
    chance = random.Random(seed)
    return [
        event(n, chance.choice(["view", "cart", "purchase"]), *chance.sample("abcdefgh", chance.randint(1, 3)),
              time_ms=NOW - chance.randrange(400) * DAY_MS)
        for n in range(count)
    ]


async def test_an_id_is_known_where_it_was_noted_and_nowhere_between(store: UserStore, prefix: str) -> None:
    """Ids lie one behind the other: the end of one and the beginning of the next may read as a third."""
    one, two, between = b"abcdEFGH", b"IJKLmnop", b"EFGHIJKL"

    async def new_events(seen_as: bytes) -> int:
        (applied,) = await store.apply([of(prefix, [(seen_as, Change(NOW, (), (), (), (), ()))])])
        return applied.new_events

    assert [await new_events(seen_as) for seen_as in (one, two, between, between)] == [1, 1, 1, 0]


@pytest.mark.parametrize("seed", range(5))
async def test_the_order_of_events_and_their_chunks_make_no_difference(
    store: UserStore, prefix: str, seed: int
) -> None:
    events = some_events(seed)
    (expected,) = await store.apply([of(f"{prefix}-once", events)])
    shuffled = events[:]
    random.Random(seed + 100).shuffle(shuffled)
    for start in range(0, len(shuffled), 7):
        await store.apply([of(f"{prefix}-many", shuffled[start : start + 9])])  # overlapping: some come twice
    (actual,) = await store.apply([UserChanges(f"{prefix}-many")])
    assert (actual.version, actual.event_time_ms) == (expected.version, expected.event_time_ms) == (40, max(
        change.time_ms for _, change in events))
    assert decoded(actual).history == decoded(expected).history
    assert sorted(decoded(actual).cart) == sorted(decoded(expected).cart)
    assert counters(actual).keys() == counters(expected).keys()
    for item, values in counters(expected).items():
        assert counters(actual)[item] == pytest.approx(values, rel=1e-9)


async def test_counters_are_the_decayed_sums_of_purchases(store: UserStore, prefix: str) -> None:
    events = [event(n, "purchase", "milk", time_ms=NOW - days * DAY_MS) for n, days in enumerate((0, 30, 200))]
    (applied,) = await store.apply([of(prefix, events)])
    fast, slow, as_of = counters(applied)["milk"]
    assert as_of == NOW
    assert math.isclose(fast, 1 + 0.5 + 2 ** (-200 / 30))
    assert math.isclose(slow, 1 + 2 ** (-30 / 200) + 0.5)


async def test_a_refund_takes_a_purchase_back(store: UserStore, prefix: str) -> None:
    bought = event(1, "purchase", "lamp", time_ms=NOW)
    refund = (event_id("test", "2"), Change(NOW, (), (), ("lamp",), (), ()))
    (applied,) = await store.apply([of(prefix, [bought, refund])])
    assert counters(applied)["lamp"][:2] == (0.0, 0.0)
    assert applied.version == 2


async def test_only_the_newest_128_lines_are_kept_and_the_version_counts_all(store: UserStore, prefix: str) -> None:
    events = [event(n, "view", f"i{n}", time_ms=NOW + n) for n in range(300)]
    await store.apply([of(prefix, events)])
    (applied,) = await store.apply([of(prefix, events[:50])])
    assert (applied.version, applied.new_events) == (300, 0)
    history = decoded(applied).history
    assert len(history) == 2 * 128
    assert history[0].startswith("view:i299:")
    assert [int(time) for time in history[1::2]] == [NOW + n for n in range(299, 171, -1)]


async def test_a_full_history_keeps_its_compact_encoding(store: UserStore, redis: Redis, prefix: str) -> None:
    for n in range(200):
        late_ms = 500 if n % 10 == 0 else 0
        await store.apply([of(f"{prefix}-1", [event(n, "view", "milk", time_ms=NOW + 1000 * n - late_ms)])])
    history = f"{keys.user(f'{prefix}-1')}:history"
    assert (await redis.zcard(history), await redis.object("encoding", history)) == (128, b"listpack")


async def test_who_remembers_the_state_is_told_differences_and_else_all_of_it(
    store: UserStore, redis: Redis, stack: Stack, prefix: str
) -> None:
    user, other, packed = f"{prefix}-1", UserStore(redis, stack.settings), keys.user(f"{prefix}-1")
    await store.apply([of(user, [event(1, "purchase", "milk", time_ms=NOW)])])
    await redis.delete(f"{packed}:counters")  # nobody does: it shows who reads it
    (told,) = await store.apply([of(user, [event(2, "view", "tea", time_ms=NOW + 1)])])
    assert counters(told).keys() == {"milk"}
    await other.apply([of(user, [event(3, "view", "tea", time_ms=NOW + 2)])])
    (read,) = await store.apply([of(user, [event(4, "view", "tea", time_ms=NOW + 3)])])
    assert counters(read).keys() == set()
    assert len(decoded(read).history) == 8


async def test_what_is_told_makes_the_same_bytes_as_the_whole_state_with_lines_of_one_time_in_redis_order(
    store: UserStore, redis: Redis, stack: Stack, prefix: str
) -> None:
    user = f"{prefix}-1"
    await store.apply([of(user, [event(1, "view", "milk", time_ms=NOW)])])
    news = [event(2, "view", "a", "c", time_ms=NOW + 1), event(3, "view", "b", time_ms=NOW + 2)]
    (told,) = await store.apply([of(user, news)])
    assert [member.split(":")[1] for member in decoded(told).history[::2]] == ["b", "c", "a", "milk"]
    (whole,) = await UserStore(redis, stack.settings).apply([UserChanges(user)])
    assert bytes(told.state) == bytes(whole.state)


async def test_a_state_that_redis_lost_and_that_came_to_the_same_version_is_not_taken_for_the_old_one(
    store: UserStore, redis: Redis, stack: Stack, prefix: str
) -> None:
    user, other = f"{prefix}-1", UserStore(redis, stack.settings)
    await store.apply([of(user, [event(n, "view", "milk", time_ms=NOW + n) for n in range(2)])])
    await redis.delete(*[f"{keys.user(user)}:{part}" for part in ("meta", "history", "seen")])
    await other.apply([of(user, [event(n, "view", "tea", time_ms=NOW + n) for n in (2, 3)])])
    (applied,) = await store.apply([UserChanges(user)])
    assert applied.version == 2
    assert all(member.startswith("view:tea:") for member in decoded(applied).history[::2])


async def test_taking_an_item_out_of_the_cart_wins_over_an_earlier_add_in_any_order(
    store: UserStore, prefix: str
) -> None:
    add = (event_id("t", "1"), Change(NOW, (), (), (), ("lamp",), ()))
    remove = (event_id("t", "2"), Change(NOW + 1, (), (), (), (), ("lamp",)))
    for user, events in ((f"{prefix}1", [add, remove]), (f"{prefix}2", [remove, add])):
        (applied,) = await store.apply([of(user, events)])
        assert decoded(applied).cart == ("lamp", str(-(NOW + 1)))


async def test_an_older_result_never_replaces_a_newer_one(store: UserStore, prefix: str) -> None:
    result = StoredResult(prefix, 5, b'"five"', None)
    assert await store.store_results([result, replace(result, version=4, data=b'"four"')]) == [True, False]
    assert await store.results_of([prefix]) == [b'"five"']
    assert await store.store_results([replace(result, data=b'"five again"')]) == [True]
    (applied,) = await store.apply([UserChanges(prefix)])
    assert applied.result_version == 5


async def test_a_visitors_history_becomes_the_users_once(store: UserStore, redis: Redis, prefix: str) -> None:
    user, visitor = f"{prefix}-17", f"v:{prefix}-81"
    events = [event(1, "view", "lamp", time_ms=NOW), event(2, "purchase", "bulb", "oil", time_ms=NOW + 1)]
    await store.apply([of(visitor, events)])
    await store.apply([of(user, [event(3, "view", "rug", time_ms=NOW + 2)])])
    for _ in range(2):  # the second finds nothing left to give
        applied = await store.link(user, visitor)
        assert (applied.version, applied.linked) == (3, visitor)
        assert decoded(applied).history[0].startswith("view:rug:")
        assert {member.split(":")[1] for member in decoded(applied).history[::2]} == {"rug", "lamp", "bulb", "oil"}
        assert counters(applied).keys() == {"bulb", "oil"}
    left = {key.decode().rpartition(":")[2] async for key in redis.scan_iter(match=f"user:{{{visitor}}}*")}
    assert left == {"meta", "seen"}


async def test_what_a_visitor_does_while_the_login_is_being_linked_is_not_forgotten(
    store: UserStore, stack: Stack, prefix: str
) -> None:
    user, visitor = f"{prefix}-17", f"v:{prefix}-81"
    await store.apply([of(visitor, [event(1, "view", "lamp", time_ms=NOW)])])
    forget, raced = store._forget.call_each, False

    async def after_another_event(calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        nonlocal raced
        if not raced:  # the owner of the visitor's partition is another process
            raced = True
            other = connect(stack.settings.redis_url)
            await UserStore(other, stack.settings).apply([of(visitor, [event(2, "view", "rug", time_ms=NOW + 1)])])
            await other.aclose()
        return await forget(calls)

    store._forget.call_each = after_another_event  # type: ignore[method-assign]
    applied = await store.link(user, visitor)
    assert {member.split(":")[1] for member in decoded(applied).history[::2]} == {"lamp", "rug"}
    assert raced


async def test_of_two_users_of_one_device_the_next_login_gets_what_the_visitor_did(
    store: UserStore, prefix: str
) -> None:
    one, two, visitor = f"{prefix}-17", f"{prefix}-18", f"v:{prefix}-81"
    await store.link(one, visitor)
    await store.link(two, visitor)
    (applied,) = await store.apply([UserChanges(one)])
    assert applied.linked == ""


async def test_without_consent_nothing_outlives_the_session(store: UserStore, redis: Redis, prefix: str) -> None:
    (applied,) = await store.apply([of(prefix, [event(1, "view", "lamp", time_ms=NOW)], session="s-9")])
    assert applied.version == 1
    await store.store_results([StoredResult(prefix, 1, b"{}", "s-9")])
    names = [key async for key in redis.scan_iter(match=f"user:{{{prefix}}}*")]
    assert len(names) >= 4
    for name in names:
        assert 0 < await redis.ttl(name) <= 1800, name
    assert not await redis.exists(keys.history(prefix))


async def test_a_session_without_consent_leaves_the_kept_history_alone(
    store: UserStore, redis: Redis, prefix: str
) -> None:
    await store.apply([of(prefix, [event(1, "view", "lamp", time_ms=NOW)])])
    (applied,) = await store.apply([of(prefix, [event(2, "view", "secret", time_ms=NOW + 1)], session="s")])
    assert applied.version == 2
    assert [member.split(":")[1] for member in decoded(applied).history[::2]] == ["secret"]
    assert await redis.zcard(keys.history(prefix)) == 1
    assert await redis.ttl(keys.history(prefix)) > 1800
    assert await redis.ttl(f"{keys.user(prefix)}:meta") > 1800, "or versions would fall"


async def test_every_user_key_has_a_time_to_live(store: UserStore, redis: Redis, prefix: str) -> None:
    await store.apply([of(prefix, some_events(1))])
    await store.store_results([StoredResult(prefix, 1, b"{}", None)])
    async for key in redis.scan_iter(match=f"user:{{{prefix}}}*"):
        assert 0 < await redis.ttl(key) <= 90 * 86_400, key


@pytest.mark.parametrize("left_s", [5, 200 * 86_400])
async def test_an_event_renews_what_would_live_too_short_or_too_long(
    store: UserStore, redis: Redis, prefix: str, left_s: int
) -> None:
    await store.apply([of(prefix, [event(1, "cart", "lamp", time_ms=NOW), event(2, "purchase", "sofa", time_ms=NOW)])])
    names = [key async for key in redis.scan_iter(match=f"user:{{{prefix}}}*")]
    for name in names:
        await redis.expire(name, left_s)
    await store.apply([of(prefix, [event(3, "view", "lamp", time_ms=NOW)])])
    assert len(names) == 5
    for name in names:
        assert 89 * 86_400 < await redis.ttl(name) <= 90 * 86_400, name


async def test_debts_are_kept_by_partition_until_they_are_over(
    store: UserStore, redis: Redis, prefix: str
) -> None:
    here, there = Partition(prefix, 0), Partition(prefix, 1)
    debts = {
        user: Debt(partition, session, Trigger("s", user), NOW, ("lamp",))
        for user, partition, session in (("a", here, None), ("b", there, None), ("c", here, None), ("d", here, "s"))
    }
    await store.note_debts(debts, {})
    assert await store.debts_of([here]) == {"a": debts["a"], "c": debts["c"]}
    assert await store.debts_of([here, there]) == {user: debts[user] for user in "abc"}
    assert 0 < await redis.ttl(keys.owed(*here)) <= 90 * 86_400
    newer = debts["a"]._replace(trigger_time_ms=NOW + 1)
    await store.note_debts({"a": newer}, {"a": here, "c": here})  # over, and owed anew
    assert await store.debts_of([here]) == {"a": newer}


async def test_scripts_survive_a_flush_of_the_script_cache(
    store: UserStore, redis: Redis, prefix: str
) -> None:
    await store.apply([of(prefix, [event(1, "view", "lamp", time_ms=NOW)])])
    await redis.script_flush()
    (applied,) = await store.apply([of(prefix, [event(2, "view", "rug", time_ms=NOW)])])
    assert applied.version == 2


@pytest.mark.parametrize(("breaking", "mending"), [
    (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
], ids=["a replica", "no replicas"])
async def test_a_redis_that_takes_no_writes_for_now_is_waited_for(
    store: UserStore, redis: Redis, prefix: str, breaking: tuple[str, ...], mending: tuple[str, ...]
) -> None:
    """As in the middle of a failover, when the old primary has been told that it is one no more."""
    await redis.execute_command(*breaking)  # type: ignore[no-untyped-call]
    try:
        applying = asyncio.create_task(store.apply([of(prefix, [event(1, "view", "lamp", time_ms=NOW)])]))
        async with asyncio.timeout(30):
            while not is_away() and not applying.done():
                await asyncio.sleep(0.01)
    finally:
        await redis.execute_command(*mending)  # type: ignore[no-untyped-call]
    async with asyncio.timeout(30):
        (applied,) = await applying
    assert applied.version == 1
