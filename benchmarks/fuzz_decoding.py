"""`python -m benchmarks.fuzz_decoding --inputs N --seed S --json FILE`: can any bytes break the decoding.

Processes of libFuzzer make inputs, records and worker messages alike, from the contract's examples, by changes of their
structure and of their bytes, and run each through the product's own code (`benchmarks.fuzz.target`). An input is a
finding when it raises, crashes, does not end, or holds more memory at once than a multiple of its size; what counts is
in `benchmarks.fuzz.examine`, which inputs are measured in `benchmarks.fuzz.child`.

Findings are saved; `--replay FILE` runs one again, and needs no fuzzer. On one machine, the same seed and number of
processes give the same inputs.
"""

import argparse
import importlib.util
import json
import os
import platform
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import reports
from benchmarks.fuzz import examples
from benchmarks.fuzz.child import load
from benchmarks.fuzz.examine import BYTES_PER_BYTE, FLOOR_BYTES, peak_bytes, run, too_much
from benchmarks.fuzz.inputs import Route, unpack
from benchmarks.fuzz.tally import Finding, Tally, total

ROOT = Path(__file__).parents[1]
TARGET = "benchmarks.fuzz.target:ProductTarget"
PROGRESS_S = 3.0
INPUTS_PER_PROCESS = 100_000  # measuring memory loses some: see `benchmarks.fuzz.examine`
RECORDS = (Route.CLICKSTREAM, Route.PURCHASES, Route.CATALOG, Route.INVENTORY)
SAVED_AS = {"crash": "crashed", "timeout": "did not end", "oom": "out of memory"}
LIBRARIES = ("msgspec", "aiokafka", "pyzmq", "atheris")
LOG_TAIL_CHARS = 1_000
SHOWN_CHARS = 2_000
NO_FUZZER = 2  # exit code


class Lane:
    """Fuzzing processes one after the other, with one corpus: what they are told, and what they tell."""

    def __init__(self, number: int, inputs: int, folder: Path, options: argparse.Namespace) -> None:
        self._folder = folder / str(number)
        self._findings: Path = options.findings / str(number)
        self._log, self._file = self._folder / "log", self._folder / "tally.json"
        self._target = options.target
        self._seeds = random.Random(f"{options.seed}/{number}")
        self._left = inputs
        self._before = Tally()
        corpus = self._folder / "corpus"
        corpus.mkdir(parents=True)
        for name, data in examples.packed().items():
            (corpus / name).write_bytes(data)
        (self._folder / "dictionary").write_text(examples.dictionary())
        self._process = self._start()

    def _start(self) -> "subprocess.Popen[bytes]":
        runs = min(self._left, INPUTS_PER_PROCESS)
        self._left -= runs
        command = [
            sys.executable, "-m", "benchmarks.fuzz.child", "--runs", str(runs),
            "--seed", str(self._seeds.randrange(1, 1 << 31)),  # 0 would be a random one
            "--folder", str(self._folder), "--findings", str(self._findings), "--target", self._target,
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        with self._log.open("wb") as log:
            return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, env=environment)

    def goes_on(self) -> bool:
        """Whether there is more to come. Starts the next process where one has ended well."""
        if self._process.poll() == 0 and self._left:
            self._before = self.tally()
            self._file.unlink()
            self._process = self._start()
        return self._process.poll() is None

    def wait(self, timeout_s: float) -> None:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout_s)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def tally(self) -> Tally:
        """What they have seen, and what ended one that failed."""
        told = msgspec.json.decode(self._file.read_bytes(), type=Tally) if self._file.exists() else Tally()
        if self._process.poll():
            end = self._end(self._process.returncode)
            told.findings[f"{end.kind} {end.place}"] = end
        return total([self._before, told])

    def _end(self, code: int) -> Finding:
        tail = self._log.read_text(errors="replace")[-LOG_TAIL_CHARS:]
        for saved in self._folder.glob("saved-*"):
            kind = SAVED_AS.get(saved.name.split("-")[1])
            if kind is not None:
                self._findings.mkdir(parents=True, exist_ok=True)
                file = shutil.copy(saved, self._findings / saved.name.removeprefix("saved-"))
                return Finding(kind, "the process", tail, 1, str(file))
        return Finding("ended", "the process", f"exit code {code}: {tail}", 1, "")


def fuzz(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run, from the examples to the report."""
    started_s = time.monotonic()
    each, more = divmod(options.inputs, options.processes)
    lanes = [Lane(number, each + (number < more), folder, options) for number in range(options.processes)]
    try:
        while running := [lane for lane in lanes if lane.goes_on()]:
            running[0].wait(PROGRESS_S)
            _say(total([lane.tally() for lane in lanes]), time.monotonic() - started_s)
    finally:
        for lane in lanes:
            lane.kill()
    return report(total([lane.tally() for lane in lanes]), time.monotonic() - started_s, options)


def report(tally: Tally, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """What was tried, how it went, and on what. Shares are of the records, worker messages apart."""
    events, poison = (sum(counts.get(route, 0) for route in RECORDS) for counts in (tally.accepted, tally.refused))
    return {
        "passed": tally.inputs >= options.inputs and not tally.findings,
        "inputs": tally.inputs,
        "event_share": round(events / max(1, events + poison), 4),
        "poison_share": round(poison / max(1, events + poison), 4),
        "poison_reasons": sum(reason.split(" ", 1)[0] in RECORDS for reason in tally.reasons),
        "slowest_us": msgspec.to_builtins(tally.slowest_us),
        "largest_allocation_bytes": msgspec.to_builtins(tally.largest_bytes),
        "allocations_measured": tally.measured,
        "allowed_bytes": {"floor": FLOOR_BYTES, "per_input_byte": BYTES_PER_BYTE},
        "max_rss_mb": round(tally.max_rss_mb, 1),
        "executions_per_s": round(tally.inputs / seconds, 1),
        "seconds": round(seconds, 1),
        "findings": [msgspec.to_builtins(found) for found in tally.findings.values()],
        "by_route": {
            str(route): {"accepted": tally.accepted.get(route, 0), "refused": tally.refused.get(route, 0)}
            for route in Route
        },
        "reasons": dict(sorted(tally.reasons.items(), key=lambda entry: -entry[1])),
        "seed": options.seed,
        "processes": options.processes,
        "versions": {"python": platform.python_version(), **{name: metadata.version(name) for name in LIBRARIES}},
        "platform": platform.platform(),
        **reports.origin(),
    }


def replay(file: Path, options: argparse.Namespace) -> int:
    """Run one saved input and say what comes of it."""
    data = file.read_bytes()
    print(f"{len(data)} bytes: {str(unpack(data))[:SHOWN_CHARS]}", flush=True)  # before it can break the process
    target = load(options.target)
    ran = run(target, data)
    fault = ran.fault
    if fault is None:
        peak = peak_bytes(target, data)
        print(f"{ran.outcome}: {ran.cpu_us:,.0f} us, {peak:,} bytes at once")
        fault = too_much(data, peak)
    if fault is None:
        return 0
    print(f"{fault.kind}: {fault.place}: {fault.detail}")
    return 1


def _say(tally: Tally, seconds: float) -> None:
    refused = sum(tally.refused.values()) / max(1, tally.inputs)
    print(
        f"{tally.inputs:11,} inputs, {tally.inputs / seconds:,.0f}/s, {refused:.0%} refused for "
        f"{len(tally.reasons)} reasons, slowest {tally.slowest_us.value:,.0f} us, "
        f"largest {tally.largest_bytes.value:,.0f} bytes, {len(tally.findings)} findings",
        file=sys.stderr, flush=True,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz_decoding", description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=1, metavar="S")
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="at a time")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--findings", type=Path, default=ROOT / "build" / "fuzz", metavar="DIR", help="keep them here")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="run only this input, which was saved")
    parser.add_argument("--target", default=TARGET, metavar="MODULE:NAME", help="what is run on each input")
    options = parser.parse_args(arguments)
    if options.replay:
        return replay(options.replay, options)
    if importlib.util.find_spec("atheris") is None:
        print("needs atheris, which has wheels for CPython 3.11 to 3.13 on Linux, x86-64: pip install atheris==3.0.0",
              file=sys.stderr)
        return NO_FUZZER
    if min(options.inputs, options.processes) < 1:
        parser.error("at least one input and one process")
    options.processes = min(options.inputs, options.processes)
    options.findings = options.findings.resolve()
    with tempfile.TemporaryDirectory(prefix="footfall-fuzz-") as folder:
        measured = fuzz(options, Path(folder))
    print(json.dumps({name: value for name, value in measured.items() if name != "reasons"}, indent=2))
    for found in measured["findings"]:
        print(f"{found['kind']}, {found['count']} times: {found['place']}: {found['detail']}", file=sys.stderr)
        if found["file"]:
            again = f"--replay {found['file']}" + (f" --target {options.target}" if options.target != TARGET else "")
            print(f"  again: python -m benchmarks.fuzz_decoding {again}", file=sys.stderr)
    reports.write(measured, options.json)
    return 0 if measured["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
