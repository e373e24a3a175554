"""Three threads from requests to replies: one binds and collates batches, one owns the device, one words the answers.

    submit -> Backlog -> [reserve the slot, bind, collate] -> one prefetched batch -> [forward] -> [split] -> events

While the device runs batch N, batch N+1 is bound and collated, just in time, and the answers of batch N-1 are worded.
At most one batch is prefetched, and at most two outputs wait to be worded. Knows nothing of sockets and of the
protocol's epochs; what happens is told through `emit`, which all threads call.

A batch belongs to the runner that collated it until it is answered. So a model is reloaded by a mark in this stream
(`batching.reload.Swap`): what was bound before it is answered by the old runner, what comes after by the new one.
"""

import gc
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from model_core.batching import canary
from model_core.batching.cost import CostModel
from model_core.batching.events import Answered, Event, Loaded, Ran, Stopped, Swapped
from model_core.batching.failures import describe, is_device_fault
from model_core.batching.generation import Generation
from model_core.batching.policy import Backlog, Client, Later, Pending, Plan
from model_core.batching.reload import Reloader, Swap
from model_core.batching.warmup import warm
from model_core.batching.work import Output, Work
from model_core.runner import AnyRunner, Batching, GeneratingRunner
from schemas.control import Reload
from schemas.inference import Failure, ModelInfo, Reply, Request, Shed

OUTPUTS = 2  # one being worded, one waiting: the device never waits for words unless they are its bottleneck


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
        self._models: dict[str, AnyRunner] = {}  # who runs the next batch
        self._generations: dict[str, Generation] = {}
        self._latest: dict[str, canary.Answers] = {}  # of each model: what a successor is tried with
        self._costs: Mapping[str, CostModel] = {}
        self._backlog = Backlog({}, {})
        self._closing = False
        self._free_s: float | None = None  # when the device is expected to be free; None while it is
        self._changed = threading.Condition()  # guards _backlog, _costs, _closing and _free_s
        self._slot = threading.Semaphore(1)  # one prefetched batch: later binding, larger batches
        # holds one batch at most (see _slot), and now and then one that is tried again, or a swap
        self._prefetched: queue.SimpleQueue[Work | Swap | None] = queue.SimpleQueue()
        self._outputs: queue.Queue[Output | Swap | None] = queue.Queue(OUTPUTS)
        self._idle: tuple[float, float | None] = (0.0, None)  # seconds without work until now, and since when again
        self._reloader = Reloader(emit, self._changed, clock)
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
        self._reloader.abandon()
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._device.join(timeout_s)
        self._reloader.join(timeout_s)
        return not self._device.is_alive()

    def reload(self, asked: Reload) -> None:
        """Begin to replace a model by another checkpoint: `Swapped` or `Kept` tells how that ended.

        Raises `KeyError` for a model that is not served, `ReloadRefused` where it cannot begin.
        """
        self._reloader.start(self._models[asked.model], asked, self._latest.get(asked.model, ()))

    def abandon_reload(self) -> None:
        """Reload nothing any more."""
        self._reloader.abandon()

    def takes(self, model: str, requests: Sequence[Request]) -> bool:
        """Whether these are requests for a model of this kind."""
        kind = self._models[model].takes
        return all(isinstance(request, kind) for request in requests)

    def tokens(self, model: str, request: Request) -> int:
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

    def idle_s(self) -> float:
        """For how long the device has waited for work since the models were ready."""
        until_now_s, since_s = self._idle
        return until_now_s + (self._clock() - since_s if since_s is not None else 0.0)

    def _guard(self, body: Callable[[], None]) -> None:
        try:
            body()
        except BaseException as error:  # noqa: BLE001 - a thread has no caller: the server raises it
            self._emit(Stopped(error))

    # -- the collator's thread

    def _bind(self) -> None:
        while self._bind_one():
            pass

    def _bind_one(self) -> bool:
        """Fill the slot once it is free; False when nothing will come any more."""
        self._slot.acquire()
        plan = self._next_plan()
        if not isinstance(plan, Plan):
            self._prefetched.put(plan)
            self._slot.release()
            return plan is not None
        if plan.shed:
            self._emit(Answered(tuple((p.client, Shed(p.request.id)) for p in plan.shed)))
        runner = self._models[plan.model]
        if plan.batch:
            work = self._collate(runner, plan.batch, plan.length)
        else:  # a step for those who are in, or nothing but who was shed
            work = Work(runner, (), plan.length, None) if plan.model in self._generations else None
        if work is None:
            self._slot.release()
        else:
            self._prefetched.put(work)
        return True

    def _next_plan(self) -> Plan | Swap | None:
        """Waits for requests; None once the pipeline is closing and nothing is left."""
        with self._changed:
            while True:
                swap = self._reloader.due()
                if swap is not None:
                    self._models[swap.runner.name] = swap.runner
                    return swap
                now_s = self._clock()
                plan = self._backlog.take(now_s, now_s if self._free_s is None else self._free_s)
                if isinstance(plan, Plan) or (plan is None and self._closing):
                    return plan
                self._changed.wait(plan.at_s - now_s if isinstance(plan, Later) else None)

    def _collate(self, runner: AnyRunner, members: tuple[Pending, ...], length: int) -> Work | None:
        """Collate the members, without those that cannot be; None when none is left."""
        started_s = self._clock()
        try:
            collated = runner.collate([p.request for p in members])
        except Exception as error:  # noqa: BLE001 - whatever a model raises belongs to the request that causes it
            if len(members) == 1:
                failure = Failure(members[0].request.id, describe(error))
                self._emit(Answered(((members[0].client, failure),), runner.version))
                return None
        else:
            took_s = self._clock() - started_s
            with self._changed:
                self._backlog.collated(runner.name, len(members), took_s)
            wait_s = sum(started_s - p.arrived_s for p in members)
            return Work(runner, members, length, collated, wait_s, took_s)
        good = tuple(p for p in members if self._collate(runner, (p,), length) is not None)
        if len(good) == len(members):
            return Work(runner, members, length, None)
        return self._collate(runner, good, length) if good else None

    # -- the device's thread

    def _serve(self) -> None:
        self._load_and_warm()
        while (work := self._next_work()) is not None:
            if isinstance(work, Swap):
                self._outputs.put(work)
            else:
                self._run(work)
            del work  # or it would hold its runner until there is more to do
        self._collator.join()
        self._outputs.put(None)
        self._writer.join()
        while not self._prefetched.empty():  # the last words failed
            if isinstance(work := self._prefetched.get(), Work):
                self._run(work)
        self._emit(Stopped(None))

    def _load_and_warm(self) -> None:
        self._models = {model.name: model for model in self._load()}
        for name, model in self._models.items():
            if isinstance(model, GeneratingRunner):
                self._generations[name] = Generation(model)
        batchings = {name: _limited(model.batching, self._max_batch) for name, model in self._models.items()}
        self._costs = {name: CostModel(batching.lengths) for name, batching in batchings.items()}
        for name, model in self._models.items():
            for warmed in warm(model, self._clock, times=2):
                self._costs[name].observe(warmed.length, warmed.size, warmed.took_s)
                self._remember(name, warmed.answers)
        # what was loaded stays: the collector need not walk it again
        gc.collect()
        gc.freeze()
        with self._changed:
            self._backlog = Backlog(batchings, self._costs)
        infos = tuple(_info(model) for model in self._models.values())
        self._emit(Loaded(infos, max(batching.max_batch for batching in batchings.values())))

    def _next_work(self) -> Work | Swap | None:
        idle_s = self._idle[0]
        since_s = self._clock()
        self._idle = idle_s, since_s
        work = self._prefetched.get()
        self._idle = idle_s + self._clock() - since_s, None
        return work

    def _run(self, work: Work) -> None:
        started_s = self._clock()
        size = max(1, len(work.members))
        with self._changed:
            predicted_s = self._costs[work.model].mean_s(work.length, size)
            self._free_s = started_s + predicted_s
        if not work.again:
            self._slot.release()
        generation = self._generations.get(work.model)
        output = self._forward(work) if generation is None else self._step(generation, work, predicted_s)
        took_s = self._clock() - started_s
        if output is None:
            self._emit(Answered(self._one_by_one(work), work.runner.version))
        with self._changed:
            self._free_s = None
            self._backlog.ran(work.model, took_s, started_s + took_s)
            if output is not None:
                self._costs[work.model].observe(work.length, size, took_s)
            if generation is not None:
                self._backlog.generating(work.model, len(generation))
            self._changed.notify_all()
        if output is not None and generation is None:
            self._outputs.put(Output(work, output, predicted_s, took_s))

    def _forward(self, work: Work) -> Any | None:
        """The output of a batch; None where it failed, or cannot be one."""
        if work.collated is None:
            return None
        try:
            return work.runner.forward(work.collated)
        except Exception as error:
            if is_device_fault(error):
                raise
            return None

    def _step(self, generation: Generation, work: Work, predicted_s: float) -> Ran:
        """A step of a continuous model; those who can only be taken in one by one take one each."""
        started_s = self._clock()
        if work.members and work.collated is None:
            replies = [reply for member in work.members
                       for reply in generation.step([member], work.runner.collate([member.request]))]
        else:
            replies = generation.step(work.members, work.collated)
        ran = work.ran(predicted_s, self._clock() - started_s, 0.0)
        self._emit(Answered(tuple(replies), work.runner.version, ran))
        return ran

    def _one_by_one(self, work: Work) -> tuple[tuple[Client, Reply], ...]:
        """Replies for all members of a batch that failed: each is tried once more, alone."""
        runner = work.runner
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
            if isinstance(finished, Swap):
                self._swapped(finished)
            else:
                self._word_one(finished)
            del finished

    def _word_one(self, finished: Output) -> None:
        work, started_s = finished.work, self._clock()
        requests = [member.request for member in work.members]
        try:
            results = work.runner.split(requests, finished.output)
            replies = tuple((p.client, result) for p, result in zip(work.members, results, strict=True))
        except Exception as error:
            if is_device_fault(error):
                raise
            self._prefetched.put(replace(work, collated=None, again=True))
            return
        ran = work.ran(finished.predicted_s, finished.forward_s, self._clock() - started_s)
        self._emit(Answered(replies, work.runner.version, ran))
        self._remember(work.model, tuple(zip(requests, results, strict=True)))

    def _remember(self, model: str, answers: canary.Answers) -> None:
        self._latest[model] = (*self._latest.get(model, ()), *answers)[-canary.REQUESTS :]

    def _swapped(self, swap: Swap) -> None:
        """All batches of the old model are answered."""
        self._latest[swap.runner.name] = swap.answers
        self._reloader.over()
        self._emit(Swapped(_info(swap.runner), swap.previous, swap.overlap, swap.took_s))
        swap.done.set()


def _info(model: AnyRunner) -> ModelInfo:
    return ModelInfo(model.name, model.version, tuple(model.popular), getattr(model, "notes", ""))


def _limited(batching: Batching, max_batch: int | None) -> Batching:
    return replace(batching, max_batch=min(batching.max_batch, max_batch)) if max_batch else batching
