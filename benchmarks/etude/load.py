"""Load on a worker's pipeline in this process: no sockets, no Kafka, but its real batching and threads.

`drain` keeps more waiting than a batch takes, and counts the answers. `offer` is an open loop: requests come when they
are due, at random moments of a given rate, whatever became of the earlier ones. Latency counts from that moment on.
"""

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, cycle, islice
from typing import Self

import numpy as np
from msgspec.structs import replace

from benchmarks.arrivals import poisson, when_due
from model_core.batching.events import Answered, Event, Loaded
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.recommender.runner import RecommenderRunner
from schemas.inference import RecommendRequest, RecommendResult

AHEAD = 4  # full batches that wait in a drain
BUDGET_S = 600.0  # nothing is shed: what is late is to be seen


class BrokenError(RuntimeError):
    """What was loaded does not answer."""


@dataclass(frozen=True, slots=True)
class Served:
    """Of one open loop. `late_ms`: how long after its moment a request was handed over, p99: the sender's own fault."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_batch: float
    late_ms: float


class LoadedPipeline:
    """A pipeline that has loaded and warmed what `load` returns. A context manager.

    `load_s`: of the model onto the device; `warm_s`: of its example batches.
    """

    def __init__(self, load: Callable[[], RecommenderRunner]) -> None:
        self._events: queue.SimpleQueue[tuple[float, Event]] = queue.SimpleQueue()
        self._pipeline = Pipeline(self._timed(load), lambda event: self._events.put((time.monotonic(), event)))
        self._client = Client(b"etude", 0.0)
        self._numbers = count()
        self._answered: list[tuple[float, int]] = []  # when, and the id
        self._batches = 0
        self._pipeline.start()
        ready_s, event = self._events.get()
        if not isinstance(event, Loaded):
            raise BrokenError("the model could not be loaded") from getattr(event, "error", None)
        self.warm_s = ready_s - self._loaded_s

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline.stop(10.0)

    def _timed(self, load: Callable[[], RecommenderRunner]) -> Callable[[], list[RecommenderRunner]]:
        def timed() -> list[RecommenderRunner]:
            started_s = time.monotonic()
            self.runner = load()
            self._loaded_s = time.monotonic()
            self.load_s = self._loaded_s - started_s
            return [self.runner]

        return timed

    def drain(self, requests: Sequence[RecommendRequest], seconds: float) -> float:
        """Requests answered per second, over so long, while as many more always wait."""
        waiting = cycle(requests)
        started_s = time.monotonic()
        submitted = answered = 0
        ahead = AHEAD * self.runner.batching.max_batch
        while True:
            more = answered + ahead - submitted
            submitted += more
            self._hand_over([(started_s, request) for request in islice(waiting, more)])
            self._take()
            answered = len(self._answered)
            took_s = time.monotonic() - started_s
            if took_s >= seconds and answered:
                self._answers(submitted)
                return answered / took_s

    def offer(self, requests: Sequence[RecommendRequest], rate: float, seconds: float, seed: int) -> Served:
        """Offer so many requests per second for so long."""
        start_s = time.monotonic() + 0.01
        moments_s = [start_s + at_s for at_s in poisson(rate, seconds, seed)] or [start_s]
        waiting = list(zip(moments_s, cycle(requests), strict=False))
        due_s: dict[int, float] = {}
        late_s: list[float] = []
        for now_due in when_due(moments_s):
            now_s = time.monotonic()
            late_s += [now_s - moment_s for moment_s in moments_s[now_due]]
            due_s |= self._hand_over(waiting[now_due])
        answers, batches = self._answers(len(waiting))
        latency_ms = [1000 * (at_s - due_s[number]) for at_s, number in answers]
        p50, p90, p99 = np.percentile(latency_ms, (50, 90, 99)).tolist()
        late_ms = float(np.percentile(late_s, 99)) * 1000
        return Served(p50, p90, p99, len(waiting) / batches, late_ms)

    def _hand_over(self, due: Sequence[tuple[float, RecommendRequest]]) -> dict[int, float]:
        """Submit, as soon as there is room; the moment that each was due, by its new id."""
        pending, due_s = [], {}
        for moment_s, request in due:
            number = next(self._numbers)
            due_s[number] = moment_s
            tokens = self._pipeline.tokens(self.runner.name, request)
            pending.append(Pending(self._client, replace(request, id=number), moment_s + BUDGET_S, tokens))
        self._client.outstanding |= due_s.keys()
        while pending := self._pipeline.submit(self.runner.name, pending):
            self._take()
        return due_s

    def _answers(self, wanted: int) -> tuple[list[tuple[float, int]], int]:
        """When each was answered, with its id, once so many are; and in how many batches."""
        while len(self._answered) < wanted:
            self._take()
        answers, batches = self._answered, self._batches
        self._answered, self._batches = [], 0
        return answers, batches

    def _take(self) -> None:
        """Wait for a batch. Raises BrokenError where something was not answered."""
        at_s, event = self._events.get()
        if not isinstance(event, Answered):
            raise BrokenError("the worker broke") from getattr(event, "error", None)
        self._batches += event.ran is not None
        for _, reply in event.replies:
            if not isinstance(reply, RecommendResult):
                raise BrokenError(f"a request was not answered: {reply}")
            self._client.outstanding.discard(reply.id)
            self._answered.append((at_s, reply.id))
