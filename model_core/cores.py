"""Which CPU cores threads run on. Linux: affinity belongs to a thread, and a new thread inherits it."""

import os
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from contextlib import contextmanager


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


def affinity() -> frozenset[int]:
    """Where the calling thread may run. Raises CoresError."""
    if not hasattr(os, "sched_setaffinity"):
        raise CoresError("cores can be chosen on Linux only")
    return frozenset(os.sched_getaffinity(0))


@contextmanager
def on(cores: AbstractSet[int]) -> Iterator[None]:
    """Have the calling thread, and what it starts meanwhile, on these cores. Raises CoresError."""
    before = affinity()
    take(cores)
    try:
        yield
    finally:
        take(before)


def leave(cores: AbstractSet[int]) -> None:
    """Move the calling thread, and those that it starts from now on, off these cores. Raises CoresError."""
    rest = affinity() - cores
    if not rest:
        raise CoresError("no other core is left to this process: its other threads need one")
    with on(cores):  # so that who cannot have them learns it now
        pass
    take(rest)


def take(cores: AbstractSet[int]) -> None:
    """Move the calling thread, and those that it starts from now on, to these cores. Raises CoresError."""
    try:
        os.sched_setaffinity(0, cores)
    except OSError:
        raise CoresError(f"this process can use none of the cores {sorted(cores)}: see `nproc`, or taskset") from None
