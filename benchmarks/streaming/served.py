"""What a worker did between two questions to it. Pure."""

from collections.abc import Iterable

from msgspec import Struct

from schemas.control import ModelRuns, WorkerStats


class Served(Struct, frozen=True, kw_only=True):
    """Its batches. Times are means per batch: collating, the device, wording the answers; `service_ms`: all three."""

    batches: int
    mean_batch_size: float
    collate_ms: float
    forward_ms: float
    reply_ms: float
    service_ms: float
    shed: int
    failures: int


def between(before: WorkerStats, after: WorkerStats) -> Served:
    """Raises ValueError where these are not of one process, or it had nothing to do."""
    if before.epoch != after.epoch:
        raise ValueError("the worker was started again in the middle of a measurement: see its log")
    batches = after.batches - before.batches
    if not batches:
        raise ValueError("the worker ran no batch in the middle of a measurement: see the agents' log")
    collate_ms, forward_ms, reply_ms = (
        (end - start) / batches for start, end in zip(_sums_ms(before.runs), _sums_ms(after.runs), strict=True)
    )
    return Served(
        batches=batches, mean_batch_size=(after.requests - before.requests) / batches, collate_ms=collate_ms,
        forward_ms=forward_ms, reply_ms=reply_ms, service_ms=collate_ms + forward_ms + reply_ms,
        shed=after.shed.total - before.shed.total, failures=after.failures - before.failures,
    )


def _sums_ms(runs: Iterable[ModelRuns]) -> tuple[float, float, float]:
    of = list(runs)
    return (
        sum(one.batches * one.collate_ms for one in of),
        sum(one.batches * one.forward_ms for one in of),
        sum(one.batches * one.reply_ms for one in of),
    )
