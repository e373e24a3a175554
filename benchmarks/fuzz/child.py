"""`python -m benchmarks.fuzz.child …`: one fuzzing process. libFuzzer chooses the inputs, and ends the process.

libFuzzer learns from the branches of the product's Python code. Of msgspec, which is C and not instrumented, it learns
by the reasons it gives and by how much memory it takes: they are counted as branches here.

CPU time is taken of every input; memory of every fourth, and of each that is long or is refused for a new reason. Three
bounds hold for the process, whatever allocates in it, and for what inputs leave behind: a limit of the system on its
data, where an allocation beyond fails at the input that asks for it; `-rss_limit_mb`, which is looked at once a second,
so that the input it names may be a later one; and `-timeout` for an input that does not end. A crash or a breach of the
last two ends the process, and libFuzzer saves the input; what raises or holds too much is saved here, and the run goes
on.
"""

import argparse
import gc
import importlib
import logging
import resource
import sys
import zlib
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.fuzz import mutator
from benchmarks.fuzz.examine import Fault, peak_bytes, run, too_much
from benchmarks.fuzz.tally import Extreme, Finding, Tally
from benchmarks.fuzz.target import Target

PRODUCT = ("agents", "schemas", "model_core", "footfall")
MAX_INPUT_BYTES = 300_000  # some more than the largest record that is read
TIMEOUT_S = 20  # far above the slowest: the machine may be busy
RSS_LIMIT_MB = 1_024  # more than at the start
DATA_HEADROOM_BYTES = 512 << 20
MEASURE_ONE_IN = 4
ALWAYS_MEASURED_BYTES = 4_096
REASON_FEATURES = 4_096
SIZE_FEATURES = 64
COARSE_BYTES = 65_536  # what else Python holds, by some hundred bytes, must not decide which inputs come next
MAX_FINDINGS = 50
TELL_EVERY = 500  # inputs
GROWTH_BYTES = 4_096  # of one mutation of bytes


class Child:
    """Called with each input."""

    def __init__(self, target: Target, runs: int, folder: Path, findings: Path, fuzzer: Any) -> None:
        self._target = target
        self._runs = runs
        self._file = folder / "tally.json"
        self._findings = findings
        self._fuzzer = fuzzer
        self._features = [fuzzer._reserve_counter() for _ in range(REASON_FEATURES + SIZE_FEATURES)]  # noqa: SLF001
        self._smallest: dict[str, int] = {}
        self.tally = Tally()

    def __call__(self, data: bytes) -> None:
        tally, ran = self.tally, run(self._target, data)
        reasons = len(tally.reasons)
        self._learn(zlib.crc32(tally.add(ran.outcome).encode()) % REASON_FEATURES)
        route = "?" if ran.outcome is None else str(ran.outcome.route)
        tally.slowest_us = max(tally.slowest_us, Extreme(ran.cpu_us, len(data), route))
        if ran.fault is not None:
            self._found(ran.fault, data)
        elif tally.inputs % MEASURE_ONE_IN == 0 or len(data) > ALWAYS_MEASURED_BYTES or len(tally.reasons) > reasons:
            self._measure(data, route)
        if tally.inputs == self._runs or tally.inputs % TELL_EVERY == 0:  # by the clock, no two runs would be the same
            self._tell()

    def _measure(self, data: bytes, route: str) -> None:
        peak = peak_bytes(self._target, data)
        self.tally.measured += 1
        self.tally.largest_bytes = max(self.tally.largest_bytes, Extreme(peak, len(data), route))
        self._learn(REASON_FEATURES + (peak // COARSE_BYTES).bit_length())
        fault = too_much(data, peak)
        if fault is not None:
            self._found(fault, data)

    def _learn(self, feature: int) -> None:
        self._fuzzer._trace_branch(self._features[feature])  # noqa: SLF001 - as instrumented code does

    def _found(self, fault: Fault, data: bytes) -> None:
        known, name = self.tally.findings, f"{fault.kind} {fault.place}"
        if name not in known and len(known) >= MAX_FINDINGS:
            return
        file = self._findings / f"finding-{sha256(name.encode()).hexdigest()[:12]}"
        if len(data) < self._smallest.get(name, sys.maxsize):
            self._smallest[name] = len(data)
            self._findings.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        count = known[name].count + 1 if name in known else 1
        known[name] = Finding(fault.kind, fault.place, fault.detail, count, str(file))

    def _tell(self) -> None:
        """Write what was seen so far where the parent reads it."""
        self.tally.max_rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        new = self._file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(self.tally))
        new.replace(self._file)


def load(name: str) -> Target:
    """The target called `module:function`, or `module:class` to be made."""
    module, _, attribute = name.partition(":")
    made = getattr(importlib.import_module(module), attribute)
    target: Target = made() if isinstance(made, type) else made
    return target


def _limit_data() -> None:
    lines = Path("/proc/self/status").read_text().splitlines()
    used = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmData"))
    resource.setrlimit(resource.RLIMIT_DATA, (used + DATA_HEADROOM_BYTES,) * 2)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz.child", description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, required=True, metavar="S")
    parser.add_argument("--folder", type=Path, required=True, metavar="DIR", help="has `corpus` and `dictionary`")
    parser.add_argument("--findings", type=Path, required=True, metavar="DIR")
    parser.add_argument("--target", required=True, metavar="MODULE:NAME")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)  # the product says of each bad message that it is one
    fuzzer = importlib.import_module("atheris")  # here: it has no types, and no wheel for some platforms
    with fuzzer.instrument_imports(include=PRODUCT):
        target = load(options.target)
    child = Child(target, options.runs, options.folder, options.findings, fuzzer)

    def mutate(data: bytes, max_size: int, seed: int) -> bytes:
        def by_bytes(part: bytes) -> bytes:
            changed: bytes = fuzzer.Mutate(part[:max_size], min(max_size, len(part) + GROWTH_BYTES))
            return changed

        return mutator.mutate(data, max_size, seed, by_bytes)

    # Linux counts from the peak of the process that started this one, which may be a large one
    inherited_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    flags = {
        "atheris_runs": options.runs, "seed": options.seed, "max_len": MAX_INPUT_BYTES, "timeout": TIMEOUT_S,
        "rss_limit_mb": RSS_LIMIT_MB + inherited_mb, "dict": options.folder / "dictionary", "reload": 0,
        "artifact_prefix": f"{options.folder}/saved-",
    }
    _limit_data()
    gc.collect()
    gc.freeze()  # the time of an input is not that of walking what was imported
    fuzzer.Setup(
        [sys.argv[0], *(f"-{name}={value}" for name, value in flags.items()), str(options.folder / "corpus")], child,
        custom_mutator=mutate,
    )
    fuzzer.Fuzz()


if __name__ == "__main__":
    main()
