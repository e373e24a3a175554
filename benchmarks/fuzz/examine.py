"""Runs a target on one input and says what it cost: CPU time, and the most memory that it held at once.

Memory is all that Python's allocators hand out, which is all that CPython and msgspec use (msgspec's C code calls no
malloc of its own); `tracemalloc` counts it exactly, in a run of its own, which takes five times as long and loses some
kB for good (60 bytes for each line of code that allocates). libFuzzer's `-malloc_limit_mb` would see nothing: it works
through hooks that only a sanitizer installs. What C code may take behind Python's back is not counted here, but bounded
for the process (`benchmarks.fuzz.child`).

The time includes the garbage collections that the input sets off.
"""

import tracemalloc
from time import thread_time_ns
from traceback import extract_tb

from msgspec import Struct

from benchmarks.fuzz.target import Outcome, Target

MAX_DETAIL_CHARS = 1_000
FLOOR_BYTES = 1 << 20
BYTES_PER_BYTE = 64  # `[],` is three bytes in, and out come a list object of 56 and its places in a list that grows


class Fault(Struct, frozen=True):
    """What may not happen. Faults of one `kind` and `place` are the same one."""

    kind: str
    place: str
    detail: str


class Run(Struct, frozen=True):
    """One run. Either `outcome` or `fault`, which tells what it raised."""

    outcome: Outcome | None
    fault: Fault | None
    cpu_us: float


def run(target: Target, data: bytes) -> Run:
    """Run it. Raises nothing but KeyboardInterrupt."""
    outcome, fault = None, None
    started_ns = thread_time_ns()
    try:
        outcome = target(data)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - that it raises is what is looked for
        fault = _raised(error)
    return Run(outcome, fault, (thread_time_ns() - started_ns) / 1000)


def peak_bytes(target: Target, data: bytes) -> int:
    """Run it, and return the most memory that it held at once. Only for what `run` found nothing in."""
    tracemalloc.start(1)
    try:
        target(data)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def too_much(data: bytes, peak: int) -> Fault | None:
    """A fault where an input held more at once than its size allows."""
    allowed = FLOOR_BYTES + BYTES_PER_BYTE * len(data)
    if peak <= allowed:
        return None
    return Fault("allocated", "one input", f"{peak} bytes at once for an input of {len(data)}; {allowed} are allowed")


def _raised(error: BaseException) -> Fault:
    frame = extract_tb(error.__traceback__)[-1]
    kind = "out of memory" if isinstance(error, MemoryError) else "raised"
    place = f"{type(error).__qualname__} in {frame.name}, {frame.filename}:{frame.lineno}"
    return Fault(kind, place, str(error)[:MAX_DETAIL_CHARS])
