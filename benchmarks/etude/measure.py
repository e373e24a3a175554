"""One catalogue: makes a model and clicks for it, loads it, takes its capacity, and offers it load."""

import resource
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from benchmarks import reports
from benchmarks.etude.load import LoadedPipeline, Served
from benchmarks.etude.sessions import Sessions
from benchmarks.etude.weights import random_checkpoint
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.serving import Retrieval

SHARES = (0.5, 0.75, 0.9)  # of the capacity
POOL = 4096  # different requests, offered again and again


@dataclass(frozen=True, slots=True)
class Spec:
    """What is measured for one catalogue."""

    items: int
    device: str
    retrieval: Retrieval
    rates: tuple[float, ...]
    seconds: float
    rounds: int
    threads: int
    seed: int


def measure(spec: Spec) -> dict[str, Any]:
    """The figures of one catalogue. Meant for a process of its own, whose memory is then its memory."""
    torch.set_num_threads(spec.threads)
    sessions = Sessions(spec.items, spec.seed)
    checkpoint = random_checkpoint(sessions.log_popularity, spec.seed)
    requests = sessions.requests(POOL)
    reports.say(f"{spec.items:,} items: made")
    load = LoadedPipeline(lambda: RecommenderRunner(checkpoint, spec.device, retrieval=spec.retrieval))
    with load as worker:
        reports.say(f"{worker.runner.notes}: loaded in {worker.load_s:.1f} s")
        row = {
            "items": spec.items, "exact": worker.runner.recall == 1.0, "recall_at_64": round(worker.runner.recall, 4),
            "notes": worker.runner.notes, "load_s": round(worker.load_s, 2), "warm_s": round(worker.warm_s, 2),
        }  # fmt: skip
        worker.drain(requests, spec.seconds)
        capacities = [worker.drain(requests, spec.seconds) for _ in range(spec.rounds)]
        capacity = sorted(capacities)[len(capacities) // 2]
        reports.say(f"{spec.items:,} items: capacity {capacity:,.0f}/s")
        offers: list[tuple[float, float | None]] = [(share * capacity, share) for share in SHARES]
        offers += [(rate, None) for rate in spec.rates if rate < max(SHARES) * capacity]
        served: list[list[Served]] = [[] for _ in offers]
        for number in range(spec.rounds + 1):
            reports.say(f"{spec.items:,} items: round {number} of {spec.rounds}")
            for (rate, _), rounds in zip(offers, served, strict=True):
                one = worker.offer(requests, rate, spec.seconds, spec.seed + number)
                reports.say(f"    {rate:,.0f}/s: p90 {one.p90_ms:.1f} ms")
                if number:
                    rounds.append(one)
        return row | {
            "capacity_per_s": reports.spread(capacities),
            "memory_mb": _memory(spec.device),
            "offered": [
                {"per_s": round(rate, 1), "share_of_capacity": share, **_spreads(rounds)}
                for (rate, share), rounds in zip(offers, served, strict=True)
            ],
        }


def _spreads(rounds: Sequence[Served]) -> dict[str, dict[str, float]]:
    columns = [asdict(one) for one in rounds]
    return {name: reports.spread([column[name] for column in columns]) for name in columns[0]}


def _memory(device: str) -> dict[str, int]:
    """The process at its peak, with model, index and load; on a GPU the device's peak too."""
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    memory = {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit // 2**20}
    if device.startswith("cuda"):
        memory["device"] = torch.cuda.max_memory_reserved(device) // 2**20
    return memory
