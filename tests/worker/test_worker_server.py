"""What the server does with time and with slow models, in this process and on a clock of the test's own."""

import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import zmq

from model_core.control import query_stats
from model_core.runner import AnyRunner
from model_core.server import WorkerServer
from model_core.stub import StubRunner, stub_result
from schemas.inference import (
    PROTOCOL,
    Hello,
    Ping,
    Pong,
    Ready,
    RecommendRequest,
    Replies,
    Reply,
    Submit,
    ToAgent,
    ToWorker,
    to_agent_decoder,
    to_worker_encoder,
)

BOUND_S = 20


class Bench:
    """A server on a thread, and clients by name."""

    def __init__(self, server: WorkerServer, endpoint: str, control: str) -> None:
        self.server = server
        self.endpoint = endpoint
        self.control = control
        self.context = zmq.Context()
        self.sockets: dict[str, zmq.Socket[bytes]] = {}

    def send(self, client: str, message: ToWorker) -> None:
        if client not in self.sockets:
            socket = self.sockets[client] = self.context.socket(zmq.DEALER)
            socket.linger = 0
            socket.connect(self.endpoint)
        self.sockets[client].send_multipart([PROTOCOL, to_worker_encoder.encode(message)])

    def receive(self, client: str) -> ToAgent:
        assert self.sockets[client].poll(BOUND_S * 1000), "the worker is silent"
        return to_agent_decoder.decode(self.sockets[client].recv_multipart()[1])


@contextmanager
def serving(load: Callable[[], Sequence[AnyRunner]], clock: Callable[[], float]) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="fw-") as directory:
        endpoint, control = f"ipc://{directory}/w", f"ipc://{directory}/c"
        server = WorkerServer(load, listen=endpoint, control=control, clock=clock)
        codes: list[int] = []
        thread = threading.Thread(target=lambda: codes.append(server.run()))
        thread.start()
        bench = Bench(server, endpoint, control)
        try:
            yield bench
        finally:
            for socket in bench.sockets.values():
                socket.close()
            bench.context.term()
            server.drain()
            thread.join(BOUND_S)
    assert codes == [0]


class TickingClock:
    """Advances a little whenever it is read, so that bounds are reached, and jumps when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.02
        return self.now_s


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
        assert bench.receive("a") == Replies(ready.epoch, (stub_result(2),))


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
