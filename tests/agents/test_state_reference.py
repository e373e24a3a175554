"""The Lua script and its twin in Python agree after every step, whatever the steps are."""

import asyncio
import itertools
import random
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from agents.state.changes import Change, event_id
from agents.state.connection import connect
from agents.state.reference import Counter, ReferenceState, ReferenceStore, StateDigest, digest
from agents.state.store import Applied, UserChanges, UserStore
from footfall.stack import Stack
from footfall.state_digest import differences, read_states
from schemas import keys
from schemas.events import Click
from schemas.inference import user_state_decoder
from schemas.settings import Settings
from tests.doubles import click

DAY_MS = 86_400_000
NOW = 1_760_000_000_000
KINDS = ("view", "wishlist", "cart", "remove", "purchase", "refund", "search")
# multiples of both half-lives: decay is exact, so two items rank alike here and in Lua, to the last bit
EXACT_TIMES = tuple(NOW - age * 600 * DAY_MS for age in range(3))
# the same examples each time, on every machine; a failure is shown as it was met, within the time-out
STEADY = settings(
    max_examples=20, stateful_step_count=20, deadline=None, derandomize=True, database=None,
    phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow],
)
Event = tuple[bytes, Change]


def event(number: int, kind: str, items: Sequence[str], time_ms: int) -> Event:
    seen_as = event_id("test", str(number))
    lines = tuple(f"{kind}:{item}:{seen_as.hex()}" for item in items)
    chosen = {name: tuple(items) if kind == name else () for name in KINDS}
    return seen_as, Change(
        time_ms, lines if kind in {"view", "wishlist", "cart", "purchase"} else (), chosen["purchase"],
        chosen["refund"], chosen["cart"], chosen["remove"] + chosen["purchase"],
    )


def of(user: str, events: Sequence[Event], session: str | None = None) -> UserChanges:
    return UserChanges(user, tuple(change for _, change in events), b"".join(seen for seen, _ in events), session)


def crowd(kind: str, first: int) -> list[tuple[str, list[str]]]:
    """More than is kept of something; as kinds of events and their items."""
    if kind == "ids":
        return [("search", [])] * 1100
    action, count = {"lines": ("view", 140), "items": ("purchase", 600), "cart": ("cart", 140)}[kind]
    return [(action, [f"c{n:04}" for n in range(first, first + count)])]


def shown(applied: Applied) -> StateDigest:
    """The state as it goes to the worker."""
    state = user_state_decoder.decode(applied.state)
    counters = zip(state.counter_items, struct.iter_unpack("<ddd", state.counter_values), strict=True)
    return StateDigest(
        applied.version, applied.event_time_ms,
        tuple((member, int(time)) for member, time in zip(state.history[::2], state.history[1::2], strict=True)),
        {item: Counter(fast, slow, int(as_of)) for item, (fast, slow, as_of) in counters},
        {item: int(time) for item, time in zip(state.cart[::2], state.cart[1::2], strict=True)},
    )


def assert_same(applied: Applied, twin: ReferenceState) -> None:
    assert differences({"": digest(twin)}, {"": shown(applied)}) == []
    assert (applied.new_events, applied.linked) == (twin.new_events, twin.linked)


class Twins(RuleBasedStateMachine):
    """Two users and two visitors, with and without consent, in Redis and in memory."""

    users = st.sampled_from(("u0", "u1", "v0", "v1"))
    sessions = st.sampled_from((None, None, "s"))
    links = st.sampled_from((("u0", "v0"), ("u1", "v1"), ("u1", "v0")))
    drafts = st.lists(
        st.tuples(
            st.sampled_from(KINDS), st.lists(st.sampled_from("abcdef"), max_size=3, unique=True), st.integers(0, 9)
        ),
        max_size=8,
    )

    def __init__(self, runner: asyncio.Runner, redis: Redis, store: UserStore, name: str) -> None:
        super().__init__()
        self.runner, self.redis, self.store, self.name = runner, redis, store, name
        self.other = UserStore(redis, Settings())  # another process's
        self.twin = ReferenceStore()
        self.newest_ms = NOW
        self.log: dict[tuple[str, str | None], list[Event]] = {}
        self.numbers = itertools.count()

    def user(self, short: str) -> str:
        return f"{self.name}-{short}"

    def apply(
        self, user: str, session: str | None, events: Sequence[Event], store: UserStore | None = None
    ) -> None:
        changes = of(self.user(user), events, session)
        (applied,) = self.runner.run((store or self.store).apply([changes]))
        self.log.setdefault((user, session), []).extend(events)
        assert_same(applied, self.twin.apply(changes))

    @rule(user=users, session=sessions, drafts=drafts, repeats=st.lists(st.integers(0, 50), max_size=5),
          seed=st.integers(0, 99))
    def some(
        self, user: str, session: str | None, drafts: list[tuple[str, list[str], int]], repeats: list[int], seed: int
    ) -> None:
        """New and known events, in any order."""
        times = EXACT_TIMES if user.endswith("0") else [NOW - n * 37 * DAY_MS - n for n in range(10)]
        chunk = [event(next(self.numbers), kind, items, times[n % len(times)]) for kind, items, n in drafts]
        known = self.log.get((user, session), []) + chunk
        chunk += [known[n % len(known)] for n in repeats if known]
        random.Random(seed).shuffle(chunk)
        self.apply(user, session, chunk)

    @rule(user=users, session=sessions, drafts=drafts, by_other=st.booleans())
    def timely(self, user: str, session: str | None, drafts: list[tuple[str, list[str], int]], by_other: bool) -> None:  # noqa: FBT001
        """Each event newer than all before it, as they mostly come; only then a store is told differences."""
        chunk = []
        for kind, items, _ in drafts:
            self.newest_ms += 1000
            chunk.append(event(next(self.numbers), kind, items, self.newest_ms))
        self.apply(user, session, chunk, self.other if by_other else self.store)

    @rule(user=st.sampled_from(("u0", "v0")), session=sessions, kind=st.sampled_from(("lines", "items", "cart", "ids")),
          first=st.sampled_from((0, 70)), time_ms=st.sampled_from(EXACT_TIMES))
    def many(self, user: str, session: str | None, kind: str, first: int, time_ms: int) -> None:
        self.apply(user, session, [event(next(self.numbers), *one, time_ms) for one in crowd(kind, first)])

    @rule(pair=links)
    def link(self, pair: tuple[str, str]) -> None:
        user, visitor = map(self.user, pair)
        assert_same(self.runner.run(self.store.link(user, visitor)), self.twin.link(user, visitor))

    @rule(pair=links)
    def unlink(self, pair: tuple[str, str]) -> None:
        user, visitor = map(self.user, pair)
        self.runner.run(self.store.unlink(user, visitor))
        self.twin.unlink(user, visitor)

    @invariant()
    def all_that_is_kept_is_the_same(self) -> None:
        scopes = [UserChanges(self.user(user), session=session)
                  for user in ("u0", "u1", "v0", "v1") for session in (None, "s")]
        for applied, scope in zip(self.runner.run(self.store.apply(scopes)), scopes, strict=True):
            assert_same(applied, self.twin.apply(scope))
        expected = self.twin.digests()
        found = self.runner.run(read_states(self.redis, list(expected)))
        assert differences(expected, found) == []
        seen = [self.twin.apply(UserChanges(user)).seen or None for user in expected]
        assert self.runner.run(self.seen(list(expected))) == seen

    async def seen(self, users: Sequence[str]) -> list[object]:
        return [await self.redis.get(f"{keys.user(user)}:seen") for user in users]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.stack
def test_script_and_twin_agree_after_every_step(stack: Stack, prefix: str, runner: asyncio.Runner) -> None:
    async def connected() -> tuple[Redis, UserStore]:
        redis = connect(stack.settings.redis_url)
        return redis, UserStore(redis, stack.settings)

    redis, store = runner.run(connected())
    names = (f"{prefix}-{number}" for number in itertools.count())

    class OnThisStack(Twins):
        def __init__(self) -> None:
            super().__init__(runner, redis, store, next(names))

    try:
        run_state_machine_as_test(OnThisStack, settings=STEADY)
    finally:
        runner.run(redis.aclose())


@given(
    drafts=st.lists(
        st.tuples(st.sampled_from(KINDS), st.lists(st.sampled_from("abc"), max_size=3, unique=True), st.integers(0, 9)),
        max_size=30,
    ),
    seed=st.integers(0, 99), size=st.integers(1, 7),
)
@settings(STEADY, max_examples=100)
def test_neither_order_nor_chunks_nor_repeats_make_a_difference(
    drafts: list[tuple[str, list[str], int]], seed: int, size: int
) -> None:
    stream = [event(n, kind, items, NOW - age * 37 * DAY_MS) for n, (kind, items, age) in enumerate(drafts)]
    shuffled = stream + stream[::3]
    random.Random(seed).shuffle(shuffled)
    once, twice = ReferenceStore(), ReferenceStore()
    once.apply(of("17", stream))
    for start in range(0, len(shuffled), size):
        twice.apply(of("17", shuffled[start : start + size]))
    assert differences(once.digests(), twice.digests()) == []


def test_a_login_gives_the_visitors_past_to_the_user() -> None:
    twin = ReferenceStore()
    browse, login = click("lamp", id="1"), click("rug", id="2", user="17", visitor_id="81")
    browse["data"] = {"visitor_id": "81", "items": [{"item_id": "lamp"}]}
    for number, one in enumerate((browse, login)):
        twin.take(msgspec.convert(one, Click), NOW + number)
    states = twin.digests()
    assert [member.split(":")[1] for member, _ in states["17"].history] == ["rug", "lamp"]
    assert (states["17"].version, states["v:81"].version, states["v:81"].history) == (2, 1, ())


def test_differences_name_the_user_and_no_item() -> None:
    twin, other = ReferenceStore(), ReferenceStore()
    twin.apply(of("17", [event(1, "purchase", ["secret"], NOW), event(2, "cart", ["secret"], NOW)]))
    other.apply(of("17", [event(1, "purchase", ["secret"], NOW)]))
    other.apply(of("18", [event(3, "view", ["secret"], NOW)]))
    assert differences(twin.digests(), other.digests()) == [
        "user 17: version 1 instead of 2",
        "user 17: history lines: 1 missing, 0 too many, 0 different, of 2",
        "user 18: version 1 instead of 0",
        f"user 18: newest event of {NOW} ms instead of 0 ms",
        "user 18: history lines: 0 missing, 1 too many, 0 different, of 0",
    ]


LAMP = Counter(1.0, 1.0, NOW)
STATE = StateDigest(2, NOW, (("view:lamp:0", NOW), ("view:rug:1", NOW - 1)), {"lamp": LAMP}, {"lamp": NOW, "rug": -NOW})


@pytest.mark.parametrize(("found", "line"), [
    ({"version": 1}, "version 1 instead of 2"),
    ({"event_time_ms": NOW - 1}, f"newest event of {NOW - 1} ms instead of {NOW} ms"),
    ({"history": STATE.history[:1]}, "history lines: 1 missing, 0 too many, 0 different, of 2"),
    ({"history": (("view:lamp:0", NOW - 9), STATE.history[1])},
     "history lines: 0 missing, 0 too many, 1 different, of 2"),
    ({"counters": {}}, "counters: 1 missing, 0 too many, 0 different, of 1"),
    ({"counters": {"lamp": LAMP, "rug": LAMP}}, "counters: 0 missing, 1 too many, 0 different, of 1"),
    ({"counters": {"lamp": LAMP._replace(fast=1.0 + 1e-6)}}, "counters: 0 missing, 0 too many, 1 different, of 1"),
    ({"counters": {"lamp": LAMP._replace(slow=1.0 - 1e-6)}}, "counters: 0 missing, 0 too many, 1 different, of 1"),
    ({"counters": {"lamp": LAMP._replace(as_of_ms=NOW + 1)}}, "counters: 0 missing, 0 too many, 1 different, of 1"),
    ({"cart": {"lamp": NOW}}, "cart entries: 1 missing, 0 too many, 0 different, of 2"),
    ({"cart": {"lamp": NOW, "rug": NOW}}, "cart entries: 0 missing, 0 too many, 1 different, of 2"),
], ids=lambda value: next(iter(value)) if isinstance(value, dict) else "")
def test_a_state_that_is_wrong_in_one_place_differs(found: dict[str, Any], line: str) -> None:
    assert differences({"17": STATE}, {"17": msgspec.structs.replace(STATE, **found)}) == [f"user 17: {line}"]


def test_counters_that_are_off_by_rounding_agree() -> None:
    rounded = msgspec.structs.replace(STATE, counters={"lamp": Counter(1.0 + 1e-12, 1.0 - 1e-12, NOW)})
    assert differences({"17": STATE}, {"17": rounded}) == []


def test_a_user_whom_only_one_side_knows_differs() -> None:
    assert differences({"17": STATE}, {}) != []
    assert differences({}, {"17": STATE}) != []
