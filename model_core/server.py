"""The worker: who is connected, what they have outstanding, and when the process may leave.

One thread, the caller's, owns the sockets; batches are formed and run by a `Pipeline` on threads of its own, which
wake this one. Knows nothing of models beyond their names.

Everything is counted per client and by request id: a reply is sent only for an id that its client still wants, so a
cancelled request, or one of a client that has gone, simply ends. `Ready` tells a client that nothing of it is held
here; it is sent once the models are warm, and to anyone who is new or says `Hello` again.
"""

import logging
import queue
import secrets
import time
from collections.abc import Callable, Sequence
from typing import assert_never

from model_core.batching.events import Answered, Event, Kept, Loaded, Stopped, Swapped
from model_core.batching.failures import is_device_fault
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.batching.reload import TOLD_TO_STOP, ReloadRefused
from model_core.operations import Operations
from model_core.runner import AnyRunner
from model_core.sockets import Sockets
from model_core.statistics import Statistics
from schemas.control import Reload, WorkerStats
from schemas.inference import (
    PROTOCOL,
    Cancel,
    Draining,
    EncodeResult,
    Failure,
    GenerateResult,
    Goodbye,
    Hello,
    ModelInfo,
    Ping,
    Pong,
    Ready,
    RecommendResult,
    Refused,
    Replies,
    Reply,
    Shed,
    Submit,
    ToAgent,
    Updated,
    to_worker_decoder,
)

SILENT_AFTER_S = 10.0  # twenty heartbeats of a client
DRAIN_S = 10.0  # below the 30 s that Kubernetes and the 15 s that our supervisor wait before they kill
DRAIN_QUIET_S = 0.2  # for requests that were under way when the clients were told
RECEIVE_AT_ONCE = 256  # then replies get their turn
# One on the device, one prefetched, two whose requests and replies are under way; and as many more as it takes that
# full batches of one length can be chosen (docs/performance.md).
BATCHES_PER_CLIENT = 16
MAX_IN_FLIGHT = 1024  # as many requests as a message may hold, see `sockets.MAX_MESSAGE_BYTES`

EXIT_DRAINED = 0
EXIT_FAILED = 1
EXIT_DEVICE_FAULT = 70

log = logging.getLogger("footfall.worker")


class WorkerServer:
    """Serves until it is drained or breaks. Make it, and call `run`, on the main thread."""

    def __init__(
        self,
        load: Callable[[], Sequence[AnyRunner]],
        *,
        listen: str,
        control: str | None = None,
        device: str = "cpu",
        max_batch: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._device = device
        self._clock = clock
        self._epoch = secrets.token_hex(4)
        self._started_s = self._ready_s = clock()
        self._models: tuple[ModelInfo, ...] = ()  # empty until they are warm
        self._max_in_flight = 0
        self._clients: dict[bytes, Client] = {}
        self._counts = Statistics()
        self._drain_asked = False
        self._drain_until_s: float | None = None
        self._last_submit_s = self._started_s
        self._exit_code: int | None = None
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()  # bounded by what the clients may have outstanding
        self._pipeline = Pipeline(load, self._emit, max_batch=max_batch, clock=clock)
        self._sockets = Sockets(listen, control)
        self._operations = Operations(self._sockets, self._counts, self._stats, self._reload)

    @property
    def endpoint(self) -> str:
        """Where it listens, with the port that the system chose."""
        return self._sockets.endpoint

    def drain(self) -> None:
        """Finish what was accepted, then return from `run`. For a signal handler, or any thread."""
        self._drain_asked = True
        self._sockets.wake()

    def run(self) -> int:
        """Serve, and return the process's exit code: 0 drained, 70 the device broke (restart), 1 anything else."""
        self._pipeline.start()
        try:
            while self._exit_code is None:
                # the pipeline and signals wake the poll: the time-out is for silent clients and the drain's bound
                self._sockets.poll(1000 if self._drain_until_s is None else 20)
                self._handle_events()
                self._receive()
                self._operations.answer()
                self._keep_house()
        finally:
            self._close()
        return self._exit_code

    # -- the pipeline's events

    def _emit(self, event: Event) -> None:
        self._events.put(event)
        self._sockets.wake()

    def _handle_events(self) -> None:
        while not self._events.empty():
            event = self._events.get()
            match event:
                case Answered():
                    if event.ran is not None:
                        self._counts.ran(event.ran)
                    self._send_replies(event.replies, event.version)
                case Loaded():
                    self._become_ready(event)
                case Swapped():
                    self._become(event)
                case Kept():
                    self._operations.kept(event)
                case Stopped(error):
                    self._exit_code = self._stopped(error)
                case _:
                    assert_never(event)

    def _become_ready(self, loaded: Loaded) -> None:
        self._models = loaded.models
        self._max_in_flight = min(BATCHES_PER_CLIENT * loaded.max_batch, MAX_IN_FLIGHT)
        self._ready_s = self._clock()
        for client in list(self._clients.values()):
            self._send_ready(client)
        log.info(
            "worker ready on %s in %.1f s, epoch %s, models %s, device %s",
            self.endpoint,
            self._ready_s - self._started_s,
            self._epoch,
            ", ".join(f"{model.name} {model.version}" for model in self._models),
            self._device,
        )

    def _stopped(self, error: BaseException | None) -> int:
        if error is None:
            return EXIT_DRAINED
        if is_device_fault(error):
            log.error("the device broke (%s): exit %d, to be restarted", type(error).__name__, EXIT_DEVICE_FAULT)
            return EXIT_DEVICE_FAULT
        if self._models:
            log.error("the worker broke, which is a bug", exc_info=error)
        else:
            log.error("the models could not be loaded", exc_info=error)
        return EXIT_FAILED

    # -- messages

    def _receive(self) -> None:
        for _ in range(RECEIVE_AT_ONCE):
            received = self._sockets.receive()
            if received is None:
                return
            self._handle(*received)

    def _handle(self, identity: bytes, frames: list[bytes]) -> None:
        if not frames or frames[0] != PROTOCOL:
            self._refuse(identity, f"this worker speaks {PROTOCOL.decode()}: upgrade the older of the two")
            return
        try:
            (payload,) = frames[1:]
            message = to_worker_decoder.decode(payload)
        except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors, and name a place, not a value
            self._refuse(identity, f"not a message of {PROTOCOL.decode()}: {error}")
            return
        client = self._clients.get(identity)
        if client is None or isinstance(message, Hello):
            client = self._register(identity)
        client.last_heard_s = self._clock()
        match message:
            case Hello():
                pass
            case Submit():
                self._submit(client, message)
            case Cancel(ids):
                held = len(client.outstanding)
                client.outstanding.difference_update(ids)
                self._counts.cancelled += held - len(client.outstanding)
            case Ping(n):
                self._send(client, Pong(n))
            case _:
                assert_never(message)

    def _register(self, identity: bytes) -> Client:
        if identity in self._clients:
            self._forget(self._clients[identity])
        client = self._clients[identity] = Client(identity, self._clock())
        if self._models:
            self._send_ready(client)
        return client

    def _submit(self, client: Client, message: Submit) -> None:
        if message.epoch != self._epoch:
            # meant for a predecessor on this endpoint; the client sends them again on our Ready
            self._counts.ignored += len(message.requests)
            return
        if all(model.name != message.model for model in self._models):
            self._refuse(client.identity, f"model {message.model!r} is not served here: see Ready.models")
            return
        if not self._pipeline.takes(message.model, message.requests):
            self._refuse(client.identity, f"model {message.model!r} takes no requests of this kind")
            return
        now_s = self._last_submit_s = self._clock()
        accepted: list[Pending] = []
        excess: list[int] = []
        for request in message.requests:
            if request.id in client.outstanding:
                continue
            if len(client.outstanding) >= self._max_in_flight:
                excess.append(request.id)
                continue
            client.outstanding.add(request.id)
            tokens = self._pipeline.tokens(message.model, request)
            accepted.append(Pending(client, request, now_s + request.budget_ms / 1000, tokens))
        excess += [pending.request.id for pending in self._pipeline.submit(message.model, accepted)]
        if excess:
            client.outstanding.difference_update(excess)
            self._counts.shed_excess += len(excess)
            self._send(client, Replies(self._epoch, "", tuple(Shed(request_id) for request_id in excess)))

    def _send_replies(self, replies: Sequence[tuple[Client, Reply]], version: str = "") -> None:
        """One message per client; replies that nobody waits for any more end here."""
        by_client: dict[bytes, list[Reply]] = {}
        for client, reply in replies:
            match reply:
                case RecommendResult() | EncodeResult() | GenerateResult():
                    pass
                case Failure():
                    self._counts.failures += 1
                case Shed():
                    self._counts.shed_late += 1
                case _:
                    assert_never(reply)
            if reply.id in client.outstanding:
                client.outstanding.remove(reply.id)
                by_client.setdefault(client.identity, []).append(reply)
            elif not isinstance(reply, Shed):
                self._counts.unwanted += 1
        for identity, wanted in by_client.items():
            self._send(self._clients[identity], Replies(self._epoch, version, tuple(wanted)))

    def _send_ready(self, client: Client) -> None:
        self._send(client, Ready(self._epoch, self._models, self._max_in_flight))
        if self._drain_until_s is not None:
            self._send(client, Draining(self._epoch))

    def _send(self, client: Client, message: ToAgent) -> None:
        if not self._sockets.send(client.identity, message):
            self._forget(client)

    def _refuse(self, identity: bytes, reason: str) -> None:
        self._counts.ignored += 1
        self._sockets.send(identity, Refused(reason))

    def _forget(self, client: Client) -> None:
        self._counts.cancelled += len(client.outstanding)
        client.outstanding.clear()
        self._clients.pop(client.identity, None)

    # -- time

    def _keep_house(self) -> None:
        now_s = self._clock()
        for client in [c for c in self._clients.values() if now_s - c.last_heard_s > SILENT_AFTER_S]:
            self._forget(client)
        if not self._drain_asked:
            return
        if not self._models:
            self._exit_code = EXIT_DRAINED
        elif self._drain_until_s is None:
            self._drain_until_s = now_s + DRAIN_S
            self._last_submit_s = now_s
            self._pipeline.abandon_reload()
            for client in list(self._clients.values()):
                self._send(client, Draining(self._epoch))
        elif self._exit_code is None:
            unanswered = sum(len(client.outstanding) for client in self._clients.values())
            if now_s > self._drain_until_s:
                log.warning("%d requests unanswered after %g s: agents send them elsewhere", unanswered, DRAIN_S)
                self._exit_code = EXIT_DRAINED
            elif not unanswered and now_s - self._last_submit_s > DRAIN_QUIET_S:
                self._exit_code = EXIT_DRAINED

    # -- operations

    def _reload(self, asked: Reload) -> None:
        if self._drain_asked:
            raise ReloadRefused(TOLD_TO_STOP)
        if all(model.name != asked.model for model in self._models):
            names = ", ".join(model.name for model in self._models) or "none yet"
            raise ReloadRefused(f"model {asked.model!r} is not served here: {names}")
        self._pipeline.reload(asked)

    def _become(self, event: Swapped) -> None:
        """A model was reloaded: who is connected is told, who comes later hears it with `Ready`."""
        self._models = tuple(event.model if event.model.name == model.name else model for model in self._models)
        for client in list(self._clients.values()):
            self._send(client, Updated(self._epoch, event.model))
        self._operations.swapped(event)

    def _stats(self) -> WorkerStats:
        now_s = self._clock()
        return self._counts.report(
            now_s - self._ready_s, self._pipeline.idle_s() if self._models else 0.0,
            epoch=self._epoch, models=self._models, device=self._device, uptime_s=now_s - self._started_s,
            clients=len(self._clients), queued=self._pipeline.queued(),
        )

    def _close(self) -> None:
        if self._exit_code == EXIT_DRAINED:
            for client in list(self._clients.values()):
                self._send(client, Goodbye(self._epoch))
            self._pipeline.stop(timeout_s=1.0)
            log.info("worker drained, epoch %s", self._epoch)
        self._operations.leave(EXIT_FAILED if self._exit_code is None else self._exit_code)
        self._sockets.close()
