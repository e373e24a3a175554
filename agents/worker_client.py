"""Hop 5: requests to the workers, replies back, over ZeroMQ inside the agent's event loop.

Owns the sockets, the heartbeats and the clock; which request is where is `agents.worker_pool`'s. The user-visible
deadline is the caller's: a request waits here for as long as no worker is there, until it is answered or cancelled.
Nothing here is bounded by a limit of its own, since the caller holds one request per user and bounds those in flight.

Plain sockets with `loop.add_reader`, not `zmq.asyncio`, which took 2.9 times the CPU for a message there and back (120
against 42 us under uvloop on a busy machine); see `_drain` for what that asks.
"""

import asyncio
import logging
import os
import secrets
import socket as system
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, assert_never, cast

import zmq
import zmq.utils.monitor

from agents.worker_pool import WorkerPool
from schemas.inference import (
    PROTOCOL,
    Cancel,
    Draining,
    Goodbye,
    Hello,
    ModelInfo,
    Ping,
    Pong,
    Ready,
    RecommendRequest,
    Refused,
    Replies,
    Reply,
    Request,
    ToAgent,
    ToWorker,
    Updated,
    to_agent_decoder,
    to_worker_encoder,
)

log = logging.getLogger(__name__)

RECEIVE_AT_ONCE = 32  # messages, of a batch of replies each; then the loop's other work has its turn


@dataclass(slots=True, eq=False)
class _Link:
    """The connection to one endpoint. `refused`: the last reason that was logged."""

    index: int
    endpoint: str
    dealer: "zmq.Socket[bytes]"
    monitor: "zmq.Socket[bytes]"
    last_heard_s: float
    refused: str = ""


class WorkerClient:
    """Sends one model's requests to whichever worker is ready, and hands the replies over in batches.

    `on_replies` is called once per message with `RecommendResult | Failure | Shed`, each for an id that was submitted
    and neither answered nor cancelled, and with the version of the model that ran them. `on_model` is called whenever a
    worker that serves the model becomes ready, or has reloaded it, `on_lost` with the ids that were in the hands of a
    worker that broke or fell silent: they are asked again unless they are cancelled then. All are called from the event
    loop and must not raise.
    """

    def __init__(
        self,
        endpoints: Sequence[str],
        model: str,
        request: Callable[..., Request] = RecommendRequest,
        *,
        on_replies: Callable[[Sequence[Reply], str], None],
        on_model: Callable[[ModelInfo], None] = lambda _: None,
        on_lost: Callable[[Sequence[int]], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        heartbeat_s: float = 0.5,
        lost_after_s: float = 3.0,
    ) -> None:
        if not endpoints:
            raise ValueError("no worker endpoint: set FOOTFALL_WORKERS")
        self._endpoints = tuple(endpoints)
        self._on_replies = on_replies
        self._on_model = on_model
        self._on_lost = on_lost
        self._clock = clock
        self._heartbeat_s = heartbeat_s
        self._lost_after_s = lost_after_s
        self._name = f"{model}@{system.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._pool = WorkerPool(model, len(self._endpoints), request)
        self._links: list[_Link] = []
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._heart: asyncio.TimerHandle | None = None
        self._flush_is_scheduled = False
        self._away_since_s: float | None = clock()

    @property
    def available(self) -> bool:
        """A worker is ready that serves the model."""
        return self._pool.available

    @property
    def away_s(self) -> float:
        """For how long none has been; 0 while one is."""
        return 0.0 if self._away_since_s is None else self._clock() - self._away_since_s

    @property
    def model(self) -> ModelInfo | None:
        return self._pool.model

    @property
    def outstanding(self) -> int:
        """Requests at workers."""
        return self._pool.outstanding

    @property
    def queued(self) -> int:
        """Requests that wait here for a credit, or for a worker."""
        return self._pool.queued

    @property
    def spare(self) -> int:
        """How many requests the workers could take that are not urgent."""
        return self._pool.spare

    async def start(self) -> None:
        """Connect; requests may be submitted before a worker is there."""
        loop = asyncio.get_running_loop()
        self._context = zmq.Context(io_threads=1)
        for index, endpoint in enumerate(self._endpoints):
            dealer = self._context.socket(zmq.DEALER)
            # its own name, so that replies still find it after a reconnect; one per endpoint, so that a worker that
            # is listed twice does not see one client on two connections
            dealer.setsockopt(zmq.ROUTING_ID, f"{self._name}/{index}".encode()[:255])
            dealer.setsockopt(zmq.IMMEDIATE, 1)  # nothing is stored for a worker that is not connected
            dealer.setsockopt(zmq.LINGER, 0)
            # by chance, or all agents come back to a worker in one moment: with a maximum libzmq spreads nothing
            dealer.setsockopt(zmq.RECONNECT_IVL, 50 + secrets.randbelow(50))
            dealer.setsockopt(zmq.RECONNECT_IVL_MAX, 1000 + secrets.randbelow(1000))
            events = zmq.Event.HANDSHAKE_SUCCEEDED | zmq.Event.DISCONNECTED
            link = _Link(index, endpoint, dealer, dealer.get_monitor_socket(events), self._clock())
            dealer.connect(endpoint)
            self._links.append(link)
            loop.add_reader(dealer.fileno(), self._drain, link)
            loop.add_reader(link.monitor.fileno(), self._watch, link)
        self._beat()

    async def stop(self) -> None:
        """Disconnect at once; what is not answered stays so."""
        if self._heart is not None:
            self._heart.cancel()
        loop = asyncio.get_running_loop()
        for link in self._links:
            loop.remove_reader(link.dealer.fileno())
            loop.remove_reader(link.monitor.fileno())
            link.dealer.disable_monitor()
            link.monitor.close()
            link.dealer.close()
        self._links.clear()
        if self._context is not None:
            self._context.term()
            self._context = None

    def submit(self, request_id: int, body: tuple[Any, ...], budget_ms: int) -> None:
        """Ask the model; never blocks. What is submitted in one turn of the loop leaves in one message.

        `body`: what follows id and budget in a request of this model.

        Raises `ValueError` for an id that is not answered yet.
        """
        self._pool.submit(request_id, body, self._clock() + budget_ms / 1000)
        self._schedule_flush()

    def cancel(self, ids: Iterable[int]) -> None:
        """Forget these requests; ids that are not held are ignored."""
        for index, cancelled in self._pool.cancel(ids).items():
            self._send(self._links[index], Cancel(tuple(cancelled)))
            self._schedule_flush()  # credits came free

    # -- sending

    def _schedule_flush(self) -> None:
        if not self._flush_is_scheduled and self._pool.available:
            self._flush_is_scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        self._flush_is_scheduled = False
        dispatch = self._pool.dispatch(self._clock())
        for index, submit in dispatch.submits:
            if not self._send(self._links[index], submit):
                self._lose(self._links[index], "it takes no messages")
        if dispatch.shed:
            self._on_replies(dispatch.shed, "")

    def _send(self, link: _Link, message: ToWorker) -> bool:
        """False where nobody is connected, or reads."""
        try:
            link.dealer.send_multipart([PROTOCOL, to_worker_encoder.encode(message)], zmq.NOBLOCK)
        except zmq.Again:
            return False
        # a send may take the readiness of the socket's descriptor with it: look
        asyncio.get_running_loop().call_soon(self._drain, link)
        return True

    def _beat(self) -> None:
        """Heartbeats, and the silence of workers. The only reason to wake when nothing arrives."""
        self._heart = asyncio.get_running_loop().call_later(self._heartbeat_s, self._beat)
        for link in self._links:
            # also the first look, without which the descriptors never signal; and a loop that stood still finds the
            # worker's messages before it misses them
            greeted = self._watch(link)
            self._drain(link)
            if not self._pool.is_ready(link.index):
                if not greeted:  # each is answered, and an answer says that the worker holds nothing of ours
                    self._send(link, Hello(self._name))
            elif self._clock() - link.last_heard_s > self._lost_after_s:
                self._lose(link, f"silent for {self._lost_after_s:g} s")
            else:
                self._send(link, Ping(0))

    # -- receiving

    def _drain(self, link: _Link) -> None:
        """Take what has arrived.

        ZeroMQ's descriptor signals a change, not a state: after any send or receive the socket itself must be asked
        until it has nothing, or the next signal may never come.
        """
        for _ in range(RECEIVE_AT_ONCE):
            if link.dealer.closed or not _readable(link.dealer):
                return
            self._handle(link, link.dealer.recv_multipart(zmq.NOBLOCK))
        asyncio.get_running_loop().call_soon(self._drain, link)

    def _handle(self, link: _Link, frames: list[bytes]) -> None:
        link.last_heard_s = self._clock()
        pool = self._pool
        match message := _decode(frames):
            case Replies():
                replies = pool.replies(link.index, message, link.last_heard_s)
                if replies:
                    self._on_replies(replies, message.version)
            case Pong():
                return
            case Ready() | Updated():
                self._learn(link, message)
            case Draining(epoch):
                pool.draining(link.index, epoch)
            case Goodbye(epoch):
                pool.left(link.index, epoch)
            case Refused(reason):
                if reason != link.refused:
                    log.error("worker %s cannot be used: %s", link.endpoint, reason)
                link.refused = reason
            case _:
                assert_never(message)
        self._after_change()

    def _learn(self, link: _Link, message: Ready | Updated) -> None:
        """A worker says what it serves."""
        if isinstance(message, Ready):
            info = self._pool.ready(link.index, message)
            log.info("worker %s is ready, epoch %s", link.endpoint, message.epoch)
        else:
            info = self._pool.updated(link.index, message)
        if info is not None:
            log.info("worker %s serves %s %s", link.endpoint, info.name, info.version)
            self._on_model(info)

    def _watch(self, link: _Link) -> bool:
        """The connection came or went: say hello at once, or take back at once what the worker held.

        Returns whether it said hello.
        """
        greeted = False
        while not link.monitor.closed and _readable(link.monitor):
            event = zmq.utils.monitor.recv_monitor_message(link.monitor, zmq.NOBLOCK)["event"]
            if event == zmq.Event.HANDSHAKE_SUCCEEDED and not self._pool.is_ready(link.index):
                self._send(link, Hello(self._name))
                greeted = True
            elif event == zmq.Event.DISCONNECTED:
                self._drain(link)
                self._lose(link, "disconnected")
        return greeted

    def _lose(self, link: _Link, why: str) -> None:
        if self._pool.is_ready(link.index):
            log.warning("worker %s is lost: %s", link.endpoint, why)
            lost = self._pool.lost(link.index)
            if lost:
                self._on_lost(lost)
            self._after_change()

    def _after_change(self) -> None:
        if not self._pool.available:
            if self._away_since_s is None:
                self._away_since_s = self._clock()
            return
        self._away_since_s = None
        if self._pool.queued:
            self._schedule_flush()


def _readable(socket: "zmq.Socket[bytes]") -> bool:
    return bool(cast("int", socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)


def _decode(frames: list[bytes]) -> ToAgent:
    """A worker's message; what cannot be read is `Refused` in its name, so that it is reported in one place."""
    if len(frames) != 2 or frames[0] != PROTOCOL:
        return Refused(f"it does not speak {PROTOCOL.decode()}: upgrade the older of the two")
    try:
        return to_agent_decoder.decode(frames[1])
    except (ValueError, RecursionError) as error:
        return Refused(f"it sent what is not a message of {PROTOCOL.decode()}: {error}")
