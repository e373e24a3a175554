"""Two threads from requests to replies: one forms and collates batches, one owns the device.

    submit -> Backlog -> [reserve the slot, form, collate] -> one prefetched batch -> [forward, split] -> events

While the device runs batch N, batch N+1 is formed and collated; N+2 is not formed before the device takes N+1. So at
most one batch is prefetched, and it was bound as late as that allows. Knows nothing of sockets and of the protocol's
epochs; what happens is told through `emit`, which both threads call.
"""

import gc
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from model_core.batching.policy import Backlog, Client, Pending, Plan
from model_core.runner import AnyRunner, DeviceFault, InvalidInput
from schemas.inference import Failure, ModelInfo, Reply, Shed


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models have answered every example batch."""

    models: tuple[ModelInfo, ...]
    max_batch: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Replies to send. `batch` counts the requests that were on the device for them, `busy_s` the time it took."""

    replies: tuple[tuple[Client, Reply], ...]
    batch: int = 0
    busy_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Stopped:
    """The pipeline is over: asked to (`error` None), or for a reason that the process should not survive."""

    error: BaseException | None


Event: TypeAlias = Loaded | Answered | Stopped


@dataclass(frozen=True, slots=True)
class _Work:
    """A formed batch. `collated` is None where its members can be collated each alone but not together."""

    runner: AnyRunner
    members: tuple[Pending, ...]
    collated: Any | None


def is_device_fault(error: BaseException) -> bool:
    """Whether the process must go. Running out of memory is not one: the members are tried again one by one."""
    torch = sys.modules.get("torch")
    return isinstance(error, DeviceFault) or (torch is not None and isinstance(error, torch.AcceleratorError))


def describe(error: Exception) -> str:
    """What a `Failure` says: the message of `InvalidInput`, which is free of personal data; else only the place."""
    if isinstance(error, InvalidInput):
        return f"InvalidInput: {error}"
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}"


class Pipeline:
    """Serves the runners that `load` returns. It is called on the device's thread, which so owns the device."""

    def __init__(
        self,
        load: Callable[[], Sequence[AnyRunner]],
        emit: Callable[[Event], None],
        *,
        max_batch: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = load
        self._emit = emit
        self._max_batch = max_batch or sys.maxsize
        self._clock = clock
        self._runners: dict[str, AnyRunner] = {}
        self._backlog = Backlog({})
        self._closing = False
        self._changed = threading.Condition()  # guards _backlog and _closing
        self._slot = threading.Semaphore(1)  # one prefetched batch: later binding, larger batches
        self._prefetched: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()  # holds one batch at most: see _slot
        # daemons: a device call that never returns must not keep the process from leaving after its bound
        self._collator = threading.Thread(target=self._guard, args=(self._form_batches,), name="collator", daemon=True)
        self._device = threading.Thread(target=self._guard, args=(self._serve,), name="device", daemon=True)

    def start(self) -> None:
        self._device.start()

    def stop(self, timeout_s: float) -> bool:
        """Serve what waits, then end both threads. False when they did not end in time."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._device.join(timeout_s)
        return not self._device.is_alive()

    def submit(self, model: str, requests: Sequence[Pending]) -> list[Pending]:
        """Queue requests for a served model; returns those for which there is no room."""
        with self._changed:
            refused = [pending for pending in requests if not self._backlog.add(model, pending)]
            self._changed.notify()
        return refused

    def queued(self) -> int:
        with self._changed:
            return len(self._backlog)

    def _guard(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - a thread has no caller: the server raises it
            self._emit(Stopped(error))

    # -- the collator's thread

    def _form_batches(self) -> None:
        while True:
            self._slot.acquire()
            plan = self._next_plan()
            if plan is None:
                self._prefetched.put(None)
                return
            if plan.shed:
                self._emit(Answered(tuple((p.client, Shed(p.request.id)) for p in plan.shed)))
            work = self._collate(self._runners[plan.model], plan.batch) if plan.batch else None
            if work is None:
                self._slot.release()
            else:
                self._prefetched.put(work)

    def _next_plan(self) -> Plan | None:
        """Waits for requests; None once the pipeline is closing and nothing is left."""
        with self._changed:
            while True:
                plan = self._backlog.take(self._clock())
                if plan is not None or self._closing:
                    return plan
                self._changed.wait()

    def _collate(self, runner: AnyRunner, members: tuple[Pending, ...]) -> _Work | None:
        """Collate the members, without those that cannot be; None when none is left."""
        try:
            return _Work(runner, members, runner.collate([p.request for p in members]))
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the request that causes it
            if len(members) == 1:
                self._emit(Answered(((members[0].client, Failure(members[0].request.id, describe(error))),)))
                return None
        good = tuple(p for p in members if self._collate(runner, (p,)) is not None)
        if len(good) == len(members):
            return _Work(runner, members, None)
        return self._collate(runner, good) if good else None

    # -- the device's thread

    def _serve(self) -> None:
        self._runners = {runner.name: runner for runner in self._load()}
        limits = {name: min(self._max_batch, runner.max_batch) for name, runner in self._runners.items()}
        for runner in self._runners.values():
            for requests in runner.example_batches():
                runner.split(requests, runner.forward(runner.collate(requests)))
        # what was loaded stays: the collector need not walk it again
        gc.collect()
        gc.freeze()
        with self._changed:
            self._backlog = Backlog(limits)
        self._collator.start()
        infos = tuple(ModelInfo(r.name, r.version, tuple(r.popular)) for r in self._runners.values())
        self._emit(Loaded(infos, max(limits.values())))
        while (work := self._prefetched.get()) is not None:
            self._slot.release()
            started_s = self._clock()
            replies = self._answer(work)
            self._emit(Answered(replies, len(work.members), self._clock() - started_s))
        self._collator.join()
        self._emit(Stopped(None))

    def _answer(self, work: _Work) -> tuple[tuple[Client, Reply], ...]:
        """Replies for all members: those of a batch that fails are tried once more, each alone."""
        try:
            if work.collated is not None:
                return self._run(work.runner, work.members, work.collated)
        except Exception as error:
            if is_device_fault(error):
                raise
        replies: list[tuple[Client, Reply]] = []
        for member in work.members:
            try:
                replies += self._run(work.runner, (member,), work.runner.collate([member.request]))
            except Exception as error:
                if is_device_fault(error):
                    raise
                replies.append((member.client, Failure(member.request.id, describe(error))))
        return tuple(replies)

    def _run(
        self, runner: AnyRunner, members: tuple[Pending, ...], collated: object
    ) -> tuple[tuple[Client, Reply], ...]:
        results = runner.split([p.request for p in members], runner.forward(collated))
        return tuple((p.client, result) for p, result in zip(members, results, strict=True))
