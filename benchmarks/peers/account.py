"""What a run's output records say: which events were answered, how fast, how late. Pure.

Times are those at which the broker appended a record and Redis executed a command, in whole and in exact milliseconds:
nobody has to watch while peers run.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from benchmarks import reports
from benchmarks.peers.work import MAX_BATCH


class NoFigureError(ValueError):
    """What was seen of a run says nothing about the figure."""


class Output(Struct, frozen=True):
    """An output record: the event that it answers, and when the broker had it."""

    event: str
    at_ms: float


class Counts(Struct, frozen=True):
    """`lost`: events without a result. `duplicated`: results beyond the first of an event. `unasked`: of no event."""

    lost: int
    duplicated: int
    unasked: int = 0


class Sample(Struct, frozen=True):
    """A look at a running peer: output records so far, and the CPU seconds of each of its processes so far."""

    outputs: int
    cpu_s: Mapping[str, float]


class Latency(Struct, frozen=True):
    """Milliseconds; None where so many events were lost."""

    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values_ms: Sequence[float]) -> "Latency":
        """Sum up; an endless one is of an event that never arrived."""
        found = [reports.percentile(values_ms, share) for share in (0.5, 0.9, 0.99, 1.0)]
        return cls(*[round(value, 2) if math.isfinite(value) else None for value in found])


class _Result(Struct):
    id: str


_decode = msgspec.json.Decoder(_Result).decode


def event_of(result: bytes) -> str:
    """The event that a result answers."""
    return _decode(result).id


def counts(sent: Iterable[str], outputs: Iterable[Output]) -> Counts:
    """Hold what came out against what went in."""
    results = Counter(output.event for output in outputs)
    unasked = results.keys() - (events := set(sent))
    return Counts(
        len(events - results.keys()), sum(results[event] - 1 for event in events & results.keys()), len(unasked)
    )


def rate(outputs: Sequence[Output]) -> float:
    """Results per second between the first full batch, which has start-up in it, and the last.

    Raises NoFigureError where there are too few, or all came at once.
    """
    times_ms = sorted(output.at_ms for output in outputs)
    first = min(MAX_BATCH, len(times_ms) // 10)
    if first < 1 or times_ms[-1] == times_ms[first - 1]:
        raise NoFigureError(f"{len(times_ms)} results say nothing about a rate: give it more events")
    return 1000 * (len(times_ms) - first) / (times_ms[-1] - times_ms[first - 1])


def cpu_us(samples: Sequence[Sample]) -> dict[str, float]:
    """CPU microseconds per result and process, from the last sample without results to the first with all of them.

    So what is read ahead of the first result counts, and of start-up at most the time between two samples. Raises
    NoFigureError where there was never a result.
    """
    without = [sample for sample in samples if not sample.outputs]
    results = samples[-1].outputs if samples else 0
    if not without or not results:
        raise NoFigureError("a cost needs a sample without results, and one with some")
    first, last = without[-1], next(sample for sample in samples if sample.outputs == results)
    return {name: 1e6 * (used_s - first.cpu_s[name]) / results for name, used_s in last.cpu_s.items()}


def latencies_ms(due_ms: Mapping[str, float], *arrivals: Mapping[str, float]) -> list[float]:
    """For each event that was due, how long until it had arrived everywhere; what never did counts as endless."""
    return [max(arrived.get(event, math.inf) for arrived in arrivals) - at_ms for event, at_ms in due_ms.items()]


def first_arrivals(outputs: Iterable[Output]) -> dict[str, float]:
    """When each event was first answered."""
    first: dict[str, float] = {}
    for output in outputs:
        first[output.event] = min(output.at_ms, first.get(output.event, math.inf))
    return first


def stale(sent: Iterable[tuple[str, str]], stored: Mapping[str, str]) -> int:
    """How many users' stored result does not answer their newest event. `sent`: (event, user); `stored`: by user."""
    newest = {user: event for event, user in sent}
    return sum(stored.get(user) != event for user, event in newest.items())
