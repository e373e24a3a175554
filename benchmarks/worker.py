"""`python -m benchmarks.worker --json FILE`: what a batch costs on this device, and what the worker makes of it.

Five tables. The *curve*: collate, forward and split of the shipped recommender, by padded length and batch size. The
*loops*: users per second over a backlog of users with histories of log-normal length, by the slow loop (one step after
the other), by the pipeline with batches of any length, and by the pipeline as it is, one length at a time. Rounds take
turns; the first is discarded. *Executions*, *packing* and *fairness*: see `benchmarks.worker_executions`,
`…worker_packing` and `…worker_fairness`. No sockets and no agents: those are `benchmarks.pipeline`'s.
"""

import argparse
import queue
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import torch
from msgspec import Raw

from benchmarks import plots, reports, worker_executions, worker_fairness, worker_packing
from benchmarks.clicks import history_lengths
from benchmarks.reports import say
from model_core.batching.events import Answered, Event, Loaded
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.batching.serial import answer
from model_core.recommender import checkpoint
from model_core.recommender.features import DAY_MS, EVENT_CODES, MAX_TOKENS
from model_core.recommender.runner import RecommenderRunner
from model_core.registry import DEMO_CHECKPOINT
from model_core.runner import Batching
from schemas.inference import RecommendRequest, UserState

SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class AnyLength(RecommenderRunner):
    """Batches in order of arrival, padded to their longest."""

    def __init__(self, runner: RecommenderRunner) -> None:  # the same model, loaded once
        self.__dict__.update(runner.__dict__)
        self.batching = Batching(runner.batching.max_batch, (MAX_TOKENS,))


def users(runner: RecommenderRunner, count: int, seed: int) -> list[RecommendRequest]:
    """Users with histories of log-normal length."""
    chance = random.Random(seed)
    lengths = history_lengths(count, MAX_TOKENS, chance)
    return [_user(runner, number, length, chance) for number, length in enumerate(lengths)]


def _user(runner: RecommenderRunner, number: int, length: int, chance: random.Random) -> RecommendRequest:
    """A user with so many events, and a counter for each of the items."""
    items = chance.choices(runner.description.item_ids, k=length)
    kinds = chance.choices(list(EVENT_CODES), k=length)
    history = [text for n, (kind, item) in enumerate(zip(kinds, items, strict=True))
               for text in (f"{kind}:{item}:{n:016x}", str(400 * DAY_MS - n * 1000))]
    bought = tuple(dict.fromkeys(items))
    state = UserState(tuple(history), bought, _counters(len(bought)), ())
    return RecommendRequest(number, 60_000, 400 * DAY_MS, Raw(msgspec.msgpack.encode(state)))


def _counters(count: int) -> bytes:
    return torch.tensor([[1.0, 1.0, 400.0 * DAY_MS]] * count, dtype=torch.float64).numpy().tobytes()


def curve(runner: RecommenderRunner, rounds: int) -> list[dict[str, float]]:
    """What the three steps take by padded length and batch size: medians, and how the forward step spreads."""
    cells = [(length, n) for length in runner.batching.lengths for n in SIZES if n <= runner.batching.room(length)]
    chance = random.Random(0)
    examples = {(length, n): [_user(runner, number, length, chance) for number in range(n)] for length, n in cells}
    times: dict[tuple[int, int], list[tuple[float, float, float]]] = {cell: [] for cell in cells}
    for _ in range(rounds + 1):
        for cell, requests in examples.items():
            started_s = time.perf_counter()
            batch = runner.collate(requests)
            collated_s = time.perf_counter()
            output = runner.forward(batch)
            ran_s = time.perf_counter()
            runner.split(requests, output)
            times[cell].append((collated_s - started_s, ran_s - collated_s, time.perf_counter() - ran_s))
    rows = []
    for (length, n), measured in times.items():
        collate_ms, forward_ms, split_ms = (1000 * statistics.median(step) for step in zip(*measured[1:], strict=True))
        forwards_ms = [1000 * forward_s for _, forward_s, _ in measured[1:]]
        rows.append({"length": length, "batch": n, "collate_ms": collate_ms, "forward_ms": forward_ms,
                     "forward_ms_min": min(forwards_ms), "forward_ms_max": max(forwards_ms),
                     "split_ms": split_ms, "users_per_s": 1000 * n / forward_ms})
    return rows


def draw(report: dict[str, Any], file: Path) -> None:
    """The curve: what larger batches bring, by length."""
    with plots.drawing(
        file, f"Forward step alone, {report['device']}, {report['measured_at'][:10]}", "users in a batch", "users/s"
    ) as axes:
        for length in sorted({row["length"] for row in report["curve"]}):
            rows = [row for row in report["curve"] if row["length"] == length]
            sizes, rates = [row["batch"] for row in rows], [row["users_per_s"] for row in rows]
            (line,) = axes.plot(sizes, rates, marker="o", label=f"{length} lines")
            axes.fill_between(
                sizes, [1000 * row["batch"] / row["forward_ms_max"] for row in rows],
                [1000 * row["batch"] / row["forward_ms_min"] for row in rows], color=line.get_color(), alpha=0.15,
            )
        axes.set_xscale("log", base=2)
        axes.set_ylim(bottom=0)


def pipelined(runner: RecommenderRunner, requests: Sequence[RecommendRequest]) -> float:
    """Seconds until the pipeline has answered all."""
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [runner], events.put)
    pipeline.start()
    assert isinstance(events.get(), Loaded)
    client = Client(b"benchmark", 0.0, {request.id for request in requests})
    started_s = time.monotonic()
    deadline_s = started_s + 3600
    waiting = [Pending(client, request, deadline_s, runner.tokens(request)) for request in requests]
    assert not pipeline.submit(runner.name, waiting), "more users than the worker queues: see --users"
    answered = 0
    while answered < len(requests):
        event = events.get()
        assert isinstance(event, Answered), event
        answered += len(event.replies)
    took_s = time.monotonic() - started_s
    pipeline.stop(10.0)
    return took_s


def serially(runner: RecommenderRunner, requests: Sequence[RecommendRequest]) -> float:
    """Seconds until the slow loop has answered all."""
    started_s = time.monotonic()
    answer(runner, requests)
    return time.monotonic() - started_s


def loops(runner: RecommenderRunner, count: int, rounds: int, seed: int) -> dict[str, dict[str, float]]:
    """Users per second."""
    requests = users(runner, count, seed)
    variants: dict[str, tuple[Callable[[RecommenderRunner, Sequence[RecommendRequest]], float], RecommenderRunner]] = {
        "serial": (serially, AnyLength(runner)),
        "pipeline_any_length": (pipelined, AnyLength(runner)),
        "pipeline": (pipelined, runner),
    }
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        for name, (run, of) in variants.items():
            took_s = run(of, requests)
            if number:
                rates[name].append(len(requests) / took_s)
                say(f"round {number}/{rounds} {name}: {rates[name][-1]:,.0f} users/s")
    return {name: reports.spread(values) for name, values in rates.items()}


def _curve(report: dict[str, Any], runner: RecommenderRunner, options: argparse.Namespace) -> None:
    report["curve"] = curve(runner, options.rounds)
    print(f"{'length':>6} {'batch':>6} {'collate':>9} {'forward':>9} {'split':>9} ms {'users/s':>9}")
    for row in report["curve"]:
        print(f"{row['length']:6} {row['batch']:6} {row['collate_ms']:9.2f} {row['forward_ms']:9.2f} "
              f"{row['split_ms']:9.2f}    {row['users_per_s']:9,.0f}")


def _loops(report: dict[str, Any], runner: RecommenderRunner, options: argparse.Namespace) -> None:
    report["users_per_s"] = loops(runner, options.users, options.rounds, options.seed)
    for name, rate in report["users_per_s"].items():
        print(f"{name:20} {rate['median']:7,.0f} users/s  ({rate['min']:,.0f} to {rate['max']:,.0f})")


def _fairness(report: dict[str, Any], _: RecommenderRunner, options: argparse.Namespace) -> None:
    report["fairness"] = worker_fairness.fairness(options.fairness_seconds, options.rounds, options.seed)
    print(worker_fairness.table(report["fairness"]))


def _executions(report: dict[str, Any], runner: RecommenderRunner, options: argparse.Namespace) -> None:
    chance = random.Random(options.seed)
    batches = {
        (length, n): runner.collate([_user(runner, number, length, chance) for number in range(n)])
        for length, n in worker_executions.SHAPES
    }
    report["executions"] = worker_executions.executions(runner.scorer, batches, options.rounds)
    print(worker_executions.table(report["executions"]))


def _packing(report: dict[str, Any], runner: RecommenderRunner, options: argparse.Namespace) -> None:
    lengths = history_lengths(options.users, MAX_TOKENS, random.Random(options.seed))
    report["packing"] = worker_packing.packing(runner.scorer.model.encoder, runner.batching, lengths, options.rounds)
    print(worker_packing.table(report["packing"]))


_SECTIONS = {
    "curve": _curve, "loops": _loops, "executions": _executions, "packing": _packing, "fairness": _fairness,
}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.worker", description=__doc__.partition("\n")[0])
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, …")
    parser.add_argument("--checkpoint", type=Path, default=DEMO_CHECKPOINT, metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    parser.add_argument("--users", type=int, default=3_000, metavar="N", help="in the backlog, at most 4,096")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch, on a CPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, metavar="FILE")
    plots.add_option(parser)
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto", help="as the worker's")
    parser.add_argument("--fairness-seconds", type=float, default=10.0, metavar="S", help="of each of 16 runs a round")
    parser.add_argument("--only", choices=tuple(_SECTIONS), help="one of the five tables")
    options = parser.parse_args(arguments)
    if options.plot and options.only not in {None, "curve"}:
        parser.error("--plot draws the curve: leave --only out, or say --only curve")
    torch.set_num_threads(options.threads)
    runner = RecommenderRunner(
        checkpoint.load(options.checkpoint), options.device, precision=options.precision
    )
    report: dict[str, Any] = {
        "device": options.device, "threads": options.threads, "torch": torch.__version__, "model": runner.version,
        "served": runner.notes, **reports.origin(),
    }
    for name, section in _SECTIONS.items():
        if options.only in {None, name}:
            section(report, runner, options)
    reports.write(report, options.json)
    if options.plot:
        draw(report, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
