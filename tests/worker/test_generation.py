"""A continuous model: requests come in at any step, leave when they are finished, fail alone, and share the device."""

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec import Raw

from model_core.batching.events import Answered, Event, Loaded, Stopped
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.runner import Batching, DeviceFault, GeneratingRunner, InvalidInput, Service
from model_core.stub import StubRunner
from schemas.inference import Failure, RecommendRequest, RecommendResult, Reply

BOUND_S = 10.0
STATE = Raw(b"\x90")
STEPS = 3


class Writer:
    """Needs `STEPS` steps a request; each step waits for the gate. Refuses and fails as it is told."""

    name, version, popular, takes = "writer", "1", (), RecommendRequest
    batching = Batching(4, service=Service.CONTINUOUS)

    def __init__(self, *, gated: bool = False) -> None:
        self.gate = threading.Semaphore(0 if gated else 1_000_000)
        self.entered: queue.SimpleQueue[None] = queue.SimpleQueue()  # for each step that came to the gate
        self.steps: queue.SimpleQueue[list[int]] = queue.SimpleQueue()  # who was in, at each step
        self.invalid: set[int] = set()
        self.refused: set[int] = set()
        self.fails = self.breaks = False
        self.left: dict[int, tuple[RecommendRequest, int]] = {}

    def tokens(self, request: RecommendRequest) -> int:
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> Sequence[RecommendRequest]:
        if self.invalid & {request.id for request in requests}:
            raise InvalidInput("without text")
        return requests

    def step(self, batch: Sequence[RecommendRequest] | None) -> list[tuple[RecommendRequest, RecommendResult]]:
        self.entered.put(None)
        assert self.gate.acquire(timeout=BOUND_S)
        if self.breaks:
            raise DeviceFault("gone")
        if self.fails or (batch and self.refused & {request.id for request in batch}):
            raise RuntimeError("Jane Doe asked for a refund")
        self.left |= {request.id: (request, STEPS) for request in batch or ()}
        self.steps.put(sorted(self.left))
        self.left = {number: (request, left - 1) for number, (request, left) in self.left.items()}
        finished = [request for request, left in self.left.values() if left == 0]
        self.drop(finished)
        return [(request, RecommendResult.of(request.id, [])) for request in finished]

    def drop(self, requests: Sequence[RecommendRequest]) -> None:
        for request in requests:
            self.left.pop(request.id, None)

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        return []


class Bench:
    def __init__(self, pipeline: Pipeline, events: "queue.SimpleQueue[Event]") -> None:
        self.pipeline, self.events, self.client = pipeline, events, Client(b"a", 0.0)

    def submit(self, ids: Iterable[int], model: str = "writer") -> None:
        wanted = list(ids)
        self.client.outstanding.update(wanted)
        pending = [Pending(self.client, RecommendRequest(i, 0, 0, STATE), 1e9) for i in wanted]
        assert self.pipeline.submit(model, pending) == []

    def replies(self, count: int) -> dict[int, Reply]:
        answered: dict[int, Reply] = {}
        while len(answered) < count:
            event = self.events.get(timeout=BOUND_S)
            assert isinstance(event, Answered), event
            answered |= {reply.id: reply for _, reply in event.replies}
        return answered


@contextmanager
def running(writer: Writer, *others: StubRunner) -> Iterator[Bench]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [writer, *others], events.put, clock=lambda: 0.0)
    pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    yield Bench(pipeline, events)
    writer.gate.release(1000)
    assert pipeline.stop(BOUND_S)


def test_a_writer_is_a_generating_runner_and_a_recommender_is_not() -> None:
    assert isinstance(Writer(), GeneratingRunner)
    assert not isinstance(StubRunner(), GeneratingRunner)


def test_requests_join_while_others_are_under_way_up_to_the_cap() -> None:
    writer = Writer(gated=True)
    with running(writer) as bench:
        bench.submit([0])
        writer.gate.release(1)
        assert writer.steps.get(timeout=BOUND_S) == [0]
        bench.submit(range(1, 7))
        writer.gate.release(100)
        assert set(bench.replies(7)) == set(range(7))
        seen = [writer.steps.get_nowait() for _ in range(writer.steps.qsize())]
    assert max(map(len, seen)) == 4
    assert sum(map(len, seen)) == 7 * STEPS - 1  # the first step was looked at before


def test_who_cannot_come_in_fails_alone() -> None:
    writer = Writer()
    writer.invalid = {2}
    with running(writer) as bench:
        bench.submit(range(4))
        replies = bench.replies(4)
    assert replies.pop(2) == Failure(2, "InvalidInput: without text")
    assert all(isinstance(reply, RecommendResult) for reply in replies.values())


def test_a_step_that_raises_ends_those_who_came_in_with_it_and_the_others_go_on() -> None:
    writer = Writer(gated=True)
    writer.refused = {5}
    with running(writer) as bench:
        bench.submit([1])
        writer.gate.release(1)
        assert writer.steps.get(timeout=BOUND_S) == [1]
        bench.submit([5])
        writer.gate.release(100)
        replies = bench.replies(2)
    failure = replies[5]
    assert isinstance(failure, Failure)
    assert failure.error.startswith("RuntimeError in test_generation.py:")
    assert isinstance(replies[1], RecommendResult)


def test_a_step_that_raises_for_nobodys_sake_ends_all() -> None:
    writer = Writer(gated=True)
    with running(writer) as bench:
        bench.submit([1, 2])
        writer.gate.release(1)
        assert writer.steps.get(timeout=BOUND_S)
        writer.fails = True
        writer.gate.release(100)
        assert all(isinstance(reply, Failure) for reply in bench.replies(2).values())


def test_who_is_not_wanted_any_more_is_dropped_before_the_next_step() -> None:
    writer = Writer(gated=True)
    with running(writer) as bench:
        bench.submit([1, 2])
        writer.gate.release(1)
        assert writer.steps.get(timeout=BOUND_S) == [1, 2]
        bench.client.outstanding.discard(1)
        writer.gate.release(100)
        assert set(bench.replies(1)) == {2}
        assert not writer.left


def test_a_device_that_breaks_in_a_step_stops_the_pipeline() -> None:
    writer, events = Writer(), queue.SimpleQueue[Event]()
    writer.breaks = True
    bench = Bench(Pipeline(lambda: [writer], events.put), events)
    bench.pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    bench.submit([1])
    stopped = events.get(timeout=BOUND_S)
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, DeviceFault)


def test_an_eager_request_does_not_wait_for_the_end_of_a_generation() -> None:
    writer = Writer(gated=True)
    with running(writer, StubRunner("eager")) as bench:
        bench.submit([1])
        writer.entered.get(timeout=BOUND_S)
        bench.submit([7], model="eager")
        writer.gate.release(1)
        assert writer.steps.get(timeout=BOUND_S) == [1]
        writer.gate.release(1)  # the step that may be bound already
        assert set(bench.replies(1)) == {7}
