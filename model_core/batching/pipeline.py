"""Three threads from requests to replies: one binds and collates batches, one owns the device, one words the answers.

    submit -> Backlog -> [reserve the slot, bind, collate] -> one prefetched batch -> [forward] -> [split] -> events

While the device runs batch N, batch N+1 is bound and collated, just in time, and the answers of batch N-1 are worded.
At most one batch is prefetched, and at most two outputs wait to be worded. Knows nothing of sockets and of the
protocol's epochs; what happens is told through `emit`, which all threads call.
"""

import gc
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from model_core.batching.cost import CostModel, Line
from model_core.batching.failures import describe, is_device_fault
from model_core.batching.generation import Generation
from model_core.batching.policy import Backlog, Client, Later, Pending, Plan
from model_core.runner import AnyRunner, Batching, GeneratingRunner, ModelRunner
from schemas.inference import Failure, ModelInfo, RecommendRequest, Reply, Shed

LEAD = 1.5  # times the usual time to collate, so that a batch is seldom late for the device
LEAD_S = 0.001  # to wake and to hand over
OUTPUTS = 2  # one being worded, one waiting: the device never waits for words unless they are its bottleneck


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models have answered every example batch."""

    models: tuple[ModelInfo, ...]
    max_batch: int


@dataclass(frozen=True, slots=True)
class Ran:
    """One batch's sizes and times. `tokens`: of its requests before padding to `length`."""

    model: str
    requests: int
    length: int
    tokens: int
    collate_s: float
    forward_s: float
    reply_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """Replies to send, and what was run for them, if anything was."""

    replies: tuple[tuple[Client, Reply], ...]
    ran: Ran | None = None


@dataclass(frozen=True, slots=True)
class Stopped:
    """The pipeline is over: asked to (`error` None), or for a reason that the process should not survive."""

    error: BaseException | None


Event: TypeAlias = Loaded | Answered | Stopped


@dataclass(frozen=True, slots=True)
class _Work:
    """A bound batch. `collated` is None where its members can be collated each alone but not together.

    `again`: it was on the device before and its answers could not be worded; it holds no slot.
    """

    model: str
    members: tuple[Pending, ...]
    length: int
    collated: Any | None
    collate_s: float = 0.0
    again: bool = False


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
        self._max_batch = max_batch
        self._clock = clock
        self._models: dict[str, AnyRunner] = {}  # each is in one of the next two
        self._runners: dict[str, ModelRunner[Any, Any, Any]] = {}
        self._generations: dict[str, Generation] = {}
        self._costs: Mapping[str, CostModel] = {}
        self._backlog = Backlog({}, {})
        self._closing = False
        self._free_s: float | None = None  # when the device is expected to be free; None while it is
        self._changed = threading.Condition()  # guards _backlog, _costs, _closing and _free_s
        self._slot = threading.Semaphore(1)  # one prefetched batch: later binding, larger batches
        self._collating = Line()  # seconds to collate n requests
        # holds one batch at most (see _slot), and now and then one that is tried again
        self._prefetched: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._outputs: queue.Queue[tuple[_Work, Any, float] | None] = queue.Queue(OUTPUTS)
        # daemons: a device call that never returns must not keep the process from leaving after its bound
        self._collator, self._device, self._writer = (
            threading.Thread(target=self._guard, args=(body,), name=name, daemon=True)
            for name, body in (("collator", self._bind), ("device", self._serve), ("writer", self._word))
        )

    def start(self) -> None:
        """Start all threads, so that each inherits the caller's cores; `load` may choose others for the device's."""
        for thread in (self._device, self._collator, self._writer):
            thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Serve what waits, then end all threads. False when they did not end in time."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._device.join(timeout_s)
        return not self._device.is_alive()

    def tokens(self, model: str, request: RecommendRequest) -> int:
        """How long this request is, as its model says."""
        return self._models[model].tokens(request)

    def submit(self, model: str, requests: Sequence[Pending]) -> list[Pending]:
        """Queue requests for a served model; returns those for which there is no room."""
        with self._changed:
            refused = [pending for pending in requests if not self._backlog.add(model, pending)]
            self._changed.notify_all()
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

    def _bind(self) -> None:
        while True:
            self._slot.acquire()
            plan = self._next_plan()
            if plan is None:
                self._prefetched.put(None)
                return
            if plan.shed:
                self._emit(Answered(tuple((p.client, Shed(p.request.id)) for p in plan.shed)))
            if plan.batch:
                work = self._collate(plan.model, plan.batch, plan.length)
            else:  # a step for those who are in, or nothing but who was shed
                work = _Work(plan.model, (), plan.length, None) if plan.model in self._generations else None
            if work is None:
                self._slot.release()
            else:
                self._prefetched.put(work)

    def _next_plan(self) -> Plan | None:
        """Waits for requests; None once the pipeline is closing and nothing is left."""
        with self._changed:
            while True:
                now_s = self._clock()
                lead_s = LEAD * self._collating.mean_s(len(self._backlog)) + LEAD_S
                plan = self._backlog.take(now_s, now_s if self._free_s is None else self._free_s, lead_s)
                if isinstance(plan, Plan) or (plan is None and self._closing):
                    return plan
                self._changed.wait(plan.at_s - now_s if isinstance(plan, Later) else None)

    def _collate(self, model: str, members: tuple[Pending, ...], length: int) -> _Work | None:
        """Collate the members, without those that cannot be; None when none is left."""
        started_s = self._clock()
        try:
            collated = self._models[model].collate([p.request for p in members])
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the request that causes it
            if len(members) == 1:
                self._emit(Answered(((members[0].client, Failure(members[0].request.id, describe(error))),)))
                return None
        else:
            took_s = self._clock() - started_s
            self._collating.observe(len(members), took_s)
            return _Work(model, members, length, collated, took_s)
        good = tuple(p for p in members if self._collate(model, (p,), length) is not None)
        if len(good) == len(members):
            return _Work(model, members, length, None)
        return self._collate(model, good, length) if good else None

    # -- the device's thread

    def _serve(self) -> None:
        self._models = {model.name: model for model in self._load()}
        for name, model in self._models.items():
            if isinstance(model, GeneratingRunner):
                self._generations[name] = Generation(model)
            else:
                self._runners[name] = model
        batchings = {name: _limited(model.batching, self._max_batch) for name, model in self._models.items()}
        self._costs = {name: CostModel(batching.lengths) for name, batching in batchings.items()}
        for name, model in self._models.items():
            for requests in model.example_batches():
                for _ in range(2):  # the first time is that of compilers and caches, the second teaches the cost
                    took_s = self._warm(model, requests)
                length = model.batching.padded(max(map(model.tokens, requests)))
                self._costs[name].observe(length, len(requests), took_s)
        # what was loaded stays: the collector need not walk it again
        gc.collect()
        gc.freeze()
        with self._changed:
            self._backlog = Backlog(batchings, self._costs)
        infos = tuple(
            ModelInfo(m.name, m.version, tuple(m.popular), getattr(m, "notes", "")) for m in self._models.values()
        )
        self._emit(Loaded(infos, max(batching.max_batch for batching in batchings.values())))
        while (work := self._prefetched.get()) is not None:
            self._run(work)
        self._collator.join()
        self._outputs.put(None)
        self._writer.join()
        while not self._prefetched.empty():  # the last words failed
            if (work := self._prefetched.get()) is not None:
                self._run(work)
        self._emit(Stopped(None))

    def _warm(self, model: AnyRunner, requests: Sequence[RecommendRequest]) -> float:
        """Run an example; how long the device took, of a continuous model for its last step."""
        batch, started_s = model.collate(requests), self._clock()
        if not isinstance(model, GeneratingRunner):
            output, took_s = model.forward(batch), self._clock() - started_s
            model.split(requests, output)
            return took_s
        left = len(requests) - len(model.step(batch))
        while left:
            started_s = self._clock()
            left -= len(model.step(None))
        return self._clock() - started_s

    def _run(self, work: _Work) -> None:
        started_s = self._clock()
        size = max(1, len(work.members))
        with self._changed:
            self._free_s = started_s + self._costs[work.model].mean_s(work.length, size)
        if not work.again:
            self._slot.release()
        generation = self._generations.get(work.model)
        output = self._forward(work) if generation is None else self._step(generation, work)
        took_s = self._clock() - started_s
        if output is None:
            self._emit(Answered(self._one_by_one(work)))
        with self._changed:
            self._free_s = None
            self._backlog.ran(work.model, took_s)
            if output is not None:
                self._costs[work.model].observe(work.length, size, took_s)
            if generation is not None:
                self._backlog.generating(work.model, len(generation))
            self._changed.notify_all()
        if output is not None and generation is None:
            self._outputs.put((work, output, took_s))

    def _forward(self, work: _Work) -> Any | None:
        """The output of a batch; None where it failed, or cannot be one."""
        if work.collated is None:
            return None
        try:
            return self._runners[work.model].forward(work.collated)
        except Exception as error:
            if is_device_fault(error):
                raise
            return None

    def _step(self, generation: Generation, work: _Work) -> Ran:
        """A step of a continuous model; those who can only be taken in one by one take one each."""
        started_s = self._clock()
        if work.members and work.collated is None:
            collate = self._models[work.model].collate
            replies = [reply for member in work.members
                       for reply in generation.step([member], collate([member.request]))]
        else:
            replies = generation.step(work.members, work.collated)
        tokens = sum(member.tokens for member in work.members)
        ran = Ran(work.model, len(work.members), work.length, tokens, work.collate_s, self._clock() - started_s, 0.0)
        self._emit(Answered(tuple(replies), ran))
        return ran

    def _one_by_one(self, work: _Work) -> tuple[tuple[Client, Reply], ...]:
        """Replies for all members of a batch that failed: each is tried once more, alone."""
        runner = self._runners[work.model]
        replies: list[tuple[Client, Reply]] = []
        for member in work.members:
            requests = [member.request]
            reply: Reply
            try:
                (reply,) = runner.split(requests, runner.forward(runner.collate(requests)))
            except Exception as error:
                if is_device_fault(error):
                    raise
                reply = Failure(member.request.id, describe(error))
            replies.append((member.client, reply))
        return tuple(replies)

    # -- the writer's thread

    def _word(self) -> None:
        while (finished := self._outputs.get()) is not None:
            work, output, forward_s = finished
            started_s = self._clock()
            try:
                results = self._runners[work.model].split([p.request for p in work.members], output)
                replies = tuple((p.client, result) for p, result in zip(work.members, results, strict=True))
            except Exception as error:
                if is_device_fault(error):
                    raise
                self._prefetched.put(replace(work, collated=None, again=True))
                continue
            ran = Ran(
                work.model, len(work.members), work.length, sum(p.tokens for p in work.members),
                work.collate_s, forward_s, self._clock() - started_s,
            )
            self._emit(Answered(replies, ran))


def _limited(batching: Batching, max_batch: int | None) -> Batching:
    return replace(batching, max_batch=min(batching.max_batch, max_batch)) if max_batch else batching
