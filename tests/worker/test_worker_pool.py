"""Which worker holds which request: answered exactly once or still held, within credit, over any course of events."""

from collections.abc import Callable

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from msgspec import Raw

from agents.worker_pool import WorkerPool
from schemas.inference import Failure, ModelInfo, Ready, RecommendResult, Replies, Reply, Shed, Updated

STATE = Raw(b"\x90")
WORKERS = 3
workers = st.integers(0, WORKERS - 1)


def ready(epoch: str, max_in_flight: int = 4, model: str = "m") -> Ready:
    return Ready(epoch, (ModelInfo(model, "1", ()),), max_in_flight)


def result(request_id: int) -> RecommendResult:
    return RecommendResult(request_id, "", b"")


ANSWERS: dict[str, Callable[[int], Reply]] = {"result": result, "failure": lambda i: Failure(i, "x"), "shed": Shed}


class PoolMachine(RuleBasedStateMachine):
    """Workers that answer, shed, drain, vanish and return, seen from both ends of the wire."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = WorkerPool("m", WORKERS)
        self.now_s = 0.0
        self.next_id = 0
        self.epochs = [0] * WORKERS
        self.limit = [0] * WORKERS
        self.up = [False] * WORKERS
        self.draining = [False] * WORKERS
        self.at_worker: list[list[int]] = [[] for _ in range(WORKERS)]  # as each worker sees it
        self.open: set[int] = set()  # submitted, neither answered nor cancelled
        self.deadlines: dict[int, float] = {}
        self.sent_s: dict[int, float] = {}
        self.longest_trip_s = 0.0

    def epoch(self, worker: int) -> str:
        return f"{worker}.{self.epochs[worker]}"

    def accept(self, replies: list[Reply] | tuple[Shed, ...]) -> None:
        for reply in replies:
            assert reply.id in self.open, "answered twice, or never asked"
            self.open.remove(reply.id)

    @rule(count=st.integers(1, 5), budget_s=st.floats(0.1, 5))
    def submit(self, count: int, budget_s: float) -> None:
        for _ in range(count):
            self.pool.submit(self.next_id, (0, STATE), self.now_s + budget_s)
            self.deadlines[self.next_id] = self.now_s + budget_s
            self.open.add(self.next_id)
            self.next_id += 1

    @rule()
    def dispatch(self) -> None:
        dispatched = self.pool.dispatch(self.now_s)
        for reply in dispatched.shed:  # late, or it would be: by trips that were made
            assert self.deadlines[reply.id] <= self.now_s + 3 * self.longest_trip_s
        self.accept(dispatched.shed)
        for worker, message in dispatched.submits:
            assert self.up[worker]
            assert not self.draining[worker]
            assert message.epoch == self.epoch(worker)
            for request in message.requests:
                assert request.id in self.open
                assert request.budget_ms <= (self.deadlines[request.id] - self.now_s) * 1000
                self.at_worker[worker].append(request.id)
                self.sent_s[request.id] = self.now_s
        room = sum(
            self.limit[w] - self.held_at(w) for w in range(WORKERS) if self.up[w] and not self.draining[w]
        )
        assert room == 0 or self.pool.queued == 0, "a request waits although a worker has room"

    def held_at(self, worker: int) -> int:
        return sum(request_id in self.open for request_id in self.at_worker[worker])

    @rule(worker=workers, count=st.integers(1, 4), kind=st.sampled_from(sorted(ANSWERS)))
    def answer(self, worker: int, count: int, kind: str) -> None:
        taken, self.at_worker[worker] = self.at_worker[worker][:count], self.at_worker[worker][count:]
        make = ANSWERS[kind]
        self.longest_trip_s = max([self.longest_trip_s, *(self.now_s - self.sent_s[i] for i in taken)])
        replies = [make(request_id) for request_id in taken]
        wanted = {i for i in taken if i in self.open}
        accepted = self.pool.replies(worker, Replies(self.epoch(worker), "1", (*replies, *replies)), self.now_s)
        assert {reply.id for reply in accepted} == (wanted if self.up[worker] else set())
        self.accept(accepted)

    @rule(worker=workers)
    def answers_of_another_epoch_or_of_a_stranger_are_dropped(self, worker: int) -> None:
        theirs = tuple(result(i) for i in self.at_worker[worker])
        assert self.pool.replies(worker, Replies("older", "1", theirs), self.now_s) == []
        others = tuple(result(i) for i in self.open.difference(self.at_worker[worker]))
        assert self.pool.replies(worker, Replies(self.epoch(worker), "1", others), self.now_s) == []

    @rule(ids=st.sets(st.integers(0, 60), max_size=5))
    def cancel(self, ids: set[int]) -> None:
        for worker, cancelled in self.pool.cancel(ids).items():
            assert set(cancelled) <= ids & self.open & set(self.at_worker[worker])
            self.at_worker[worker] = [i for i in self.at_worker[worker] if i not in cancelled]
        self.open -= ids

    @rule(worker=workers, restarted=st.booleans(), limit=st.integers(1, 6))
    def becomes_ready(self, worker: int, restarted: bool, limit: int) -> None:  # noqa: FBT001
        self.epochs[worker] += restarted
        self.limit[worker], self.up[worker], self.draining[worker] = limit, True, False
        self.at_worker[worker].clear()
        assert self.pool.ready(worker, ready(self.epoch(worker), limit)) is not None

    @rule(worker=workers)
    def drains(self, worker: int) -> None:
        self.pool.draining(worker, self.epoch(worker))
        self.draining[worker] = self.draining[worker] or self.up[worker]

    @rule(worker=workers, politely=st.booleans())
    def leaves(self, worker: int, politely: bool) -> None:  # noqa: FBT001
        if politely:
            self.pool.left(worker, self.epoch(worker))
        else:
            self.pool.lost(worker)
        self.up[worker] = self.draining[worker] = False
        self.at_worker[worker].clear()

    @rule(seconds=st.floats(0, 2))
    def time_passes(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def every_open_request_is_held_and_no_other(self) -> None:
        assert self.pool.outstanding + self.pool.queued == len(self.open)
        assert self.pool.outstanding == sum(map(self.held_at, range(WORKERS)))

    @invariant()
    def credits_are_kept(self) -> None:
        for worker in range(WORKERS):
            assert self.held_at(worker) <= self.limit[worker]

    @invariant()
    def availability_is_that_of_any_worker(self) -> None:
        usable = [up and not draining for up, draining in zip(self.up, self.draining, strict=True)]
        assert self.pool.available == any(usable)
        assert (self.pool.model is not None) == any(usable)

    def teardown(self) -> None:
        """However it went: once a worker is there and answers, nothing is left."""
        self.becomes_ready(0, restarted=True, limit=5)
        while self.open:
            before = len(self.open)
            self.dispatch()
            for worker in range(WORKERS):
                if self.up[worker]:
                    self.answer(worker, count=100, kind="result")
            assert len(self.open) < before


TestPoolMachine = PoolMachine.TestCase
TestPoolMachine.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_the_worker_with_the_smallest_share_of_its_credit_in_use_is_chosen() -> None:
    pool = WorkerPool("m", 2)
    pool.ready(0, ready("a", max_in_flight=2))
    pool.ready(1, ready("b", max_in_flight=8))
    for request_id in range(10):
        pool.submit(request_id, (0, STATE), 9.0)
    sizes = {worker: len(message.requests) for worker, message in pool.dispatch(0.0).submits}
    assert sizes == {0: 2, 1: 8}
    half = WorkerPool("m", 2)
    half.ready(0, ready("a", max_in_flight=2))
    half.ready(1, ready("b", max_in_flight=8))
    for request_id in range(5):
        half.submit(request_id, (0, STATE), 9.0)
    assert {worker: len(message.requests) for worker, message in half.dispatch(0.0).submits} == {0: 1, 1: 4}


def test_what_a_lost_worker_held_is_sent_first_in_its_order() -> None:
    pool = WorkerPool("m", 2)
    pool.ready(0, ready("a", max_in_flight=3))
    for request_id in range(5):
        pool.submit(request_id, (0, STATE), 9.0)
    pool.dispatch(0.0)
    assert pool.lost(0) == [0, 1, 2]
    pool.ready(1, ready("b", max_in_flight=9))
    ((worker, message),) = pool.dispatch(1.0).submits
    assert worker == 1
    assert [request.id for request in message.requests] == [0, 1, 2, 3, 4]
    assert message.requests[0].budget_ms == 8000


def test_what_is_not_urgent_finds_room_until_the_workers_have_a_batch_to_do() -> None:
    pool = WorkerPool("m", 2)
    assert pool.spare == 0
    pool.ready(0, ready("a", max_in_flight=32))
    pool.ready(1, ready("b", max_in_flight=64))
    assert pool.spare == 2 + 4
    for request_id in range(3):
        pool.submit(request_id, (0, STATE), 9.0)
    assert pool.spare == 0  # they go first
    pool.dispatch(0.0)
    assert pool.spare == 3
    pool.draining(1, "b")
    assert pool.spare == 1
    for request_id in range(3, 9):
        pool.submit(request_id, (0, STATE), 9.0)
    pool.dispatch(0.0)
    assert pool.spare == 0


def taught(trip_s: float) -> WorkerPool:
    """One worker with four credits, whose trips take so long."""
    pool = WorkerPool("m", 1)
    pool.ready(0, ready("a", max_in_flight=4))
    for number in range(-20, 0):
        pool.submit(number, (0, STATE), 99.0)
        pool.dispatch(0.0)
        assert pool.replies(0, Replies("a", "1", (result(number),)), trip_s)
    return pool


def test_a_busy_worker_is_not_sent_what_would_come_back_too_late() -> None:
    pool = taught(trip_s=0.5)
    for request_id, budget_s in enumerate([9.0, 9.0, 9.0, 0.4, 0.6]):
        pool.submit(request_id, (0, STATE), budget_s)
    dispatched = pool.dispatch(0.0)
    assert dispatched.shed == (Shed(3),)
    assert [request.id for request in dispatched.submits[0][1].requests] == [0, 1, 2, 4]


def test_an_idle_worker_is_tried_whatever_it_was_like_before() -> None:
    pool = taught(trip_s=5.0)
    for request_id in range(4):
        pool.submit(request_id, (0, STATE), 1.0)
    dispatched = pool.dispatch(0.0)
    assert len(dispatched.submits[0][1].requests) == 3
    assert dispatched.shed == (Shed(3),)


def test_what_was_learned_of_a_worker_is_forgotten_with_it() -> None:
    pool = taught(trip_s=5.0)
    pool.ready(0, ready("b", max_in_flight=4))
    for request_id in range(4):
        pool.submit(request_id, (0, STATE), 1.0)
    assert pool.dispatch(0.0).shed == ()


def test_how_fast_a_worker_sheds_says_nothing_of_a_trip() -> None:
    pool = WorkerPool("m", 1)
    pool.ready(0, ready("a", max_in_flight=1))
    pool.submit(1, (0, STATE), 9.0)
    pool.dispatch(0.0)
    pool.replies(0, Replies("a", "1", (Shed(1),)), 5.0)
    pool.submit(2, (0, STATE), 6.0)
    assert pool.dispatch(5.0).shed == ()


def test_a_goodbye_of_the_worker_before_takes_nothing_from_the_one_that_is_there() -> None:
    pool = WorkerPool("m", 1)
    pool.ready(0, ready("new"))
    pool.submit(1, (0, STATE), 10.0)
    pool.dispatch(0.0)
    pool.left(0, "old")
    pool.draining(0, "old")
    assert (pool.available, pool.outstanding, pool.queued) == (True, 1, 0)
    pool.left(0, "new")
    assert (pool.available, pool.outstanding, pool.queued) == (False, 0, 1)


def test_a_request_that_was_cancelled_frees_its_credit_and_does_not_come_back() -> None:
    pool = WorkerPool("m", 1)
    pool.ready(0, ready("e", max_in_flight=1))
    pool.submit(1, (0, STATE), 10.0)
    pool.submit(2, (0, STATE), 10.0)
    pool.dispatch(0.0)
    assert pool.cancel([1]) == {0: [1]}
    ((_, message),) = pool.dispatch(0.0).submits
    assert [request.id for request in message.requests] == [2]
    assert pool.replies(0, Replies("e", "1", (result(1),)), 0.0) == []
    assert pool.lost(0) == [2]


def test_a_worker_that_serves_other_models_gets_nothing() -> None:
    pool = WorkerPool("m", 1)
    assert pool.ready(0, ready("a", model="other")) is None
    pool.submit(1, (0, STATE), 9.0)
    assert pool.dispatch(0.0).submits == ()
    assert not pool.available


def test_a_reloaded_model_replaces_what_its_worker_served_and_nothing_moves() -> None:
    pool = WorkerPool("m", 2)
    pool.ready(0, ready("a"))
    pool.submit(1, (0, STATE), 9.0)
    pool.dispatch(0.0)
    new = ModelInfo("m", "2", ("8",))
    assert pool.updated(0, Updated("a", new)) == new == pool.model
    assert (pool.outstanding, pool.queued) == (1, 0)
    assert pool.updated(0, Updated("older", ModelInfo("m", "3", ()))) is None
    assert pool.updated(0, Updated("a", ModelInfo("another", "3", ()))) is None
    assert pool.updated(1, Updated("a", ModelInfo("m", "3", ()))) is None  # it has not been ready
    assert pool.model == new
    assert pool.replies(0, Replies("a", "2", (result(1),)), 0.0) == [result(1)]


def test_an_id_that_is_held_cannot_be_submitted_again() -> None:
    pool = WorkerPool("m", 1)
    pool.submit(1, (0, STATE), 9.0)
    with pytest.raises(ValueError, match="request 1 is not answered yet"):
        pool.submit(1, (0, STATE), 9.0)
    pool.cancel([1])
    pool.submit(1, (0, STATE), 9.0)
