"""The worker's ZeroMQ sockets: frames in, frames out, one poll over all of them. Knows the protocol's first frame only.

All methods belong to the thread that made it, but `wake`, which any thread and a signal handler may call.
"""

import socket
from contextlib import suppress

import zmq

from schemas.inference import PROTOCOL, ToAgent, to_agent_encoder

MAX_MESSAGE_BYTES = 16 << 20  # 1024 requests of 16 kB: a state of 128 events is half of that


class Sockets:
    """Where clients and operations reach the worker."""

    def __init__(self, listen: str, control: str | None) -> None:
        """Raises `OSError` that says what to do when an endpoint cannot be had."""
        self._wake_out, self._wake_in = socket.socketpair()
        self._wake_out.setblocking(False)
        self._wake_in.setblocking(False)
        self._context = zmq.Context()
        self._router = self._context.socket(zmq.ROUTER)
        self._router.setsockopt(zmq.ROUTER_MANDATORY, 1)  # a client that has gone is an error that we see
        self._router.setsockopt(zmq.ROUTER_HANDOVER, 1)  # a client that reconnects keeps its identity
        self._router.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._router.setsockopt(zmq.LINGER, 1000)
        _bind(self._router, listen)
        self._control = self._context.socket(zmq.ROUTER)  # REQ at the other end; one may wait while others ask
        self._control.setsockopt(zmq.MAXMSGSIZE, MAX_MESSAGE_BYTES)
        self._control.setsockopt(zmq.LINGER, 1000)
        self._poller = zmq.Poller()
        self._poller.register(self._router, zmq.POLLIN)
        self._poller.register(self._wake_in, zmq.POLLIN)
        if control is not None:
            _bind(self._control, control)
            self._poller.register(self._control, zmq.POLLIN)

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port that the system chose."""
        return self._router.get_string(zmq.LAST_ENDPOINT).rstrip("\0")

    def wake(self) -> None:
        """End the current `poll`, or the next. After `close` it does nothing."""
        with suppress(OSError):  # also where so many wakes are waiting that one more changes nothing
            self._wake_out.send(b"\0")

    def poll(self, timeout_ms: int) -> None:
        """Wait until there is something to receive, a question, or a wake."""
        self._poller.poll(timeout_ms)
        with suppress(BlockingIOError):
            while self._wake_in.recv(4096):
                pass

    def receive(self) -> tuple[bytes, list[bytes]] | None:
        """A client's identity and the frames it sent, or None."""
        try:
            identity, *frames = self._router.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        return identity, frames

    def send(self, identity: bytes, message: ToAgent) -> bool:
        """False for a peer that has gone, or that has not read a thousand messages."""
        try:
            self._router.send_multipart([identity, PROTOCOL, to_agent_encoder.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in {zmq.EHOSTUNREACH, zmq.EAGAIN}:
                raise
            return False
        return True

    def question(self) -> tuple[list[bytes], list[bytes]] | None:
        """Who of operations asks, and the frames of the question, or None."""
        try:
            frames = self._control.recv_multipart(zmq.NOBLOCK)
        except zmq.Again:
            return None
        to = frames.index(b"") + 1 if b"" in frames else 1  # REQ marks where its address ends
        return frames[:to], frames[to:]

    def answer(self, address: list[bytes], payload: bytes) -> None:
        """Answer who asked; who has gone hears nothing."""
        self._control.send_multipart([*address, PROTOCOL, payload], zmq.NOBLOCK)

    def close(self) -> None:
        self._router.close()
        self._control.close()
        self._context.term()
        self._wake_in.close()
        self._wake_out.close()


def _bind(sock: "zmq.Socket[bytes]", endpoint: str) -> None:
    try:
        sock.bind(endpoint)
    except zmq.ZMQError as error:
        raise OSError(
            error.errno,
            f"cannot listen on {endpoint} ({error.strerror}): is it in use, does the directory of an ipc path exist, "
            "is the path below 108 bytes?",
        ) from error
