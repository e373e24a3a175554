"""Load on a worker's pipeline in this process: no sockets, no Kafka, but its real batching and threads.

`drain` hands everything over at once and takes the rate. `offer` is an open loop: requests come when they are due,
at random moments of a given rate, whatever became of the earlier ones. Latency counts from the moment they were due.
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
from model_core.batching.policy import MAX_PENDING, Client, Pending
from model_core.recommender.runner import RecommenderRunner
from schemas.inference import RecommendRequest, RecommendResult

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
        """Requests per second, of a backlog that lasts about so long."""
        size = 4 * self.runner.batching.max_batch
        while True:
            started_s = time.monotonic()
            due = [(started_s, request) for request in islice(cycle(requests), size)]
            self._hand_over(due)
            ended_s = max(at_s for at_s, _ in self._answers(size))
            rate = size / (ended_s - started_s)
            if size == MAX_PENDING or size >= rate * seconds / 2:
                return rate
            size = min(MAX_PENDING, max(2 * size, int(rate * seconds)))

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
        answers = self._answers(len(waiting))
        latency_ms = [1000 * (at_s - due_s[number]) for at_s, number in answers]
        p50, p90, p99 = np.percentile(latency_ms, (50, 90, 99)).tolist()
        late_ms = float(np.percentile(late_s, 99)) * 1000
        return Served(p50, p90, p99, len(waiting) / self._batches, late_ms)

    def _hand_over(self, due: Sequence[tuple[float, RecommendRequest]]) -> dict[int, float]:
        """Submit; the moment that each was due, by its new id."""
        pending, due_s = [], {}
        for moment_s, request in due:
            number = next(self._numbers)
            due_s[number] = moment_s
            tokens = self._pipeline.tokens(self.runner.name, request)
            pending.append(Pending(self._client, replace(request, id=number), moment_s + BUDGET_S, tokens))
        self._client.outstanding |= due_s.keys()
        refused = self._pipeline.submit(self.runner.name, pending)
        if refused:
            raise BrokenError(f"{len(refused)} requests found no room: the rate is beyond the capacity")
        return due_s

    def _answers(self, wanted: int) -> list[tuple[float, int]]:
        """When each was answered, with its id. Raises BrokenError when one could not be."""
        answers: list[tuple[float, int]] = []
        self._batches = 0
        while len(answers) < wanted:
            at_s, event = self._events.get()
            if not isinstance(event, Answered):
                raise BrokenError("the worker broke") from getattr(event, "error", None)
            self._batches += event.ran is not None
            for _, reply in event.replies:
                if not isinstance(reply, RecommendResult):
                    raise BrokenError(f"a request was not answered: {reply}")
                self._client.outstanding.discard(reply.id)
                answers.append((at_s, reply.id))
        return answers
