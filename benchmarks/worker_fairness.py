"""The fairness section of `benchmarks.worker`: what an eager model pays for sharing its device with other classes.

The pipeline as it is, on real threads, with three models that sleep in place of computing, so that they share one
device and no CPU: an eager one (`a + b·n` ms a batch), a continuous one and a deferred one, whose steps are long. Eager
requests come open loop, at the times of a Poisson process whether or not the worker keeps up, and their latency counts
from those times. The others always have enough to do. Per share of the eager model's capacity: its p99 alone, beside
each of the others and beside both; the variants take turns, round after round.
"""

import itertools
import statistics
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Raw

from benchmarks import reports
from benchmarks.arrivals import poisson, when_due
from model_core.batching.events import Answered, Event, Loaded, Stopped
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.runner import AnyRunner, Batching, Service
from schemas.inference import RecommendRequest, RecommendResult, Reply, Shed

EAGER_A_MS, EAGER_B_MS, EAGER_BATCH = 8.0, 0.2, 64
STEP_MS = {"continuous": 20.0, "deferred": 30.0}
STEPS = 8  # of one generation
AT_ONCE = {"continuous": 8, "deferred": 64}  # requests; twice a deferred batch
BUDGET_S = {"eager": 5.0, "continuous": 3600.0, "deferred": 2.0}
SHARES = (0.25, 0.5, 0.75, 0.9)
VARIANTS: dict[str, tuple[str, ...]] = {
    "alone": (), "with_continuous": ("continuous",), "with_deferred": ("deferred",),
    "with_both": ("continuous", "deferred"),
}
CAPACITY_EPS = 1000 * EAGER_BATCH / (EAGER_A_MS + EAGER_B_MS * EAGER_BATCH)
STATE = Raw(b"\x90")


class Sleeper:
    """A model of one forward pass."""

    version, popular, takes = "sleeping", (), RecommendRequest

    def __init__(self, name: str, a_ms: float, b_ms: float, batching: Batching) -> None:
        self.name, self.batching = name, batching
        self._a_s, self._b_s = a_ms / 1000, b_ms / 1000

    def tokens(self, request: RecommendRequest) -> int:  # noqa: ARG002 - all alike
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> Sequence[RecommendRequest]:
        return requests

    def forward(self, batch: Sequence[RecommendRequest]) -> Sequence[RecommendRequest]:
        time.sleep(self._a_s + self._b_s * len(batch))
        return batch

    def split(
        self, requests: Sequence[RecommendRequest], output: Sequence[RecommendRequest]  # noqa: ARG002
    ) -> list[RecommendResult]:
        return [RecommendResult(request.id, "", b"") for request in output]

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        return [[RecommendRequest(0, 0, 0, STATE)] * n for n in (1, self.batching.max_batch)]


class Generator:
    """A model of many steps."""

    name, version, popular, takes = "continuous", "sleeping", (), RecommendRequest
    batching = Batching(AT_ONCE["continuous"], service=Service.CONTINUOUS)

    def __init__(self) -> None:
        self._left: dict[int, tuple[RecommendRequest, int]] = {}  # by identity

    def tokens(self, request: RecommendRequest) -> int:  # noqa: ARG002 - all alike
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> Sequence[RecommendRequest]:
        return requests

    def step(self, batch: Sequence[RecommendRequest] | None) -> list[tuple[RecommendRequest, RecommendResult]]:
        self._left |= {id(request): (request, STEPS) for request in batch or ()}
        time.sleep(STEP_MS["continuous"] / 1000)
        self._left = {key: (request, left - 1) for key, (request, left) in self._left.items()}
        finished = [request for request, left in self._left.values() if left == 0]
        self.drop(finished)
        return [(request, RecommendResult(request.id, "", b"")) for request in finished]

    def drop(self, requests: Sequence[RecommendRequest]) -> None:
        for request in requests:
            self._left.pop(id(request), None)

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        return [[RecommendRequest(0, 0, 0, STATE)]]


class Run:
    """One pipeline under one load."""

    def __init__(self, others: Sequence[str]) -> None:
        self._others = others
        self._ids = itertools.count()
        self._arrivals_s: dict[int, float] = {}
        self._client = Client(b"benchmark", 0.0)
        self._loaded, self._over = threading.Event(), threading.Event()
        self._error: BaseException | None = None
        self.latencies_s: list[float] = []
        self.shed = 0
        self.steps_s: dict[str, list[float]] = {name: [] for name in ("eager", "continuous", "deferred")}
        deferred = Batching(AT_ONCE["deferred"] // 2, service=Service.DEFERRED)
        models: list[AnyRunner] = [
            Sleeper("eager", EAGER_A_MS, EAGER_B_MS, Batching(EAGER_BATCH)), Generator(),
            Sleeper("deferred", STEP_MS["deferred"], 0.0, deferred),
        ]
        self._pipeline = Pipeline(lambda: models, self._emit)

    def measure(self, rate_eps: float, seconds: float, seed: int) -> None:
        """Keep it under load for so long; the first tenth does not count."""
        self._pipeline.start()
        self._loaded.wait()
        for name in self._others:
            self._ask(name, AT_ONCE[name])
        began_s = time.monotonic()
        due_s = [began_s + at_s for at_s in poisson(rate_eps, seconds, seed)]
        for now_due in when_due(due_s):
            if self._over.is_set():
                break
            due = due_s[now_due]
            self._ask("eager", len(due), due, began_s + seconds / 10)
        while self._arrivals_s and not self._over.wait(0.01):
            pass
        self._others = ()
        self._client.outstanding.clear()
        self._pipeline.stop(10.0)
        if self._error is not None:
            raise self._error

    def _ask(self, model: str, count: int, due_s: Sequence[float] = (), counts_s: float = 0.0) -> None:
        waiting = []
        for number in range(count):
            request_id = next(self._ids)
            if due_s and due_s[number] >= counts_s:
                self._arrivals_s[request_id] = due_s[number]
            self._client.outstanding.add(request_id)
            request = RecommendRequest(request_id, round(1000 * BUDGET_S[model]), 0, STATE)
            waiting.append(Pending(self._client, request, time.monotonic() + BUDGET_S[model]))
        assert not self._pipeline.submit(model, waiting)

    def _emit(self, event: Event) -> None:
        now_s = time.monotonic()
        if isinstance(event, Loaded):
            self._loaded.set()
        elif isinstance(event, Stopped):
            self._error = event.error
            self._over.set()
        elif isinstance(event, Answered):
            if event.ran is not None:
                self.steps_s[event.ran.model].append(event.ran.forward_s)
            for _, reply in event.replies:
                self._answered(reply, now_s)
            if event.ran is not None and event.ran.model in self._others:
                self._ask(event.ran.model, len(event.replies))

    def _answered(self, reply: Reply, now_s: float) -> None:
        arrived_s = self._arrivals_s.pop(reply.id, None)
        if arrived_s is None:
            return
        if isinstance(reply, Shed):
            self.shed += 1
        self.latencies_s.append(now_s - arrived_s)


def fairness(seconds: float, rounds: int, seed: int, shares: Sequence[float] = SHARES) -> dict[str, Any]:
    """p50 and p99 of eager requests, by share of the capacity and by who shares the device."""
    loads = []
    steps_s: dict[str, list[float]] = {"continuous": [], "deferred": []}
    for share in shares:
        runs: dict[str, list[Run]] = {name: [] for name in VARIANTS}
        for number, (name, others) in itertools.product(range(rounds), VARIANTS.items()):
            run = Run(others)
            run.measure(share * CAPACITY_EPS, seconds, seed + number)
            runs[name].append(run)
            for other in others:
                steps_s[other] += run.steps_s[other]
        loads.append(_row(share, seconds, runs))
    return {
        "capacity_eps": CAPACITY_EPS, "eager_ms": {"a": EAGER_A_MS, "b": EAGER_B_MS, "max_batch": EAGER_BATCH},
        "step_ms": {name: 1000 * statistics.median(values) for name, values in steps_s.items()},
        "loads": loads,
    }


def _row(share: float, seconds: float, runs: dict[str, list[Run]]) -> dict[str, Any]:
    p99_ms = {name: [_percentile_ms(run, 0.99) for run in of] for name, of in runs.items()}
    median_ms = {name: statistics.median(values) for name, values in p99_ms.items()}
    others_s = {name: sum(sum(run.steps_s[one]) for run in of for one in VARIANTS[name]) for name, of in runs.items()}
    return {
        "share_of_capacity": share,
        "p50_ms": {name: statistics.median(_percentile_ms(run, 0.5) for run in of) for name, of in runs.items()},
        "p99_ms": median_ms,
        "p99_ms_of_rounds": p99_ms,
        "p99_raised_ms": {name: value - median_ms["alone"] for name, value in median_ms.items() if name != "alone"},
        "others_share_of_device": {name: others_s[name] / (seconds * len(of)) for name, of in runs.items()},
        "shed": {name: sum(run.shed for run in of) for name, of in runs.items()},
    }


def _percentile_ms(run: Run, share: float) -> float:
    return 1000 * reports.percentile(run.latencies_s, share)


def table(report: dict[str, Any]) -> str:
    """For people."""
    step_ms = report["step_ms"]
    steps = ", ".join(f"{name} {ms:.1f}" for name, ms in step_ms.items())
    title = f"p99 of eager requests in ms, what it rose by, the others' share of the device (steps in ms: {steps})"
    lines = [title, f"{'load':>6}" + "".join(f"{name:>24}" for name in VARIANTS)]
    for row in report["loads"]:
        cells = [f"{row['p99_ms']['alone']:24.1f}"]
        for name, raised_ms in row["p99_raised_ms"].items():
            share = row["others_share_of_device"][name]
            cells.append(f"{row['p99_ms'][name]:12.1f} ({raised_ms:+5.1f}, {share:4.0%})")
        lines.append(f"{row['share_of_capacity']:6.0%}" + "".join(cells))
    return "\n".join(lines)
