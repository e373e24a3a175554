"""What both benchmarks share on the command line: options, the cores, a stack, the report and the plot as files."""

import argparse
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvloop

from benchmarks import plots, reports
from footfall.errors import FootfallError
from footfall.stack import Stack
from model_core import cores
from model_core.registry import DEMO_CHECKPOINT
from schemas.settings import Settings

MAX_USERS = 30_000  # at 2,000 events/s one of a user comes each 15 s, as of a visitor who looks at pages
DROP_S = 5.0  # of a drain, at its start and at its end
QUICK = {"rounds": 1, "backlog_s": 3.0, "seconds": 2.0, "sample": 300}

Measure = Callable[[Stack, Path, argparse.Namespace], Coroutine[Any, Any, dict[str, Any]]]

Draw = Callable[[dict[str, Any], Path], None]


def parser(name: str, description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    made.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    plots.add_option(made)
    made.add_argument("--quick", action="store_true", help="some seconds only: to see that it runs, not to measure")
    made.add_argument("--rounds", type=int, default=3, metavar="N")
    made.add_argument("--device", default="cpu", help="cpu, cuda:0, …")
    made.add_argument(
        "--device-cpu", type=cores.parse, default=frozenset({0}), metavar="CORES",
        help="of the thread that runs the model; nothing else but the worker's other threads may use them (default: 0)",
    )
    made.add_argument("--checkpoint", type=Path, default=DEMO_CHECKPOINT, metavar="DIR")
    made.add_argument("--agents", type=int, default=1, metavar="N", help="processes")
    made.add_argument("--seed", type=int, default=1)
    made.add_argument("--logs", type=Path, metavar="DIR", help="keep the processes' logs here")
    return made


def main(
    reading: argparse.ArgumentParser, arguments: Sequence[str] | None, measure: Measure, draw: Draw,
    table: Callable[[dict[str, Any]], str],
) -> int:
    """Measure, write and show what came of it; the exit code."""
    options = reading.parse_args(arguments)
    if options.quick:
        reading.set_defaults(**{name: value for name, value in QUICK.items() if hasattr(options, name)})
        options = reading.parse_args(arguments)  # what was said goes before
    try:
        report = _run(options, measure)
        if options.plot:
            draw(report, options.plot)
    except FootfallError as error:
        print(error, file=sys.stderr)
        return 2
    print(table(report))
    return 0


def _run(options: argparse.Namespace, measure: Measure) -> dict[str, Any]:
    """Measure on a stack, with this process and its children off the device's cores; write the report."""
    try:
        cores.leave(options.device_cpu)
    except cores.CoresError as error:
        raise FootfallError(f"--device-cpu: {error}") from error
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic has no leader for a moment: it tries again
    with (
        tempfile.TemporaryDirectory(prefix="footfall-bench-") as temporary,
        Stack(Settings.from_environment()) as stack,
    ):
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = uvloop.run(measure(stack, folder, options))  # sender and ledger share cores with what is measured
    reports.write(report, options.json)
    return report


def drop_s(backlog_s: float) -> float:
    """How much of a drain is left out at either end."""
    return min(DROP_S, backlog_s / 12)


@contextmanager
def spinning(other_cores: Sequence[int]) -> Iterator[None]:
    """Keep these cores busy."""
    spinners = [
        subprocess.Popen([sys.executable, "-ISc", f"import os; os.sched_setaffinity(0, {{{core}}})\nwhile True: pass"])
        for core in other_cores
    ]
    try:
        yield
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()


def own_cores() -> list[int]:
    """Where this process and its children run."""
    return sorted(os.sched_getaffinity(0))
