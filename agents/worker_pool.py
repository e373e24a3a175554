"""Which request is held by which worker: credits, epochs, resubmission, early drop. Pure: no sockets, no clock.

Every submitted id ends in exactly one of: accepted replies, local `Shed`s, cancellation; until then it is held here,
waiting or assigned to one worker. A worker is usable from its `Ready` until it drains or is lost. `Ready` means that
the worker holds nothing of ours, whatever we believed; so what was assigned to it waits again, first in the queue.

Under overload requests grow old here. One that would not come back in time is dropped before it takes a credit: else
the worker has its hands full of requests that it can only shed, and too few others to fill its batches.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from msgspec import Struct

from schemas.inference import ModelInfo, Ready, RecommendRequest, Replies, Reply, Request, Shed, Submit, Updated

BUSY = 0.5  # of a worker's credit in use: below that it needs whatever comes to fill its batches
IDLE = 1 / 16  # below that the device has less than a batch to do


class _Held(Struct, eq=False):
    """A request of ours. `worker` holds it since `sent_s`, or it waits (None)."""

    id: int
    body: tuple[Any, ...]
    deadline_s: float
    worker: "_Worker | None" = None
    sent_s: float = 0.0


class _Trip(Struct):
    """How long requests take to a worker and back: mean and mean deviation, smoothed as TCP does (RFC 6298)."""

    mean_s: float = 0.0
    deviation_s: float = 0.0

    @property
    def bound_s(self) -> float:
        """Seldom exceeded. TCP adds four deviations; a request that is dropped in vain costs more than a packet."""
        return self.mean_s + 2 * self.deviation_s

    def observe(self, seconds: float) -> None:
        if not self.mean_s:
            self.mean_s = seconds
        self.deviation_s += (abs(seconds - self.mean_s) - self.deviation_s) / 4
        self.mean_s += (seconds - self.mean_s) / 8


@dataclass(slots=True, eq=False)
class _Worker:
    """`epoch` is None until it is ready, and again once it is lost; a draining worker only answers."""

    index: int
    epoch: str | None = None
    draining: bool = False
    info: ModelInfo | None = None
    max_in_flight: int = 0
    outstanding: dict[int, _Held] = field(default_factory=dict)
    trip: _Trip = field(default_factory=_Trip)

    @property
    def usable(self) -> bool:
        return self.info is not None and not self.draining

    @property
    def credit(self) -> int:
        return self.max_in_flight - len(self.outstanding) if self.usable else 0

    @property
    def load(self) -> float:
        return len(self.outstanding) / self.max_in_flight


@dataclass(frozen=True, slots=True)
class Dispatch:
    """What to send, by worker index, and what to answer at once since its budget is spent."""

    submits: tuple[tuple[int, Submit], ...]
    shed: tuple[Shed, ...]


class WorkerPool:
    """Requests for one model over workers 0 … `workers` - 1."""

    def __init__(self, model: str, workers: int, request: Callable[..., Request] = RecommendRequest) -> None:
        """`request`: makes one of an id, a budget in ms and a body."""
        self._model = model
        self._request = request
        self._workers = [_Worker(index) for index in range(workers)]
        self._held: dict[int, _Held] = {}
        self._waiting: OrderedDict[int, _Held] = OrderedDict()  # in the order in which they are sent

    @property
    def outstanding(self) -> int:
        """Requests at workers."""
        return len(self._held) - len(self._waiting)

    @property
    def queued(self) -> int:
        """Requests that wait for a credit, or for a worker."""
        return len(self._waiting)

    @property
    def spare(self) -> int:
        """How many requests the workers could take that are not urgent; an urgent one waits for a batch at most."""
        if self._waiting:
            return 0
        return sum(max(0, int(IDLE * worker.max_in_flight) - len(worker.outstanding))
                   for worker in self._workers if worker.usable)

    @property
    def available(self) -> bool:
        return any(worker.usable for worker in self._workers)

    @property
    def model(self) -> ModelInfo | None:
        """As the first usable worker says."""
        return next((worker.info for worker in self._workers if worker.usable), None)

    def submit(self, request_id: int, body: tuple[Any, ...], deadline_s: float) -> None:
        """Hold a request; raises `ValueError` for an id that is held already."""
        if request_id in self._held:
            raise ValueError(f"request {request_id} is not answered yet: give every request an id of its own")
        self._held[request_id] = self._waiting[request_id] = _Held(request_id, body, deadline_s)

    def cancel(self, ids: Iterable[int]) -> dict[int, list[int]]:
        """Drop these, held or not; returns which ids to cancel at which worker."""
        at_workers: dict[int, list[int]] = {}
        for request_id in ids:
            held = self._held.pop(request_id, None)
            if held is None:
                continue
            if held.worker is None:
                del self._waiting[request_id]
            else:
                del held.worker.outstanding[request_id]
                at_workers.setdefault(held.worker.index, []).append(request_id)
        return at_workers

    def dispatch(self, now_s: float) -> Dispatch:
        """Assign what waits, oldest first, each to the worker with the smallest share of its credit in use.

        Shed is who is late, or would be by what trips to that worker took lately, as long as it is busy: on an idle one
        the estimate is tried, or it would never be mended.
        """
        open_workers = [worker for worker in self._workers if worker.credit > 0]
        batches: dict[int, list[Request]] = {}
        shed: list[Shed] = []
        while open_workers and self._waiting:
            _, held = self._waiting.popitem(last=False)
            budget_s = held.deadline_s - now_s
            worker = open_workers[0] if len(open_workers) == 1 else min(open_workers, key=_load)
            if budget_s <= (worker.trip.bound_s if worker.load > BUSY else 0.0):
                del self._held[held.id]
                shed.append(Shed(held.id))
                continue
            held.worker, held.sent_s = worker, now_s
            worker.outstanding[held.id] = held
            request = self._request(held.id, int(budget_s * 1000), *held.body)
            batches.setdefault(worker.index, []).append(request)
            if worker.credit <= 0:
                open_workers.remove(worker)
        submits = tuple(
            (index, Submit(self._workers[index].epoch or "", self._model, tuple(batch)))
            for index, batch in batches.items()
        )
        return Dispatch(submits, tuple(shed))

    def is_ready(self, index: int) -> bool:
        """Whether this worker has said `Ready` and was not lost since; it may be draining, or serve other models."""
        return self._workers[index].epoch is not None

    def ready(self, index: int, message: Ready) -> ModelInfo | None:
        """A worker holds nothing of ours and takes requests; its model is returned where it serves ours."""
        self.lost(index)
        worker = self._workers[index]
        worker.epoch, worker.trip = message.epoch, _Trip()
        worker.info = next((info for info in message.models if info.name == self._model), None)
        worker.max_in_flight = message.max_in_flight
        return worker.info

    def updated(self, index: int, message: Updated) -> ModelInfo | None:
        """A worker has reloaded a model; it is returned where it is ours."""
        worker = self._workers[index]
        if message.epoch != worker.epoch or message.model.name != self._model:
            return None
        worker.info = message.model
        return worker.info

    def replies(self, index: int, message: Replies, now_s: float) -> list[Reply]:
        """The replies to requests that this worker holds for us; of others (late, cancelled, unknown) nothing.

        How long the longest of their trips was, is learned for the next ones.
        """
        worker = self._workers[index]
        if message.epoch != worker.epoch:
            return []
        accepted: list[Reply] = []
        sent_s = now_s
        for reply in message.replies:
            held = worker.outstanding.pop(reply.id, None)
            if held is not None:
                del self._held[reply.id]
                accepted.append(reply)
                if not isinstance(reply, Shed):
                    sent_s = min(sent_s, held.sent_s)
        if sent_s < now_s:
            worker.trip.observe(now_s - sent_s)
        return accepted

    def draining(self, index: int, epoch: str) -> None:
        """The worker still answers what it has, and takes nothing more."""
        worker = self._workers[index]
        worker.draining = worker.draining or epoch == worker.epoch

    def left(self, index: int, epoch: str) -> None:
        """The worker said its last word."""
        if epoch == self._workers[index].epoch:
            self.lost(index)

    def lost(self, index: int) -> list[int]:
        """Nothing more is expected of a worker until it is ready again: what it held goes first, and is returned."""
        worker = self._workers[index]
        returned = worker.outstanding
        worker.outstanding, worker.epoch, worker.info, worker.draining = {}, None, None, False
        for held in reversed(returned.values()):
            held.worker = None
            self._waiting[held.id] = held
            self._waiting.move_to_end(held.id, last=False)
        return list(returned)


def _load(worker: _Worker) -> float:
    return worker.load
