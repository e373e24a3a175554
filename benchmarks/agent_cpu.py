"""`python -m benchmarks.agent_cpu --json FILE`: what an agent costs per event, beside aiokafka and stock Faust.

Every measurement is a fresh process with a fresh consumer group, topics and users, which drains a backlog of clicks;
the variants take turns, round after round. Broker, cache and worker run beside it and are not counted. Means by
variant are in benchmarks/agent_process.py.
"""

import argparse
import asyncio
import json
import logging
import os
import secrets
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer
from msgspec import Struct

from benchmarks import plots, reports
from benchmarks.agent_process import Usage
from benchmarks.clicks import Clicks, fill, remember
from footfall import topics
from footfall.stack import Stack
from footfall.stack.server import Server
from schemas.settings import Settings, ipc_endpoint
from schemas.topics import CLICKSTREAM, PURCHASES, RECOMMENDATIONS

TOPICS = (CLICKSTREAM, PURCHASES, RECOMMENDATIONS)
TARGETS_US = {"consume": 12, "decode_dispatch": 15, "with_history": 40, "full": 80, "full_no_coalescing": 80}
RUN_TIMEOUT_S = 180.0
REFERENCE_LOOPS = 50_000
STAT = Path("/proc/stat")  # Linux; elsewhere the figures are a little noisier
SETTLE_S = 0.5
SETTLE_TIMEOUT_S = 10.0
SETTLED_SHARE = 0.95
EVENTS_PER_USER = 6  # of `full_no_coalescing`: some for each, and too far apart to ride along


class Variant(Struct, frozen=True):
    """What runs (`agent_process.VARIANTS`) over which backlog."""

    name: str
    process: str
    in_turn: bool = False  # users in turn, and many of them, so that hardly any two events are answered by one result
    keeps_history: bool = False
    writes: bool = False


VARIANTS = (
    Variant("raw_getmany", "raw_getmany"),
    Variant("stock_take", "stock_take"),
    Variant("consume", "consume"),
    Variant("decode_dispatch", "decode_dispatch"),
    Variant("with_history", "with_history", keeps_history=True),
    Variant("full", "full", keeps_history=True, writes=True),
    Variant("full_no_coalescing", "full", in_turn=True, keeps_history=True, writes=True),
)


class Run(Struct, frozen=True):
    """One measurement. `results`: output records; `fallbacks` of them were not made by the worker's reply.

    `reference_us`: CPU time of a fixed piece of work right before, which tells how busy the rest of the machine was.
    """

    cpu_us_per_event: float
    events_per_s: float
    reference_us: float
    results: int = 0
    fallbacks: int = 0


class Bench:
    """Measures variants on one stack."""

    def __init__(self, stack: Stack, users: int, folder: Path) -> None:
        self._stack = stack
        self._users = users
        self._folder = folder
        self._endpoint = ipc_endpoint("worker")
        self._worker = Server(
            "worker",
            [sys.executable, "-m", "model_core", "--models", "stub", "--stub-name", "recommender",
             "--listen", self._endpoint],
            folder / "worker.log",
            Path(self._endpoint.removeprefix("ipc://")).exists,
        )

    def __enter__(self) -> Self:
        self._worker.start(30.0)
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.stop()

    def run(self, variant: Variant, events: int) -> Run:
        """Prepare a backlog, have one process drain it, and check that all of it was answered."""
        run = f"c{secrets.token_hex(4)}"
        settings = msgspec.structs.replace(self._stack.settings, prefix=run, workers=(self._endpoint,))
        clicks = (
            Clicks(run, events, max(1, events // EVENTS_PER_USER), shuffled=False) if variant.in_turn
            else Clicks(run, events, self._users)
        )
        asyncio.run(_prepare(settings, clicks, variant))
        settle()
        reference_us = _reference_us(clicks)
        try:
            usage = self._measure(settings, variant, events)
            results, fallbacks = asyncio.run(_results(settings, events)) if variant.writes else (0, 0)
        finally:
            asyncio.run(topics.delete(settings, TOPICS))
        return Run(usage.cpu_s / events * 1e6, events / usage.wall_s, reference_us, results, fallbacks)

    def _measure(self, settings: Settings, variant: Variant, events: int) -> Usage:
        file = self._folder / f"{settings.prefix}.json"
        process = Server(
            variant.name,
            [sys.executable, "-m", "benchmarks.agent_process", variant.process, str(events), str(file)],
            self._folder / f"{settings.prefix}.log",
            file.exists,
        )
        environment = {
            **self._stack.environment(), "FOOTFALL_PREFIX": settings.prefix, "FOOTFALL_WORKERS": self._endpoint,
        }
        try:
            process.start(RUN_TIMEOUT_S, environment)
        finally:
            process.stop()
        return msgspec.json.decode(file.read_bytes(), type=Usage)


def settle() -> None:
    """Wait until the machine has nothing else to do, for a while at most.

    After the backlog was written the broker still flushes, deletes the last run's topics and compiles itself, which
    makes the same work cost up to twice its CPU time where two CPUs are two threads of one core.
    """
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while STAT.exists() and time.monotonic() < deadline:
        before = _idle_s()
        time.sleep(SETTLE_S)
        if _idle_s() - before > SETTLED_SHARE * SETTLE_S * (os.cpu_count() or 1):
            return


def _idle_s() -> float:
    """Seconds for which the CPUs were idle since the machine started, all together."""
    _, _, _, _, idle, waiting, *_ = STAT.read_text().split(maxsplit=7)
    return (int(idle) + int(waiting)) / os.sysconf("SC_CLK_TCK")


def _reference_us(clicks: Clicks) -> float:
    """CPU time to read one click with Python's own json: about the same on any day, unless the cores are shared."""
    value = next(clicks.records())[1]
    start = time.process_time()
    for _ in range(REFERENCE_LOOPS):
        json.loads(value)
    return (time.process_time() - start) / REFERENCE_LOOPS * 1e6


async def _prepare(settings: Settings, clicks: Clicks, variant: Variant) -> None:
    await topics.create(settings, TOPICS)
    await fill(settings, clicks)
    if variant.keeps_history:
        await remember(settings, clicks.history())


class _Data(Struct):
    covers: tuple[dict[str, Any], ...]
    origin: str


class _Result(Struct):
    data: _Data


async def _results(settings: Settings, events: int) -> tuple[int, int]:
    """Count the results and the fallbacks among them.

    Raises RuntimeError unless they cover every event once: a figure of an agent that loses work would mean nothing.
    """
    decode = msgspec.json.Decoder(_Result).decode
    results = fallbacks = covered = 0
    options = topics.client_options(settings)
    topic = RECOMMENDATIONS.full_name(settings.prefix)
    async with AIOKafkaConsumer(topic, **options, auto_offset_reset="earliest") as consumer:
        deadline = time.monotonic() + 60.0
        while covered < events and time.monotonic() < deadline:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                for record in records:
                    data = decode(record.value).data
                    results += 1
                    fallbacks += data.origin == "fallback"
                    covered += sum(int(part["to"]) - int(part["from"]) + 1 for part in data.covers)
    if covered != events:
        raise RuntimeError(f"the results cover {covered} of {events} events: see the agent's log before you measure it")
    return results, fallbacks


def report(stack: Stack, events: int, users: int, runs: dict[str, list[Run]]) -> dict[str, Any]:
    """The contract's fields, then how they spread and on what they were measured."""
    cost = {name: reports.spread([run.cpu_us_per_event for run in of]) for name, of in runs.items()}
    median = {name: of["median"] for name, of in cost.items()}
    writing = {variant.name: runs[variant.name] for variant in VARIANTS if variant.writes and variant.name in runs}
    return {
        "agent_cpu_us_per_event": {name: median[name] for name in TARGETS_US if name in median},
        "raw_getmany_us": median.get("raw_getmany"),
        "stock_take_us": median.get("stock_take"),
        "targets_us": TARGETS_US,
        "cpu_us_per_event": cost,
        "share_of_stock_take": _shares(runs),
        "events_per_s": {name: reports.spread([run.events_per_s for run in of]) for name, of in runs.items()},
        "results_per_event": {name: _share(of, "results", events) for name, of in writing.items()},
        "fallbacks_per_event": {name: _share(of, "fallbacks", events) for name, of in writing.items()},
        "reference_us": reports.spread([run.reference_us for of in runs.values() for run in of]),
        "events": events,
        "users": users,
        "rounds": max(len(of) for of in runs.values()),
        **reports.surroundings(stack),
        **reports.origin(),
    }


def _shares(runs: dict[str, list[Run]]) -> dict[str, dict[str, float]]:
    """Each variant's cost as a share of stock Faust's in the same round: the machine's pace is taken out."""
    stock = [run.cpu_us_per_event for run in runs.get("stock_take", ())]
    return {
        name: reports.spread([run.cpu_us_per_event / beside for run, beside in zip(of, stock, strict=True)])
        for name, of in runs.items() if stock
    }


def _share(runs: Sequence[Run], field: str, events: int) -> float:
    return round(float(statistics.median(getattr(run, field) for run in runs)) / events, 4)


def table(measured: dict[str, Any]) -> str:
    """The figures for people: min, median and max of the rounds."""
    broker, machine, reference = measured["broker"], measured["machine"], measured["reference_us"]
    lines = [
        f"{broker['kind']} {broker['version']}, {machine['cpus']} CPUs, {measured['measured_at']}",
        f"{measured['events']:,} events, {measured['rounds']} rounds, Python {machine['python']}",
        f"reference: {reference['min']} to {reference['max']} CPU us, median {reference['median']}",
        (f"{'CPU us per event':20}{'min':>8}{'median':>8}{'max':>8}{'target':>8}{'of stock':>10}{'events/s':>10}"
         f"{'results/event':>15}"),
    ]
    for name, cost in measured["cpu_us_per_event"].items():
        target = TARGETS_US.get(name)
        results = measured["results_per_event"].get(name)
        of_stock = measured["share_of_stock_take"].get(name)
        lines.append(
            f"{name:20}{cost['min']:8.1f}{cost['median']:8.1f}{cost['max']:8.1f}{target or '':>8}"
            f"{'' if of_stock is None else format(of_stock['median'], '.2f'):>10}"
            f"{measured['events_per_s'][name]['median']:10,.0f}{'' if results is None else f'{results:.3f}':>15}"
        )
    return "\n".join(lines)


def draw(measured: dict[str, Any], file: Path) -> None:
    """What each variant costs, beside its target."""
    cost = measured["cpu_us_per_event"]
    title = f"An agent, {measured['broker']['kind']} {measured['broker']['version']}, {measured['measured_at'][:10]}"
    with plots.drawing(file, title, "CPU µs per event", "") as axes:
        plots.bars(axes, dict(reversed(cost.items())))  # the first at the top
        targets = [name for name in cost if name in TARGETS_US]
        axes.plot([TARGETS_US[name] for name in targets], targets, "r|", markersize=22, label="target")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.agent_cpu", description="CPU of an agent per event.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    plots.add_option(parser)
    parser.add_argument("--events", type=int, default=60_000, metavar="N", help="backlog of one measurement")
    parser.add_argument("--users", type=int, default=3_000, metavar="N", help="who caused it, in random order")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument(
        "--only", nargs="+", choices=[variant.name for variant in VARIANTS], metavar="VARIANT", help="not the others"
    )
    options = parser.parse_args(arguments)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic has no leader for a moment: it tries again
    chosen = [variant for variant in VARIANTS if not options.only or variant.name in options.only]
    runs: dict[str, list[Run]] = {variant.name: [] for variant in chosen}
    with (
        tempfile.TemporaryDirectory(prefix="footfall-bench-") as folder,
        Stack(Settings.from_environment()) as stack,
        Bench(stack, options.users, Path(folder)) as bench,
    ):
        for variant in chosen:  # page cache, byte code, the broker's compiler: not a figure
            bench.run(variant, max(1, options.events // 10))
        for number in range(1, options.rounds + 1):
            for variant in chosen:
                run = bench.run(variant, options.events)
                runs[variant.name].append(run)
                print(f"round {number}: {variant.name:20}{run.cpu_us_per_event:8.1f} us", file=sys.stderr)
        measured = report(stack, options.events, options.users, runs)
    print(table(measured))
    reports.write(measured, options.json)
    if options.plot:
        draw(measured, options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
