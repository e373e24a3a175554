"""A model is replaced while it serves: between two batches, or not at all."""

import gc
import queue
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from model_core.batching.events import Event, Kept, Loaded, Stopped, Swapped
from model_core.batching.pipeline import Pipeline
from model_core.batching.reload import TOLD_TO_STOP, UNDER_WAY, ReloadRefused
from model_core.runner import AnyRunner, Batching, CheckpointError, DeviceFault, InvalidInput
from schemas.control import Reload
from schemas.inference import RecommendRequest, RecommendResult
from schemas.results import Reason, RecommendedItem
from tests.worker.reloading import BOUND_S, ITEMS, Bench, Model, running
from tests.worker.test_generation import Writer


def test_requests_are_answered_by_the_old_model_until_the_new_one_is_ready_and_then_by_the_new_one() -> None:
    model, reading, gate = Model(), threading.Event(), threading.Event()

    def successor(folder: Path, sha256: str) -> AnyRunner:
        assert (folder, sha256) == (Path("/checkpoint"), "abc")
        reading.set()
        assert gate.wait(BOUND_S)
        return Model("2")

    model.next = successor
    with running(model) as bench:
        assert bench.version_that_answers(1) == "1"
        bench.reload()
        assert reading.wait(BOUND_S)
        assert [bench.version_that_answers(n) for n in range(2, 6)] == ["1"] * 4
        gate.set()
        swapped = bench.swapped()
        assert (swapped.model.version, swapped.model.popular, swapped.previous) == ("2", ("7",), "1")
        assert swapped.overlap == pytest.approx(0.95)  # the first of twenty names the version
        assert bench.version_that_answers(6) == "2"


def test_batches_under_way_are_answered_by_the_model_that_they_were_bound_for() -> None:
    model = Model()
    with running(model) as bench:
        bench.replies()
        model.gate = threading.Semaphore(0)
        while not model.entered.empty():
            model.entered.get()
        bench.submit(1)
        assert model.entered.get(timeout=BOUND_S) == [1]  # on the device
        bench.submit(2)  # prefetched
        bench.reload()
        bench.submit(3)
        model.gate.release(2)
        bench.replies(1, 2, 3)
        assert {n: version for n, (version, _) in bench.answered.items()}[1] == "1"
        versions = [version for version in bench.order if version != "swapped"]
        assert versions == sorted(versions)
        model.gate.release(10)


def test_versions_switch_once_while_requests_stream() -> None:
    with running(Model()) as bench:
        submitted = 0
        bench.reload()
        while "swapped" not in bench.order:
            submitted += 1
            bench.submit(submitted)
            bench.replies(submitted)
        for _ in range(5):
            submitted += 1
            bench.submit(submitted)
            bench.replies(submitted)
    at = bench.order.index("swapped")
    assert set(bench.order[:at]) <= {"1"}
    assert set(bench.order[at + 1 :]) == {"2"}
    assert len(bench.answered) == submitted


def test_a_successor_has_answered_every_example_and_the_latest_requests_before_it_serves() -> None:
    model, new = Model(), Model("2")
    model.next = lambda *_: new
    with running(model) as bench:
        for number in range(100, 140):
            assert bench.version_that_answers(number) == "1"
        bench.reload()
        bench.swapped()
        ran = [new.entered.get_nowait() for _ in range(new.entered.qsize())]
    assert ran[:2] == [[0], [0, 1, 2, 3]]
    assert sorted(number for batch in ran[2:] for number in batch) == list(range(108, 140))
    assert max(map(len, ran)) <= 4


BROKEN: dict[str, tuple[Callable[[], AnyRunner], str]] = {
    "other items": (lambda: Model("2", tuple(f"x{n}" for n in range(20))), "lower --min-overlap"),
    "no items": (lambda: NoItems("2"), "without any item"),
    "not finite": (lambda: NotFinite("2"), "not a number"),
    "wrong requests": (lambda: WrongRequests("2"), "a result of its own"),
    "raises": (lambda: Raises("2"), "ValueError in test_reload.py:"),
    "no popular items": (lambda: NoPopular("2"), "names no popular items"),
    "other batches": (lambda: OtherBatches("2"), "start a worker with it, and stop this one"),
}


class NoItems(Model):
    def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
        return [RecommendResult.of(request_id, []) for request_id in output]


class NotFinite(Model):
    def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
        items = [RecommendedItem(item, float("nan"), Reason("related")) for item in ITEMS]
        return [RecommendResult.of(request_id, items) for request_id in output]


class WrongRequests(Model):
    def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
        return super().split(requests, [request_id + 1 for request_id in output])


class Raises(Model):
    def forward(self, batch: list[int]) -> list[int]:
        raise ValueError("Jane Doe lives at 12 High Street")


class NoPopular(Model):
    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.popular = ()


class OtherBatches(Model):
    def __init__(self, version: str) -> None:
        super().__init__(version)
        self.batching = Batching(8)


@pytest.mark.parametrize("case", BROKEN)
def test_a_successor_that_fails_its_trial_never_answers(case: str) -> None:
    model = Model()
    make, why = BROKEN[case]
    model.next = lambda *_: make()
    with running(model) as bench:
        bench.reload()
        reason = bench.kept()
        assert why in reason
        assert "Jane" not in reason
        assert bench.version_that_answers(1) == "1"
        model.next = lambda *_: Model("3")
        bench.reload()  # the next one may be right
        bench.swapped()
        assert bench.version_that_answers(2) == "3"


def test_a_checkpoint_that_cannot_be_read_says_why() -> None:
    def successor(*_: object) -> AnyRunner:
        raise CheckpointError("the folder is empty; train one")

    model = Model()
    model.next = successor
    with running(model) as bench:
        bench.reload()
        assert bench.kept() == "the folder is empty; train one"
        assert bench.version_that_answers(1) == "1"


def test_a_floor_of_0_lets_through_what_has_nothing_in_common() -> None:
    model = Model()
    model.next = lambda *_: Model("2", tuple(f"x{n}" for n in range(20)))
    with running(model) as bench:
        bench.reload(min_overlap=0.0)
        assert bench.swapped().overlap == 0.0
        assert bench.version_that_answers(1) == "2"


def test_a_device_that_breaks_in_the_trial_stops_the_pipeline() -> None:
    model, broken = Model(), Model("2")
    broken.breaks = DeviceFault("gone")
    model.next = lambda *_: broken
    with running(model) as bench:
        bench.reload()
        stopped = bench.until(lambda event: isinstance(event, Swapped | Kept | Stopped))
        assert isinstance(stopped, Stopped)
        assert isinstance(stopped.error, DeviceFault)


def test_only_one_reload_is_under_way() -> None:
    model, gate = Model(), threading.Event()

    def successor(*_: object) -> AnyRunner:
        assert gate.wait(BOUND_S)
        return Model("2")

    model.next = successor
    with running(model) as bench:
        bench.reload()
        with pytest.raises(ReloadRefused, match=UNDER_WAY[:20]):
            bench.reload()
        gate.set()
        bench.swapped()
        bench.reload()  # from 2 to 2
        assert bench.swapped().previous == "2"


def test_a_pipeline_that_is_told_to_stop_reloads_nothing_any_more() -> None:
    model, reading, gate = Model(), threading.Event(), threading.Event()

    def successor(*_: object) -> AnyRunner:
        reading.set()
        assert gate.wait(BOUND_S)
        return Model("2")

    model.next = successor
    with running(model) as bench:
        bench.reload()
        assert reading.wait(BOUND_S)
        bench.pipeline.abandon_reload()
        gate.set()
        assert bench.kept() == TOLD_TO_STOP
        assert bench.version_that_answers(1) == "1"
        with pytest.raises(ReloadRefused, match="told to stop"):
            bench.reload()


def test_a_model_that_has_no_successors_is_refused() -> None:
    with running(Writer(), Model()) as bench:
        with pytest.raises(ReloadRefused, match="start another worker"):
            bench.pipeline.reload(Reload(model="writer", path="/checkpoint"))
        with pytest.raises(KeyError):
            bench.pipeline.reload(Reload(model="another", path="/checkpoint"))


def test_requests_that_fail_around_a_swap_fail_alone() -> None:
    class Choosy(Model):
        def collate(self, requests: Sequence[RecommendRequest]) -> list[int]:
            if any(request.id % 7 == 6 for request in requests):
                raise InvalidInput("a seventh")
            return super().collate(requests)

    model = Choosy()
    model.next = lambda *_: Choosy("2")
    with running(model) as bench:
        bench.submit(*range(7, 20))
        bench.reload()
        bench.submit(*range(20, 40))
        bench.replies(*range(7, 40))
        failed = {n for n, (_, reply) in bench.answered.items() if not isinstance(reply, RecommendResult)}
        assert failed == {13, 20, 27, 34}


def test_the_old_model_is_released_without_waiting_for_more_requests() -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [Model()], events.put, clock=lambda: 0.0)
    pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    bench = Bench(pipeline, events)
    bench.version_that_answers(1)
    old = weakref.ref(pipeline._models["m"])
    bench.reload()
    bench.swapped()
    gc.collect()
    pipeline._reloader.join(BOUND_S)
    assert old() is None
    assert pipeline.stop(BOUND_S)
