"""What a worker has done since its models were ready: counts, sizes and times. Knows nothing of sockets and threads.

All is counted on the thread that owns the sockets, batch by batch, so that nothing here needs a lock.
"""

from dataclasses import dataclass, field
from typing import Any

from model_core.batching.events import Ran
from schemas.control import ModelRuns, ReloadCounts, ShedCounts, WorkerStats


@dataclass(slots=True)
class _Runs:
    batches: int = 0
    requests: int = 0
    largest: int = 0
    sizes: list[int] = field(default_factory=list)  # batches of 1, 2, 3 to 4, 5 to 8, …
    tokens: int = 0
    padded_tokens: int = 0
    wait_s: float = 0.0
    collate_s: float = 0.0
    forward_s: float = 0.0
    reply_s: float = 0.0
    misjudged: float = 0.0

    def add(self, ran: Ran) -> None:
        self.batches += 1
        self.requests += ran.requests
        self.largest = max(self.largest, ran.requests)
        doublings = max(0, ran.requests - 1).bit_length()
        self.sizes += [0] * (doublings + 1 - len(self.sizes))
        self.sizes[doublings] += 1
        self.tokens += ran.tokens
        self.padded_tokens += ran.requests * ran.length
        self.wait_s += ran.wait_s
        self.collate_s += ran.collate_s
        self.forward_s += ran.forward_s
        self.reply_s += ran.reply_s
        if ran.forward_s:
            self.misjudged += abs(ran.predicted_s - ran.forward_s) / ran.forward_s

    def means(self, model: str) -> ModelRuns:
        def mean_ms(seconds: float, count: int) -> float:
            return 1000 * seconds / count if count else 0.0

        return ModelRuns(
            model=model, batches=self.batches, requests=self.requests, mean_batch_size=self.requests / self.batches,
            max_batch_size=self.largest, batch_sizes=tuple(self.sizes),
            padding_share=1 - min(1.0, self.tokens / self.padded_tokens) if self.padded_tokens else 0.0,
            wait_ms=mean_ms(self.wait_s, self.requests), collate_ms=mean_ms(self.collate_s, self.batches),
            forward_ms=mean_ms(self.forward_s, self.batches), reply_ms=mean_ms(self.reply_s, self.batches),
            cost_error=self.misjudged / self.batches,
        )


@dataclass(slots=True)
class Statistics:
    """Counts, to be raised by who sees what is counted; `schemas.control.WorkerStats` says what they mean."""

    failures: int = 0
    shed_excess: int = 0
    shed_late: int = 0
    cancelled: int = 0
    unwanted: int = 0
    ignored: int = 0
    reloaded: int = 0
    rolled_back: int = 0
    _runs: dict[str, _Runs] = field(default_factory=dict)

    def ran(self, ran: Ran) -> None:
        """Count a batch."""
        self._runs.setdefault(ran.model, _Runs()).add(ran)

    def report(self, ready_s: float, idle_s: float, **state: Any) -> WorkerStats:
        """With what the server knows of its `state`. `idle_s`: of the time since it was ready, waited for work."""
        runs = self._runs.values()
        batches, requests = sum(one.batches for one in runs), sum(one.requests for one in runs)
        busy_s = sum(one.forward_s for one in runs)
        return WorkerStats(
            batches=batches, requests=requests, failures=self.failures,
            shed=ShedCounts(excess=self.shed_excess, late=self.shed_late),
            cancelled=self.cancelled, unwanted=self.unwanted, ignored=self.ignored,
            mean_batch_size=requests / batches if batches else 0.0,
            busy_share=min(1.0, busy_s / ready_s) if batches else 0.0,
            idle_share=min(1.0, idle_s / ready_s) if idle_s else 0.0,
            reloads=ReloadCounts(ok=self.reloaded, rolled_back=self.rolled_back),
            runs=tuple(one.means(model) for model, one in self._runs.items()),
            **state,
        )
