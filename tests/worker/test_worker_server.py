"""What the server does with time and with slow models, in this process and on a clock of the test's own."""

import threading
from collections.abc import Iterable, Sequence

from model_core.control import query_stats
from model_core.stub import StubRunner, stub_result
from schemas.inference import Hello, Ping, Pong, Ready, RecommendRequest, Replies, Reply, Submit, ToAgent
from tests.worker.serving import BOUND_S, TickingClock, serving


def test_a_worker_is_ready_only_after_its_warm_up_and_answers_pings_meanwhile() -> None:
    gate = threading.Event()
    warming = threading.Event()

    class Warming(StubRunner):
        def forward(self, batch: list[bytes]) -> int:
            warming.set()
            assert gate.wait(BOUND_S)
            return super().forward(batch)

    with serving(lambda: [Warming()], TickingClock()) as bench:
        bench.send("a", Hello("a"))
        bench.send("a", Ping(1))
        assert warming.wait(BOUND_S)
        assert bench.receive("a") == Pong(1)
        bench.send("a", Ping(2))
        assert bench.receive("a") == Pong(2)
        gate.set()
        assert isinstance(bench.receive("a"), Ready)


def test_a_client_that_was_silent_for_ten_seconds_is_forgotten_and_told_so_when_it_returns() -> None:
    clock = TickingClock()
    entered, gate = threading.Event(), threading.Event()

    class Slow(StubRunner):
        def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
            return []

        def forward(self, batch: list[bytes]) -> int:
            entered.set()
            assert gate.wait(BOUND_S)
            return super().forward(batch)

    with serving(lambda: [Slow()], clock) as bench:
        state = next(iter(StubRunner().example_batches()))[0].state
        bench.send("a", Hello("a"))
        ready = bench.receive("a")
        assert isinstance(ready, Ready)
        bench.send("a", Submit(ready.epoch, "stub", (RecommendRequest(1, 60_000, 0, state),)))
        assert entered.wait(BOUND_S)
        clock.now_s += 11
        bench.send("b", Hello("b"))
        while query_stats(bench.control, BOUND_S).clients != 1:
            pass  # each question lets the server keep house once more
        bench.send("a", Ping(1))
        assert bench.receive("a") == ready
        assert bench.receive("a") == Pong(1)
        gate.set()
        bench.send("a", Submit(ready.epoch, "stub", (RecommendRequest(2, 60_000, 0, state),)))
        assert bench.receive("a") == Replies(ready.epoch, "stub-1", (stub_result(2),))


def test_two_models_are_served_side_by_side() -> None:
    with serving(lambda: [StubRunner("x"), StubRunner("y", max_batch=8)], TickingClock()) as bench:
        bench.send("a", Hello("a"))
        ready = bench.receive("a")
        assert isinstance(ready, Ready)
        assert [model.name for model in ready.models] == ["x", "y"]
        state = next(iter(StubRunner().example_batches()))[0].state
        for request_id, model in enumerate(["x", "y"]):
            bench.send("a", Submit(ready.epoch, model, (RecommendRequest(request_id, 60_000, 0, state),)))
        assert {reply.id for _ in range(2) for reply in _replies(bench.receive("a"))} == {0, 1}


def _replies(message: ToAgent) -> tuple[Reply, ...]:
    assert isinstance(message, Replies)
    return message.replies
