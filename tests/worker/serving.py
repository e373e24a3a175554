"""A worker's server on a thread of the test, with clients, and a clock of the test's own."""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import zmq

from model_core.runner import AnyRunner
from model_core.server import WorkerServer
from schemas.inference import PROTOCOL, ToAgent, ToWorker, to_agent_decoder, to_worker_encoder

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
def serving(
    load: Callable[[], Sequence[AnyRunner]], clock: Callable[[], float] = time.monotonic
) -> Iterator[Bench]:
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


class StoppedClock:
    """Stands still, at `now_s`, until it is let go."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self._since_s: float | None = None

    def go(self) -> None:
        self._since_s = time.monotonic()

    def __call__(self) -> float:
        return self.now_s + (0.0 if self._since_s is None else time.monotonic() - self._since_s)


class TickingClock:
    """Advances a little whenever it is read, so that bounds are reached, and jumps when told to."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        self.now_s += 0.02
        return self.now_s
