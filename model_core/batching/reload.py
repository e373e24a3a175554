"""Another checkpoint for a model that serves: read, warmed and tried on a thread beside, taken up between two batches.

The model in service does not stop, and does not change: its successor is a runner of its own, so that a batch under way
keeps the weights, items and buffers that it was collated for, and rolling back is to drop the successor. That takes the
memory of two models for a moment; where it cannot be had, the old one stays. (Copying the weights into the old runner's
tensors would keep the addresses of CUDA graphs, but not the size of the catalogue, and would need the old weights
kept aside for the way back; a successor captures graphs of its own while it is warmed.)

A `Swap` then travels through the pipeline like a batch: batches before it are by the old model, batches after it by the
new one, and no batch waits for it. Who knows no other place frees the old model's memory: this thread.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model_core.batching.canary import Answers, judge
from model_core.batching.events import Event, Kept, Stopped
from model_core.batching.failures import describe, is_device_fault
from model_core.batching.warmup import warm
from model_core.runner import AnyRunner, CheckpointError, ModelRunner, Reloadable
from schemas.control import Reload
from schemas.inference import Result

UNDER_WAY = "a reload is under way: ask again when it is over (`footfall worker stats` counts them)"
TOLD_TO_STOP = "the worker was told to stop: its successor can be started with the new checkpoint"
RELEASE_S = 60.0  # for batches under way; then the last of them frees the old model's memory


class ReloadRefused(RuntimeError):  # noqa: N818 - what became of the question
    """A reload was not begun; the message says why."""


@dataclass(frozen=True, slots=True, eq=False)
class Swap:
    """A model that is ready to take over, and its answers in the trial. `done`: all batches of the old are."""

    runner: ModelRunner[Any, Any, Any]
    previous: str
    answers: Answers
    overlap: float
    took_s: float
    done: threading.Event


class Reloader:
    """One reload at a time. `changed` is the pipeline's lock; its waiters are woken when a swap is due."""

    def __init__(
        self, emit: Callable[[Event], None], changed: threading.Condition, clock: Callable[[], float]
    ) -> None:
        self._emit = emit
        self._changed = changed
        self._clock = clock
        self._under_way = self._abandoned = False
        self._due: Swap | None = None
        self._thread: threading.Thread | None = None

    def start(self, runner: AnyRunner, asked: Reload, before: Answers) -> None:
        """Begin; how it ends is told as an event. `before`: what the runner answered lately.

        Raises `ReloadRefused` where it cannot begin.
        """
        if not isinstance(runner, Reloadable):
            raise ReloadRefused(f"model {asked.model!r} cannot be reloaded: start another worker, and stop this one")
        with self._changed:
            if self._abandoned:
                raise ReloadRefused(TOLD_TO_STOP)
            if self._under_way:
                raise ReloadRefused(UNDER_WAY)
            self._under_way = True
        # a daemon: reading from a disk that hangs must not keep the process from leaving
        self._thread = threading.Thread(target=self._run, args=(runner, asked, before), name="reload", daemon=True)
        self._thread.start()

    def due(self) -> Swap | None:
        """The swap to be made now, once. The caller holds the lock."""
        due, self._due = self._due, None
        return due

    def over(self) -> None:
        """The new model serves: another reload may begin."""
        with self._changed:
            self._under_way = False

    def abandon(self) -> None:
        """Begin no reload any more, and let the one under way have no effect, unless its swap is due already."""
        with self._changed:
            self._abandoned = True

    def join(self, timeout_s: float) -> None:
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self, runner: Any, asked: Reload, before: Answers) -> None:
        try:
            done = self._prepare(runner, asked, before)
        except Exception as error:  # noqa: BLE001 - whatever a checkpoint makes go wrong, the old one goes on
            if is_device_fault(error):
                self._emit(Stopped(error))
                return
            self.over()
            self._emit(Kept(asked.model, str(error) if isinstance(error, CheckpointError) else describe(error)))
        else:
            done.wait(RELEASE_S)

    def _prepare(self, runner: Any, asked: Reload, before: Answers) -> threading.Event:
        started_s = self._clock()
        successor: ModelRunner[Any, Any, Any] = runner.successor(Path(asked.path), asked.sha256)
        self._go_on()
        if successor.batching != runner.batching:
            raise CheckpointError(
                f"it is served in other batches ({successor.batching}) than the model in service ({runner.batching}): "
                "start a worker with it, and stop this one"
            )
        if runner.popular and not successor.popular:
            raise CheckpointError("it names no popular items, which agents fall back on: train it again")
        for _ in warm(successor, self._clock):
            self._go_on()
        results = _ask(successor, before)
        overlap = judge(before, results, asked.min_overlap)
        answers = tuple((request, result) for (request, _), result in zip(before, results, strict=True))
        took_s = self._clock() - started_s
        swap = Swap(successor, runner.version, answers, overlap, took_s, threading.Event())
        with self._changed:
            self._go_on()
            self._due = swap
            self._changed.notify_all()
        return swap.done

    def _go_on(self) -> None:
        if self._abandoned:
            raise CheckpointError(TOLD_TO_STOP)


def _ask(runner: ModelRunner[Any, Any, Any], before: Answers) -> list[Result]:
    """The runner's answers to these requests, in batches that it can take."""
    requests = [request for request, _ in before]
    longest = runner.batching.padded(max(map(runner.tokens, requests), default=1))
    size = runner.batching.room(longest)
    return [
        result
        for at in range(0, len(requests), size)
        for result in runner.split(requests[at : at + size], runner.forward(runner.collate(requests[at : at + size])))
    ]
