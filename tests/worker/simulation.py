"""One device and its queue on a virtual clock: the policy under load, without threads, sockets or luck.

Knows `Backlog` and `CostModel` as the pipeline uses them: the slot is reserved, then a batch is bound, then the device
takes it. Costs are made up (`a + b·n` seconds), and what a batch takes is `noise` around that; arrivals and noise are
drawn from a seed.
"""

import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Raw

from model_core.batching.cost import CostModel
from model_core.batching.policy import Backlog, Client, Later, Pending, Plan
from model_core.runner import Batching
from schemas.inference import RecommendRequest

STATE = Raw(b"\x90")


@dataclass(frozen=True)
class Load:
    """Requests for one model: when each arrives, and for how long an answer is of use."""

    model: str
    arrivals_s: Iterator[float]
    budget_s: float
    length: int = 1


@dataclass(frozen=True)
class Running:
    """What the device does, until when, and until when it was expected to."""

    plan: Plan
    began_s: float
    ends_s: float
    expected_s: float


@dataclass
class Served:
    """What became of one model's requests."""

    offered: int = 0
    latencies_s: list[float] = field(default_factory=list)  # of those answered within their budget
    late: int = 0
    shed: int = 0
    busy_s: float = 0.0
    sizes: list[int] = field(default_factory=list)

    @property
    def in_time(self) -> int:
        return len(self.latencies_s)

    def percentile_s(self, share: float) -> float:
        return sorted(self.latencies_s)[int(share * (len(self.latencies_s) - 1))]


def poisson(rate_per_s: float, until_s: float, seed: int, burst: float = 1.0) -> Iterator[float]:
    """Arrival times; every other second `burst` times as many as in the ones between, the mean being the rate."""
    chance, now_s = random.Random(seed), 0.0
    calm = 2 * rate_per_s / (1 + burst)
    while now_s < until_s:
        now_s += chance.expovariate(calm * (burst if int(now_s) % 2 else 1))
        yield now_s


class Simulation:
    """`cost`: seconds of a batch by model, length and n. `steps`: of a continuous model, how many a request takes."""

    def __init__(
        self, models: Mapping[str, Batching], cost: Callable[[str, int, int], float], *,
        collate_s: float = 0.0, steps: int = 8, noise: float = 0.0, seed: int = 0,
    ) -> None:
        self.costs = {name: CostModel(batching.lengths) for name, batching in models.items()}
        for name, batching in models.items():  # warm-up
            for length in batching.lengths:
                for n in (1, batching.room(length)):
                    self.costs[name].observe(length, n, cost(name, length, n))
        self.backlog = Backlog(models, self.costs, max_pending=1_000_000)
        self.served = {name: Served() for name in models}
        self._models, self._cost, self._collate_s, self._steps = models, cost, collate_s, steps
        self._noise, self._chance = noise, random.Random(seed)
        self._client, self._ids = Client(b"c", 0.0), 0
        self._arrived: dict[int, float] = {}
        self._running: Running | None = None
        self._bound: tuple[Plan, float] | None = None  # the prefetched batch, and when it is ready for the device
        self._generating: dict[str, list[tuple[Pending, int]]] = {}

    def run(self, loads: list[Load], until_s: float) -> dict[str, Served]:
        """Play it to the end."""
        arriving = (zip(load.arrivals_s, itertools.repeat(load)) for load in loads)
        arrivals = heapq.merge(*arriving, key=lambda arrival: arrival[0])
        upcoming = next(arrivals, None)
        now_s = 0.0
        while now_s < until_s:
            wake_s = [until_s, self._bind(now_s), self._start(now_s)]
            wake_s += [self._running.ends_s] if self._running else []
            wake_s += [upcoming[0]] if upcoming else []
            now_s = max(now_s, min(wake_s))
            while upcoming is not None and upcoming[0] <= now_s:
                self._arrive(upcoming[1], upcoming[0])
                upcoming = next(arrivals, None)
            if self._running and self._running.ends_s <= now_s:
                self._finish(self._running)
                self._running = None
        return self.served

    def _bind(self, now_s: float) -> float:
        """Bind a batch if it is time; when to look again."""
        if self._bound is not None:
            return math.inf
        plan = self.backlog.take(now_s, self._running.expected_s if self._running else now_s)
        if not isinstance(plan, Plan):
            return plan.at_s if isinstance(plan, Later) else math.inf
        self._count_shed(plan, now_s)
        if plan.batch or self._active(plan.model):
            self._bound = (plan, now_s + self._collate_s)
            self.backlog.collated(plan.model, max(1, len(plan.batch)), self._collate_s)
        return now_s

    def _start(self, now_s: float) -> float:
        """Give the device the batch that is bound and collated; when to look again."""
        if self._running is not None or self._bound is None:
            return math.inf
        plan, ready_s = self._bound
        if ready_s > now_s:
            return ready_s
        n = max(1, len(plan.batch))
        took_s = self._cost(plan.model, plan.length, n) * self._chance.lognormvariate(0, self._noise)
        expected_s = now_s + self.costs[plan.model].mean_s(plan.length, n)
        self._bound, self._running = None, Running(plan, now_s, now_s + took_s, expected_s)
        return now_s

    def _arrive(self, load: Load, at_s: float) -> None:
        self._ids += 1
        self._client.outstanding.add(self._ids)
        self._arrived[self._ids] = at_s
        self.served[load.model].offered += 1
        request = RecommendRequest(self._ids, 0, 0, STATE)
        assert self.backlog.add(load.model, Pending(self._client, request, at_s + load.budget_s, load.length))

    def _active(self, model: str) -> int:
        return len(self._generating.get(model, ()))

    def _count_shed(self, plan: Plan, now_s: float) -> None:
        self.served[plan.model].shed += len(plan.shed)
        self._client.outstanding.difference_update(pending.request.id for pending in plan.shed)

    def _finish(self, running: Running) -> None:
        plan, now_s = running.plan, running.ends_s
        served, n = self.served[plan.model], max(1, len(plan.batch))
        took_s = now_s - running.began_s
        self.costs[plan.model].observe(plan.length, n, took_s)
        self.backlog.ran(plan.model, took_s, now_s)
        served.busy_s += took_s
        served.sizes.append(n)
        done = list(plan.batch)
        if self._models[plan.model].service.value == "continuous":
            going = [*self._generating.get(plan.model, []), *((pending, self._steps) for pending in plan.batch)]
            self._generating[plan.model] = [(pending, left - 1) for pending, left in going if left > 1]
            done = [pending for pending, left in going if left == 1]
            self.backlog.generating(plan.model, self._active(plan.model))
        for pending in done:
            self._client.outstanding.discard(pending.request.id)
            if now_s <= pending.deadline_s:
                served.latencies_s.append(now_s - self._arrived[pending.request.id])
            else:
                served.late += 1
