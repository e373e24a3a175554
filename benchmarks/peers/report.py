"""From runs to the report: the medians that the contract names, their spread, what they are held against. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from benchmarks.peers.account import Latency
from benchmarks.peers.bench import Run
from benchmarks.peers.packages import Peer
from benchmarks.peers.work import MAX_BATCH
from benchmarks.reports import spread

MODELS = {"null": 0.0, "5ms": 5.0, "50ms": 50.0}  # ms that the device takes for a batch
TARGETS = {
    "cpu_of_footfall_over_aiokafka, null": "<= 1",
    "throughput_of_footfall_over_stock_faust, null": ">= 3",
    "throughput_of_footfall_over_best_peer, 5ms": "> 1",
    "throughput_of_footfall_over_device_limit, 50ms": ">= 0.95",
    "p99_of_footfall_over_best_peer, 5ms": "< 1",
}


class Measured(Struct, frozen=True):
    """A run that counts, and what it was of. `steady`: events came at a steady rate; else a backlog was drained."""

    peer: str
    model: str
    steady: bool
    run: Run


Table = dict[str, dict[str, dict[str, float]]]  # model, peer, min/median/max of the rounds


def figures(peers: Sequence[Peer], measured: Sequence[Measured]) -> dict[str, Any]:
    """The contract's fields first; of every figure the median of the rounds, and its spread."""
    drained = [one for one in measured if not one.steady]
    steady = [one for one in measured if one.steady]
    spreads = {
        "throughput_eps": _table(drained, lambda run: run.rate_eps),
        "p99_ms": _table(steady, lambda run: _of(run.both_ms, "p99")),
        "p50_ms": _table(steady, lambda run: _of(run.both_ms, "p50")),
        "max_ms": _table(steady, lambda run: _of(run.both_ms, "max")),
        "p99_to_record_ms": _table(steady, lambda run: _of(run.record_ms, "p99")),
        "p99_to_redis_ms": _table(steady, lambda run: _of(run.redis_ms, "p99")),
        "p99_of_sender_ms": _table(steady, lambda run: _of(run.sender_late_ms, "p99")),
        "cpu_us_per_event": _table(drained, lambda run: sum(run.cpu_us.values())),
        "steady_cpu_us_per_event": _table(steady, lambda run: sum(run.cpu_us.values())),
    }
    throughput_eps, p99_ms, cpu_us = (
        _medians(spreads[name]) for name in ("throughput_eps", "p99_ms", "cpu_us_per_event")
    )
    return {
        "throughput_eps": throughput_eps,
        "p99_ms": p99_ms,
        "cpu_us_per_event": cpu_us,
        "cpu_us_of_footfall": {
            part: _medians(_table(
                [one for one in drained if one.peer == "footfall"], lambda run, part=part: run.cpu_us[part]  # type: ignore[misc]
            ))
            for part in ("agent", "worker")
        },
        "ratios": _ratios(throughput_eps, p99_ms, cpu_us),
        "targets": TARGETS,
        "lost": _sum(peers, measured, lambda run: run.counts.lost),
        "duplicated": _sum(peers, measured, lambda run: run.counts.duplicated),
        "unasked": _sum(peers, measured, lambda run: run.counts.unasked),
        "stale_users": _sum(peers, measured, lambda run: run.stale_users),
        "runs_not_fully_committed": _sum(peers, measured, lambda run: (run.committed_share or 1.0) < 1.0),
        "spread": spreads,
    }


def _table(measured: Sequence[Measured], figure: Callable[[Run], float | None]) -> Table:
    found: dict[str, dict[str, list[float]]] = {}
    for one in measured:
        value = figure(one.run)
        if value is not None:
            found.setdefault(one.model, {}).setdefault(one.peer, []).append(value)
    return {model: {peer: spread(values) for peer, values in row.items()} for model, row in found.items()}


def _of(latency: Latency | None, name: str) -> float | None:
    return None if latency is None else getattr(latency, name)


def _medians(table: Table) -> dict[str, dict[str, float]]:
    return {model: {peer: spread["median"] for peer, spread in row.items()} for model, row in table.items()}


def _sum(peers: Iterable[Peer], measured: Sequence[Measured], figure: Callable[[Run], int]) -> dict[str, int]:
    return {peer.name: sum(figure(one.run) for one in measured if one.peer == peer.name) for peer in peers}


def _ratios(
    throughput_eps: Mapping[str, Mapping[str, float]], p99_ms: Mapping[str, Mapping[str, float]],
    cpu_us: Mapping[str, Mapping[str, float]],
) -> dict[str, float]:
    """Footfall against what it is held to, of the medians; what was not measured is left out. Floors are peers too."""

    def ratio(row: Mapping[str, float], other: float | None) -> float | None:
        return round(row["footfall"] / other, 3) if other and "footfall" in row else None

    def best(row: Mapping[str, float], choose: Callable[[list[float]], float]) -> float | None:
        return choose(found) if (found := [value for peer, value in row.items() if peer != "footfall"]) else None

    null, fast, slow = (throughput_eps.get(model, {}) for model in MODELS)
    null_cpu, p99 = cpu_us.get("null", {}), p99_ms.get("5ms", {})
    found = {
        "cpu_of_footfall_over_aiokafka, null": ratio(null_cpu, null_cpu.get("aiokafka")),
        "throughput_of_footfall_over_stock_faust, null": ratio(null, null.get("stock_faust")),
        "throughput_of_footfall_over_best_peer, 5ms": ratio(fast, best(fast, max)),
        "throughput_of_footfall_over_device_limit, 50ms": ratio(slow, 1000 * MAX_BATCH / MODELS["50ms"]),
        "p99_of_footfall_over_best_peer, 5ms": ratio(p99, best(p99, min)),
    }
    return {name: value for name, value in found.items() if value is not None}


def table(report: Mapping[str, Any]) -> str:
    """The figures for people: medians, the spread of the rounds in brackets."""
    broker, machine = report["broker"], report["machine"]
    lines = [
        f"{broker['kind']} {broker['version']}, {machine['cpus']} CPUs, {report['measured_at']}",
        f"{report['events']:,} events, {report['rounds']} rounds",
    ]
    for title, name, digits in (
        ("events per second, backlog", "throughput_eps", 0), ("CPU us per event, backlog", "cpu_us_per_event", 1),
        (f"p99 ms to both at {report['rate_eps']:,.0f}/s", "p99_ms", 1),
    ):
        models = report["spread"][name]
        if models:
            lines += ["", f"{title:32}" + "".join(f"{model:>28}" for model in models)]
            peers = dict.fromkeys(peer for row in models.values() for peer in row)
            lines += [
                f"  {peer:30}" + "".join(f"{_cell(row.get(peer), digits):>28}" for row in models.values())
                for peer in peers
            ]
    lines += ["", *(f"{name:52}{value:8.3f}   wanted {TARGETS[name]}" for name, value in report["ratios"].items())]
    for name in ("lost", "duplicated", "stale_users"):
        if any(report[name].values()):
            lines.append(f"{name}: " + ", ".join(f"{peer} {count:,}" for peer, count in report[name].items() if count))
    return "\n".join(lines)


def _cell(values: Mapping[str, float] | None, digits: int) -> str:
    if values is None:
        return "-"
    return f"{values['median']:,.{digits}f} [{values['min']:,.{digits}f}-{values['max']:,.{digits}f}]"
