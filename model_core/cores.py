"""Which CPU cores the worker's threads run on. Linux: affinity belongs to a thread, and a new thread inherits it."""

import os
from collections.abc import Set as AbstractSet


class CoresError(ValueError):
    """The cores cannot be used as asked; the message says what would do."""


def parse(text: str) -> frozenset[int]:
    """Read a list of cores as `taskset --cpu-list` does: `0`, `2,3`, `0-3,8`. Raises CoresError."""
    cores: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()) or (dash and int(last) < int(first)):
            raise CoresError(f"{text!r} is no list of cores: write 0, or 2,3, or 0-3,8")
        cores.update(range(int(first), int(last if dash else first) + 1))
    return frozenset(cores)


def leave(cores: AbstractSet[int]) -> None:
    """Move the calling thread, and those that it starts from now on, off these cores. Raises CoresError."""
    if not hasattr(os, "sched_setaffinity"):
        raise CoresError("cores can be chosen on Linux only")
    rest = os.sched_getaffinity(0) - cores
    if not rest:
        raise CoresError("no other core is left to this process: its other threads need one")
    take(cores)  # so that who cannot have them learns it now
    take(rest)


def take(cores: AbstractSet[int]) -> None:
    """Move the calling thread, and those that it starts from now on, to these cores. Raises CoresError."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        raise CoresError(f"this process can use none of the cores {sorted(cores)}: see `nproc`, or taskset") from None
