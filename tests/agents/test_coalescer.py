"""One request in flight per user; nothing that rides along is lost."""

from collections.abc import Sequence

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Raw
from msgspec.structs import astuple, replace

from agents.ack_window import AckWindow, OffsetRun, Partition
from agents.coalescer import Coalescer, Held, Work, covers
from schemas.results import Trigger
from tests.doubles import record

WINDOW = AckWindow()


def work(
    user: str, offset: int, *, version: int | None = None, answered: bool = False, time_ms: int | None = None
) -> Work:
    version = offset if version is None else version
    time_ms = offset if time_ms is None else time_ms
    partition = Partition("retail.clickstream.v1", 0)
    return Work(user, None, version, time_ms, Raw(b"%d" % version), Trigger("s", str(offset)), time_ms, (str(offset),),
                partition, answered, offset + 2.0, held=[Held(record(b"", offset=offset), partition, WINDOW)])


def offsets(work: Work) -> list[int]:
    return [held.record.offset for held in work.held]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_every_record_is_started_once_and_no_user_is_in_flight_twice(steps: list[tuple[str, bool]]) -> None:
    coalescer, running, started = Coalescer(), {}, []

    def start(work: Work | None) -> None:
        if work is not None:
            assert work.user not in running
            running[work.user] = work
            started.extend(offsets(work))

    for offset, (user, finish) in enumerate(steps):
        start(coalescer.offer(work(user, offset)))
        if finish and user in running:
            del running[user]
            start(coalescer.finished(user))
    while running:
        user = next(iter(running))
        del running[user]
        start(coalescer.finished(user))
    assert sorted(started) == list(range(len(steps)))
    assert len(coalescer) == 0


def test_what_rides_along_carries_the_newest_state_and_answers_all() -> None:
    coalescer = Coalescer()
    coalescer.offer(work("a", 1))
    for offset in (2, 3, 4):
        assert coalescer.offer(work("a", offset)) is None
    following = coalescer.finished("a")
    assert following is not None
    assert (following.version, following.state, following.trigger.id) == (4, Raw(b"4"), "4")
    assert offsets(following) == [2, 3, 4]


def test_a_late_event_is_not_the_trigger() -> None:
    newer, late = work("a", 1, time_ms=100), work("a", 2, time_ms=50)
    newer.absorb(late)
    assert newer.trigger.id == "1"
    assert newer.looked_at == ("1",)
    assert newer.version == 2


def test_a_redelivery_that_rides_with_a_new_event_is_answered_by_the_model() -> None:
    fresh, again = work("a", 1), work("a", 2, version=1, answered=True)
    fresh.absorb(again)
    assert not fresh.answered


@given(st.sets(st.integers(0, 40), max_size=20))
def test_covers_hold_exactly_the_offsets(numbers: set[int]) -> None:
    held = [Held(record(b"", offset=n), Partition("retail.clickstream.v1", n % 2), WINDOW) for n in numbers]
    runs = covers(replace(work("a", 1), held=held))
    assert {(p, o) for _, p, first, last in runs for o in range(first, last + 1)} == {(n % 2, n) for n in numbers}


def test_what_the_stored_result_answers_is_covered_again_unless_it_is_known_to_be_done() -> None:
    here, elsewhere = Partition("clicks", 0), "purchases"
    window = AckWindow({here: 5})
    window.deliver(here, [5, 6, 7])
    window.take(3)
    window.done(here, 6)
    stored = (OffsetRun("clicks", 0, 3, 4), OffsetRun("clicks", 0, 5, 5), OffsetRun("clicks", 0, 6, 6),
              OffsetRun(elsewhere, 0, 1, 2), OffsetRun("clicks", 0, 7, 7))
    again = replace(work("a", 7), held=[Held(record(b"", offset=7), here, window)], open_covers=stored)
    assert covers(again) == (
        OffsetRun("clicks", 0, 5, 5), OffsetRun("clicks", 0, 7, 7), OffsetRun(elsewhere, 0, 1, 2),
    )


def test_of_runs_that_overlap_all_offsets_are_covered() -> None:
    stored = (OffsetRun("clicks", 0, 1, 9), OffsetRun("clicks", 0, 2, 3), OffsetRun("clicks", 0, 9, 12))
    assert covers(replace(work("a", 7), held=[], open_covers=stored)) == (OffsetRun("clicks", 0, 1, 12),)


def merged(offers: Sequence[Work]) -> Work:
    """What several offers of one user come to; of equally new ones, the last decides."""
    state = max(reversed(offers), key=lambda one: one.version)
    trigger = max(reversed(offers), key=lambda one: one.trigger_time_ms)
    return Work(
        state.user, state.session, state.version, state.event_time_ms, state.state, trigger.trigger,
        trigger.trigger_time_ms, trigger.looked_at, trigger.partition, all(one.answered for one in offers),
        min(one.deadline_s for one in offers), state.open_covers, [held for one in offers for held in one.held],
    )


class Users(RuleBasedStateMachine):
    """Three users whose events come while their requests are in flight; per user a plain list of what waits."""

    users = st.sampled_from("abc")

    def __init__(self) -> None:
        super().__init__()
        self.coalescer = Coalescer()
        self.running: dict[str, tuple[Work, Work]] = {}  # what was started, and a copy
        self.waiting: dict[str, list[Work]] = {}
        self.newest: dict[str, tuple[int, int]] = {}  # version and event time in ms
        self.offered, self.started = 0, list[int]()
        self.rode_along = 0

    def draft(self, user: str, newer: int, time_ms: int, session: str | None, *, answered: bool, records: int) -> Work:
        version, event_time_ms = self.newest.get(user, (0, 0))
        version, event_time_ms = max(0, version + newer), max(event_time_ms, time_ms)
        self.newest[user] = version, event_time_ms
        first, self.offered = self.offered, self.offered + records
        return Work(
            user, session, version, event_time_ms, Raw(b"%d of %d" % (version, first)), Trigger("s", str(first)),
            time_ms, (f"item {first}",), Partition("clicks", first % 2), answered, first + 2.0,
            (OffsetRun("earlier", 0, first, first),),
            [Held(record(b"", offset=offset), Partition("clicks", 0), WINDOW)
             for offset in range(first, self.offered)],
        )

    def start(self, work: Work) -> None:
        assert work.user not in self.running
        self.running[work.user] = work, replace(work, held=list(work.held))
        self.started += offsets(work)

    def offer(self, work: Work) -> None:
        copy = replace(work, held=list(work.held))
        starting = self.coalescer.offer(work)
        assert (starting is work) == (work.user not in self.running)
        if starting is None:
            self.waiting.setdefault(work.user, []).append(copy)
            self.rode_along += 1
        else:
            assert astuple(starting) == astuple(copy)
            self.start(starting)

    @rule(user=users, events=st.integers(1, 3), time_ms=st.integers(1, 20), session=st.sampled_from((None, "s", "t")))
    def new_events(self, user: str, events: int, time_ms: int, session: str | None) -> None:
        """Timely or late: the newest event of a user may be older than what is known."""
        self.offer(self.draft(user, events, time_ms, session, answered=False, records=events))

    @rule(user=users, records=st.integers(1, 3), time_ms=st.integers(1, 20), answered=st.booleans())
    def known_events(self, user: str, records: int, time_ms: int, answered: bool) -> None:  # noqa: FBT001
        """A redelivery changes no version; whether a stored result reflects it, the store knows."""
        self.offer(self.draft(user, 0, time_ms, None, answered=answered, records=records))

    @rule(user=users, time_ms=st.integers(1, 20))
    def an_older_state(self, user: str, time_ms: int) -> None:
        """As when Redis has lost its last second."""
        self.offer(self.draft(user, -1, time_ms, None, answered=False, records=1))

    @rule(user=users)
    def finished(self, user: str) -> None:
        if user not in self.running:
            return
        del self.running[user]
        following, waiting = self.coalescer.finished(user), self.waiting.pop(user, [])
        assert (following is not None) == bool(waiting)
        if following is not None:
            assert astuple(following) == astuple(merged(waiting))
            self.start(following)

    @invariant()
    def in_flight_is_what_was_started_and_did_not_finish(self) -> None:
        assert len(self.coalescer) == len(self.running)
        assert {user for user in "abc" if user in self.coalescer} == set(self.running)
        assert self.coalescer.coalesced == self.rode_along

    @invariant()
    def what_is_in_flight_stays_as_it_was_started(self) -> None:
        for work, copy in self.running.values():
            assert astuple(work) == astuple(copy)

    def teardown(self) -> None:
        """However it went: once all is finished, each record was started exactly once."""
        while self.running:
            for user in list(self.running):
                self.finished(user)
        assert sorted(self.started) == list(range(self.offered))
        assert len(self.coalescer) == 0


TestUsers = Users.TestCase
TestUsers.settings = settings(
    max_examples=100, stateful_step_count=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
