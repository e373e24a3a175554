"""The two threads: late binding, one prefetched batch, isolation of failing members."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from model_core.batching.events import Answered, Event, Loaded, Stopped
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.batching.serial import answer
from model_core.runner import Batching, DeviceFault, InvalidInput
from schemas.inference import Failure, RecommendRequest, RecommendResult, Reply, Shed

BOUND_S = 10.0
STATE = Raw(b"\x90")


class ScriptedRunner:
    """Runs a batch when the test opens the gate; notes what it was asked to do."""

    name = "m"
    version = "1"
    takes = RecommendRequest
    popular = ("1", "2")
    batching = Batching(16)

    def __init__(self, *, gated: bool = False) -> None:
        self.collated: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.entered: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.gate = threading.Semaphore(0 if gated else 1_000_000)
        self.invalid: set[int] = set()
        self.raising: set[int] = set()
        self.failing_once: set[int] = set()
        self.not_together = False
        self.fault = False

    def tokens(self, request: RecommendRequest) -> int:
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> list[int]:
        ids = [request.id for request in requests]
        self.collated.put(len(ids))
        if self.invalid.intersection(ids) or (self.not_together and len(ids) > 1):
            raise InvalidInput("a reason without personal data")
        return ids

    def forward(self, batch: list[int]) -> list[int]:
        self.entered.put(len(batch))
        assert self.gate.acquire(timeout=BOUND_S)
        if self.fault:
            raise DeviceFault("gone")
        if self.raising.intersection(batch):
            raise RuntimeError("Jane Doe lives at 12 High Street")
        if self.failing_once.intersection(batch):
            self.failing_once.clear()
            raise RuntimeError("once")
        return batch

    def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
        return [RecommendResult.of(request_id, []) for request_id in output]

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        return []


class Bench:
    """A running pipeline, with the client whose requests it serves."""

    def __init__(self, pipeline: Pipeline, events: "queue.SimpleQueue[Event]") -> None:
        self.pipeline = pipeline
        self.events = events
        self.client = Client(b"a", 0.0)

    def submit(self, ids: Iterable[int], deadline_s: float = 1e9) -> None:
        wanted = list(ids)
        self.client.outstanding.update(wanted)
        requests = [Pending(self.client, RecommendRequest(i, 0, 0, STATE), deadline_s) for i in wanted]
        assert self.pipeline.submit("m", requests) == []

    def replies(self, count: int) -> dict[int, Reply]:
        answered: dict[int, Reply] = {}
        while len(answered) < count:
            event = self.events.get(timeout=BOUND_S)
            assert isinstance(event, Answered), event
            for client, reply in event.replies:
                assert client is self.client
                assert reply.id not in answered
                answered[reply.id] = reply
        return answered


@contextmanager
def running(runner: ScriptedRunner, clock: Callable[[], float] = lambda: 0.0) -> Iterator[Bench]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [runner], events.put, clock=clock)
    pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    try:
        yield Bench(pipeline, events)
    finally:
        runner.gate.release(1000)
        assert pipeline.stop(BOUND_S)


def test_batches_grow_while_the_device_is_busy_and_only_one_is_prefetched() -> None:
    runner = ScriptedRunner(gated=True)
    with running(runner) as bench:
        bench.submit([0])  # an idle device takes it at once, alone
        assert runner.entered.get(timeout=BOUND_S) == 1
        assert runner.collated.get(timeout=BOUND_S) == 1
        bench.submit([1])  # prefetched
        assert runner.collated.get(timeout=BOUND_S) == 1
        bench.submit([2])  # the slot is taken: it waits, and others gather behind it
        with pytest.raises(queue.Empty):
            runner.collated.get(timeout=0.1)
        for request_id in range(3, 12):
            bench.submit([request_id])
        assert bench.pipeline.queued() == 10
        runner.gate.release(1)
        assert runner.entered.get(timeout=BOUND_S) == 1
        assert runner.collated.get(timeout=BOUND_S) == 10
        runner.gate.release(2)
        assert runner.entered.get(timeout=BOUND_S) == 10
        assert set(bench.replies(12)) == set(range(12))


def test_a_raising_member_fails_alone_and_its_message_is_not_repeated() -> None:
    runner = ScriptedRunner(gated=True)
    runner.raising = {3}
    with running(runner) as bench:
        bench.submit([100])
        runner.entered.get(timeout=BOUND_S)
        bench.submit([101])
        bench.submit(range(5))
        runner.gate.release(100)
        replies = bench.replies(7)
    failure = replies.pop(3)
    assert isinstance(failure, Failure)
    assert failure.error.startswith("RuntimeError in test_pipeline.py:")
    assert "Jane" not in failure.error
    assert all(isinstance(reply, RecommendResult) for reply in replies.values())


def test_an_invalid_member_fails_alone_and_the_others_still_run_as_one_batch() -> None:
    runner = ScriptedRunner()
    runner.invalid = {1, 3}
    with running(runner) as bench:
        bench.submit(range(6))
        replies = bench.replies(6)
    assert {i for i, reply in replies.items() if isinstance(reply, Failure)} == {1, 3}
    assert replies[1] == Failure(1, "InvalidInput: a reason without personal data")
    assert runner.entered.get_nowait() == 4


def test_a_batch_that_fails_once_is_answered_in_full() -> None:
    runner = ScriptedRunner()
    runner.failing_once = {2}
    with running(runner) as bench:
        bench.submit(range(4))
        assert all(isinstance(reply, RecommendResult) for reply in bench.replies(4).values())


def test_answers_are_worded_while_the_device_runs_the_next_batch() -> None:
    worded = threading.Event()

    class Slow(ScriptedRunner):
        def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
            assert worded.wait(BOUND_S)
            return super().split(requests, output)

    runner = Slow()
    with running(runner) as bench:
        bench.submit([0])
        assert runner.entered.get(timeout=BOUND_S) == 1
        bench.submit([1])
        assert runner.entered.get(timeout=BOUND_S) == 1
        worded.set()
        bench.replies(2)


def test_members_whose_answers_cannot_be_worded_together_are_run_one_by_one() -> None:
    class Wordless(ScriptedRunner):
        def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
            if 2 in output:
                raise KeyError("Jane Doe")
            return super().split(requests, output)

    runner = Wordless(gated=True)
    with running(runner) as bench:
        bench.submit([100])
        runner.entered.get(timeout=BOUND_S)
        bench.submit([101])
        bench.submit(range(4))
        runner.gate.release(100)
        replies = bench.replies(6)
    failure = replies.pop(2)
    assert isinstance(failure, Failure)
    assert failure.error.startswith("KeyError in test_pipeline.py:")
    assert all(isinstance(reply, RecommendResult) for reply in replies.values())


def test_members_that_collate_alone_but_not_together_are_run_one_by_one() -> None:
    runner = ScriptedRunner()
    runner.not_together = True
    with running(runner) as bench:
        bench.submit(range(4))
        assert all(isinstance(reply, RecommendResult) for reply in bench.replies(4).values())


def test_a_spent_budget_is_shed_and_a_cancelled_request_never_reaches_the_device() -> None:
    runner = ScriptedRunner(gated=True)
    with running(runner, clock=lambda: 5.0) as bench:
        bench.submit([0])
        assert runner.entered.get(timeout=BOUND_S) == 1
        bench.submit([1])
        assert [runner.collated.get(timeout=BOUND_S) for _ in range(2)] == [1, 1]
        bench.submit([2], deadline_s=4.9)
        bench.submit([3, 4], deadline_s=5.1)
        bench.client.outstanding.discard(4)
        runner.gate.release(100)
        replies = bench.replies(4)
    assert replies[2] == Shed(2)
    assert isinstance(replies[3], RecommendResult)
    assert 4 not in replies
    assert [runner.entered.get_nowait() for _ in range(2)] == [1, 1]


def test_a_broken_device_stops_the_pipeline() -> None:
    runner = ScriptedRunner()
    runner.fault = True
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    bench = Bench(Pipeline(lambda: [runner], events.put), events)
    bench.pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    bench.submit([1])
    stopped = events.get(timeout=BOUND_S)
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, DeviceFault)
    assert bench.pipeline.stop(BOUND_S)


def test_a_model_that_cannot_be_loaded_is_told() -> None:
    def load() -> list[ScriptedRunner]:
        raise FileNotFoundError("no checkpoint")

    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    Pipeline(load, events.put).start()
    stopped = events.get(timeout=BOUND_S)
    assert isinstance(stopped, Stopped)
    assert isinstance(stopped.error, FileNotFoundError)


def test_every_example_batch_has_run_before_the_pipeline_is_loaded() -> None:
    class Warming(ScriptedRunner):
        def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
            return [[RecommendRequest(0, 0, 0, STATE)] * size for size in (1, 16)]

    runner = Warming(gated=True)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [runner], events.put)
    pipeline.start()
    for size in (1, 1, 16, 16):  # each twice: the first time is not what it costs
        assert runner.entered.get(timeout=BOUND_S) == size
        assert events.empty()
        runner.gate.release(1)
    loaded = events.get(timeout=BOUND_S)
    assert isinstance(loaded, Loaded)
    assert loaded.max_batch == 16
    assert [(m.name, m.version, m.popular) for m in loaded.models] == [("m", "1", ("1", "2"))]
    assert pipeline.stop(BOUND_S)


def test_the_devices_faults_are_told_from_a_models_errors() -> None:
    torch = pytest.importorskip("torch")
    from model_core.batching.failures import is_device_fault

    assert is_device_fault(DeviceFault("gone"))
    assert is_device_fault(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    assert not is_device_fault(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_device_fault(RuntimeError("shapes do not match"))


@given(
    count=st.integers(0, 60), invalid=st.sets(st.integers(0, 59), max_size=4),
    raising=st.sets(st.integers(0, 59), max_size=4),
)
@settings(max_examples=30)
def test_the_fast_loop_answers_as_the_slow_one_does(count: int, invalid: set[int], raising: set[int]) -> None:
    runner = ScriptedRunner()
    runner.invalid, runner.raising = invalid, raising
    slow = answer(runner, [RecommendRequest(i, 0, 0, STATE) for i in range(count)])
    with running(runner) as bench:
        bench.submit(range(count))
        assert bench.replies(count) == {reply.id: reply for reply in slow}
