"""The final result of a user is the newest that was stored, whichever of several processes stores what it knows."""

import asyncio
import itertools
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from agents.ack_window import OffsetRun
from agents.state.changes import Change, event_id
from agents.state.connection import connect
from agents.state.reference import ReferenceState, ReferenceStore
from agents.state.store import Applied, StoredResult, UserChanges, UserStore
from footfall.stack import Stack
from schemas import keys

NOW = 1_760_000_000_000
PROCESSES = (0, 1)
USERS = ("u", "w", "v")
Event = tuple[bytes, Change]
# the same examples each time, on every machine; a failure is shown as it was met, within the time-out
STEADY = settings(
    max_examples=30, stateful_step_count=25, deadline=None, derandomize=True, database=None,
    phases=(Phase.explicit, Phase.generate), suppress_health_check=[HealthCheck.too_slow],
)


class Offers:
    """One user's results as they were offered, in order; None: a login deleted what was stored. Nothing expires."""

    def __init__(self) -> None:
        self.all: list[StoredResult | None] = []

    @property
    def accepted(self) -> Sequence[StoredResult]:
        accepted: list[StoredResult] = []
        for result in self.all:
            if result is not None and all(result.version >= earlier.version for earlier in accepted):
                accepted.append(result)
        return accepted

    @property
    def version(self) -> int:
        """Of the stored result; it and `covers` outlive the bytes, so that versions never fall."""
        return self.accepted[-1].version if self.accepted else -1

    @property
    def covers(self) -> tuple[OffsetRun, ...]:
        return self.accepted[-1].covers if self.accepted else ()

    @property
    def data(self) -> bytes | None:
        if not self.accepted or None in self.all[self.all.index(self.accepted[-1]) :]:
            return None
        return self.accepted[-1].data

    def accept(self, result: StoredResult) -> bool:
        self.all.append(result)
        return result in self.accepted


class Processes(RuleBasedStateMachine):
    """Two processes apply and store for the same users, each from the state that it saw last."""

    processes = st.sampled_from(PROCESSES)
    users = st.sampled_from(USERS)
    sessions = st.sampled_from((None, None, "s"))

    def __init__(self, runner: asyncio.Runner, redis: Redis, stores: Sequence[UserStore], name: str) -> None:
        super().__init__()
        self.runner, self.redis, self.stores, self.name = runner, redis, stores, name
        self.states, self.offers = ReferenceStore(), {user: Offers() for user in USERS}
        self.log: dict[tuple[str, str | None], list[Event]] = {}
        self.saw = dict.fromkeys(itertools.product(PROCESSES, USERS), 0)  # versions
        self.newest_stored = dict.fromkeys(USERS, -1)
        self.numbers = itertools.count()

    def key(self, user: str) -> str:
        return f"v:{self.name}-v" if user == "v" else f"{self.name}-{user}"

    def check(self, user: str, applied: Applied, expected: ReferenceState) -> None:
        assert (applied.version, applied.event_time_ms, applied.new_events, applied.linked) == (
            expected.version, expected.event_time_ms, expected.new_events, expected.linked
        )
        assert (applied.result_version, applied.covers) == (self.offers[user].version, self.offers[user].covers)

    def apply(self, process: int, user: str, session: str | None, events: Sequence[Event]) -> None:
        changes = UserChanges(
            self.key(user), tuple(change for _, change in events), b"".join(seen_as for seen_as, _ in events), session
        )
        (applied,) = self.runner.run(self.stores[process].apply([changes]))
        self.log.setdefault((user, session), []).extend(events)
        self.saw[process, user] = applied.version
        self.check(user, applied, self.states.apply(changes))

    def result(self, user: str, version: int, session: str | None) -> StoredResult:
        number = next(self.numbers)
        covers = tuple(OffsetRun("clicks", partition, number, number + 1) for partition in range(number % 3))
        return StoredResult(self.key(user), version, b'{"result":%d}' % number, session, covers)

    def store(self, process: int, offered: Sequence[tuple[str, StoredResult]]) -> None:
        before = self.runner.run(self.dumps())
        stored = self.runner.run(self.stores[process].store_results([result for _, result in offered]))
        assert stored == [self.offers[user].accept(result) for user, result in offered]
        after = self.runner.run(self.dumps())
        replaced = {user for (user, _), was_stored in zip(offered, stored, strict=True) if was_stored}
        assert {user for user in USERS if after[user] != before[user]} == replaced

    async def dumps(self) -> dict[str, Sequence[object]]:
        """All that a stored result could touch, as Redis holds it."""
        return {
            user: [await self.redis.dump(f"{keys.user(self.key(user))}:meta"),
                   await self.redis.dump(keys.recommendations(self.key(user)))]
            for user in USERS
        }

    @rule(process=processes, user=users, session=sessions, count=st.integers(1, 3))
    def new_events(self, process: int, user: str, session: str | None, count: int) -> None:
        events = []
        for number in itertools.islice(self.numbers, count):
            seen_as = event_id("test", str(number))
            events.append((seen_as, Change(NOW + number, (f"view:lamp:{seen_as.hex()}",), (), (), (), ())))
        self.apply(process, user, session, events)

    @rule(process=processes, user=users, session=sessions, indices=st.lists(st.integers(0, 20), max_size=3))
    def known_events(self, process: int, user: str, session: str | None, indices: list[int]) -> None:
        known = self.log.get((user, session), [])
        self.apply(process, user, session, [known[index % len(known)] for index in indices if known])

    @rule(process=processes, user=users, session=sessions)
    def store_what_was_seen(self, process: int, user: str, session: str | None) -> None:
        """Of a state that the other process may have left behind since."""
        self.store(process, [(user, self.result(user, self.saw[process, user], session))])

    @rule(process=processes, batch=st.lists(st.tuples(users, st.sampled_from((-9, -1, 0, 1, 9))), max_size=4))
    def store_many(self, process: int, batch: list[tuple[str, int]]) -> None:
        """In one pipeline, below, at and above what is stored; two of one user too."""
        self.store(process, [
            (user, self.result(user, max(0, self.offers[user].version + newer), None)) for user, newer in batch
        ])

    @rule(process=processes, user=st.sampled_from(("u", "w")))
    def login(self, process: int, user: str) -> None:
        """The visitor's results go with the history; a later one of the visitor is still no older than those."""
        applied = self.runner.run(self.stores[process].link(self.key(user), self.key("v")))
        self.offers["v"].all.append(None)
        self.check(user, applied, self.states.link(self.key(user), self.key("v")))

    @invariant()
    def what_is_stored_is_what_was_accepted_last(self) -> None:
        scopes = [UserChanges(self.key(user)) for user in USERS]
        for store in self.stores:
            for user, scope, applied in zip(USERS, scopes, self.runner.run(store.apply(scopes)), strict=True):
                self.check(user, applied, self.states.apply(scope))
                assert applied.result_version >= self.newest_stored[user]
                self.newest_stored[user] = applied.result_version
            stored = self.runner.run(store.results_of([scope.user for scope in scopes]))
            assert stored == [self.offers[user].data for user in USERS]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.stack
def test_the_newest_result_stays_whichever_process_stores(stack: Stack, prefix: str, runner: asyncio.Runner) -> None:
    async def connected() -> list[Redis]:
        return [connect(stack.settings.redis_url) for _ in PROCESSES]

    connections = runner.run(connected())
    stores = [UserStore(redis, stack.settings) for redis in connections]
    names = (f"{prefix}-{number}" for number in itertools.count())

    class OnThisStack(Processes):
        def __init__(self) -> None:
            super().__init__(runner, connections[0], stores, next(names))

    try:
        run_state_machine_as_test(OnThisStack, settings=STEADY)
    finally:
        for redis in connections:
            runner.run(redis.aclose())
