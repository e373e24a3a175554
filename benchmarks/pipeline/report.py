"""What the rounds of `benchmarks.pipeline` come to: the contract's fields, a table and a plot."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks import plots
from benchmarks.reports import spread
from benchmarks.streaming.bare import BareRates
from benchmarks.streaming.cpu import beside_the_device
from benchmarks.streaming.phases import Drained, Offered

SHARES = (0.25, 0.5, 0.75, 0.9)  # of the drained rate
HALF = 0.5
RATIO, SERVICES = 0.90, 3  # what must be shown
PERCENTILES = ("p50", "p90", "p99")


class Round(Struct, frozen=True, kw_only=True):
    """`beside_busy`: the bare model while all other cores spin, which is what sharing the machine costs by itself."""

    drained: Drained
    bare: BareRates
    beside_busy: BareRates
    loads: dict[float, Offered]
    null_model: Offered

    @property
    def ratio(self) -> float:
        return self.drained.eps / self.bare.loop_eps


def figures(rounds: Sequence[Round], lost: int) -> dict[str, Any]:
    """The contract's fields, what must be shown of them, and how all of it spreads over the rounds."""

    def over(value: Callable[[Round], float]) -> dict[str, float]:
        return spread([value(one) for one in rounds])

    ratio = round(statistics.median(one.ratio for one in rounds), 4)
    half_p99_ms = over(lambda one: one.loads[HALF].steady.latency.p99)
    null_p99_ms = over(lambda one: one.null_model.steady.latency.p99)
    service_ms = over(lambda one: one.loads[HALF].served.service_ms)
    answers = [one.drained.answers for one in rounds]
    shown = {
        f"at least {RATIO} of the bare model": ratio >= RATIO,
        f"p99 at half load within that of a null model and {SERVICES} services":
            half_p99_ms["median"] <= null_p99_ms["median"] + SERVICES * service_ms["median"],
        "a result for each event, by the model": all(
            one.results_per_event == 1 and one.fallback_results == 0 for one in answers
        ),
        "nothing lost": lost == 0,
    }
    return {
        "ratio_to_bare_model": ratio,
        "half_load_p99_ms": half_p99_ms["median"],
        "null_model_p99_ms": null_p99_ms["median"],
        "mean_batch_service_ms": service_ms["median"],
        "passed": all(shown.values()),
        "shown": shown,
        "capacity_eps": over(lambda one: one.drained.eps),
        "bare_loop_eps": over(lambda one: one.bare.loop_eps),
        "bare_forward_eps": over(lambda one: one.bare.forward_eps),
        "bare_loop_beside_busy_cores_eps": over(lambda one: one.beside_busy.loop_eps),
        "ratios": [round(one.ratio, 4) for one in rounds],
        "ratio_to_bare_forward": round(statistics.median(one.drained.eps / one.bare.forward_eps for one in rounds), 4),
        "results_per_event": min(one.results_per_event for one in answers),
        "drain_fallback_share": max(1 - one.model_share for one in answers),
        "drain": [
            {"eps": round(one.drained.eps, 1), **msgspec.to_builtins(one.drained.served), "cores": one.drained.cores}
            for one in rounds
        ],
        "loads": [_load([one.loads[share] for one in rounds]) | {"share": share} for share in SHARES],
        "null_model": _load([one.null_model for one in rounds]) | {"share": HALF},
        "half_load_p99": half_p99_ms, "null_model_p99": null_p99_ms, "mean_batch_service": service_ms,
        "lost": lost,
    }


def _load(rounds: Sequence[Offered]) -> dict[str, Any]:
    latencies = [one.steady.latency for one in rounds]
    return {
        "offered_eps": spread([one.eps for one in rounds]),
        "latency_ms": {name: spread([getattr(one, name) for one in latencies]) for name in PERCENTILES},
        "mean_batch_size": spread([one.served.mean_batch_size for one in rounds]),
        "service_ms": spread([one.served.service_ms for one in rounds]),
        "fallback_share": max(1 - one.steady.model_share for one in rounds),
        "events": sum(one.steady.events for one in rounds),
        "cores": [one.cores for one in rounds],
        "other_cores_used": spread([beside_the_device(one.cores) for one in rounds]),
    }


def draw(report: dict[str, Any], file: Path) -> None:
    """Latency by load."""
    broker = report["broker"]
    title = f"Event → Redis, {report['capacity_eps']['median']:,.0f} events/s drained on {report['device']}"
    with plots.drawing(file, f"{title}, {broker['kind']} {broker['version']}", "events/s offered", "ms") as axes:
        offered = [load["offered_eps"]["median"] for load in report["loads"]]
        for name in PERCENTILES:
            ms = [load["latency_ms"][name] for load in report["loads"]]
            medians = [one["median"] for one in ms]
            axes.plot(offered, medians, marker="o", label=name)
            axes.fill_between(offered, [one["min"] for one in ms], [one["max"] for one in ms], alpha=0.2)
        null = report["null_model"]
        axes.plot(null["offered_eps"]["median"], report["null_model_p99_ms"], "x", label="p99, null model")
        axes.set_ylim(bottom=0)


def table(report: dict[str, Any]) -> str:
    """The figures for people."""
    broker, drained, bare = report["broker"], report["capacity_eps"]["median"], report["bare_loop_eps"]["median"]
    loads = [(f"{load['share']:.0%}", load) for load in report["loads"]]
    lines = [
        f"{broker['kind']} {broker['version']}, {report['device']}, {report['measured_at']}",
        (f"drained {drained:,.0f} events/s, {report['ratio_to_bare_model']:.3f} of the bare model's {bare:,.0f} "
         f"({report['ratio_to_bare_forward']:.3f} of its forward steps alone)"),
        f"{'load':>10} {'events/s':>9} {'p50':>6} {'p90':>6} {'p99':>6} ms {'batch':>6} {'service':>8} ms",
    ]
    for name, load in (*loads, ("null, 50%", report["null_model"])):
        ms = " ".join(f"{load['latency_ms'][percentile]['median']:6.0f}" for percentile in PERCENTILES)
        lines.append(f"{name:>10} {load['offered_eps']['median']:9,.0f} {ms}    "
                     f"{load['mean_batch_size']['median']:6.1f} {load['service_ms']['median']:8.1f}")
    lines += [f"{'shown' if shown else 'NOT shown'}: {what}" for what, shown in report["shown"].items()]
    return "\n".join(lines)
