"""`footfall worker stats`: a worker's counts for people, and as JSON."""

from collections.abc import Iterator
from typing import Any

import msgspec

from schemas.control import ModelRuns, WorkerStats


def as_json(stats: WorkerStats) -> str:
    """All of it, by the names of `schemas.control`."""
    return msgspec.json.format(msgspec.json.encode(_named(stats)), indent=2).decode()


def _named(value: Any) -> Any:
    """Structs by the names of their fields: on the wire they are arrays."""
    if isinstance(value, msgspec.Struct):
        return {name: _named(getattr(value, name)) for name in value.__struct_fields__}
    return [_named(one) for one in value] if isinstance(value, tuple) else value


def as_text(stats: WorkerStats) -> str:
    """One line for each thing that an operator looks for, then a column for each model."""
    served = ", ".join(f"{model.name} {model.version}" for model in stats.models) or "nothing yet, still loading"
    lines = [
        ("serves", served),
        ("worker", f"epoch {stats.epoch}, on {stats.device}, for {stats.uptime_s:,.0f} s, {stats.clients} clients"),
        ("queue", f"{stats.queued} requests wait now"),
        ("device", f"busy {stats.busy_share:.1%}, waits for work {stats.idle_share:.1%}"),
        ("answered", f"{stats.requests:,} requests in {stats.batches:,} batches, {stats.failures:,} failed"),
        ("shed", f"{stats.shed.late:,} late, {stats.shed.excess:,} in excess"),
        ("in vain", f"{stats.cancelled:,} cancelled, {stats.unwanted:,} answered for nobody"),
        ("refused", f"{stats.ignored:,} messages"),
        ("reloads", f"{stats.reloads.ok} done, {stats.reloads.rolled_back} rolled back"),
    ]
    text = [f"{name:<10}{value}" for name, value in lines]
    return "\n".join([*text, *_table(stats.runs)])


def _table(runs: tuple[ModelRuns, ...]) -> Iterator[str]:
    if not runs:
        return
    rows: list[tuple[str, list[str]]] = [
        ("", [run.model for run in runs]),
        ("requests", [f"{run.requests:,}" for run in runs]),
        ("batches", [f"{run.batches:,}" for run in runs]),
        ("batch, mean", [f"{run.mean_batch_size:.1f}" for run in runs]),
        ("batch, p50", [f"{_median(run.batch_sizes)}" for run in runs]),
        ("batch, max", [f"{run.max_batch_size}" for run in runs]),
        ("padding", [f"{run.padding_share:.1%}" for run in runs]),
        ("wait, ms", [f"{run.wait_ms:.2f}" for run in runs]),
        ("collate, ms", [f"{run.collate_ms:.2f}" for run in runs]),
        ("forward, ms", [f"{run.forward_ms:.2f}" for run in runs]),
        ("reply, ms", [f"{run.reply_ms:.2f}" for run in runs]),
        ("cost error", [f"{run.cost_error:.1%}" for run in runs]),
    ]
    widest = max(12, *(len(run.model) for run in runs))
    yield ""
    for name, cells in rows:
        yield f"{name:<12}" + "".join(f"{cell:>{widest + 2}}" for cell in cells)


def _median(sizes: tuple[int, ...]) -> str:
    """The middle batch, as far as counts of 1, 2, 3 to 4, 5 to 8, … tell."""
    seen, half = 0, sum(sizes) / 2
    for doublings, count in enumerate(sizes):
        seen += count
        if seen >= half:
            first, last = (2 ** (doublings - 1) + 1 if doublings else 1), 2**doublings
            return f"{first}" if first == last else f"{first}-{last}"
    return "-"
