"""What the rounds of `benchmarks.overload` come to: the contract's fields, a table and a plot."""

import itertools
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from benchmarks import plots
from benchmarks.reports import spread
from benchmarks.streaming.cpu import beside_the_device
from benchmarks.streaming.phases import Drained, Offered
from footfall.ledger import percentiles

GOODPUT = 0.93  # of capacity / offered: what the model must answer at least


class Round(Struct, frozen=True, kw_only=True):
    """`off`, `on`: coalescing. Capacities are those before and after."""

    before: Drained
    off: Offered
    on: Offered
    after: Drained
    meeting_users: int

    @property
    def capacity_eps(self) -> float:
        return (self.before.eps + self.after.eps) / 2

    @property
    def goodput(self) -> float:
        """The model's share of the answers, of what it could be: 1 where the device did nothing in vain."""
        return self.off.steady.model_share / min(1.0, self.capacity_eps / self.off.eps)


def figures(rounds: Sequence[Round], lost: int, budget_s: float) -> dict[str, Any]:
    """The contract's fields, what must be shown of them, and how all of it spreads over the rounds."""

    def over(value: Callable[[Round], float]) -> dict[str, float]:
        return spread([value(one) for one in rounds])

    budget_ms = 1000 * budget_s
    drains = [rounds[0].before, *(one.after for one in rounds)]
    within = min(load.answers.within(budget_ms) for one in rounds for load in (one.off, one.on))
    goodput = statistics.median(one.goodput for one in rounds)
    shown = {
        f"the model answers at least {GOODPUT} of capacity / offered": goodput >= GOODPUT,
        f"everything is answered within {budget_s:g} s": within == 1.0,
        "nothing lost": lost == 0,
    }
    return {
        "model_share": round(statistics.median(one.off.steady.model_share for one in rounds), 4),
        "answered_within_budget": round(within, 6),
        "capacity_eps": round(statistics.median(one.capacity_eps for one in rounds), 1),
        "offered_eps": round(statistics.median(one.off.eps for one in rounds), 1),
        "lost": lost,
        "coalesced_share": round(statistics.median(1 - one.on.steady.results_per_event for one in rounds), 4),
        "passed": all(shown.values()),
        "shown": shown,
        "goodput": over(lambda one: one.goodput),
        "capacity": over(lambda one: one.capacity_eps),
        "capacity_fallback_share": max(1 - one.answers.model_share for one in drains),
        "capacity_cores": [one.cores for one in drains],
        "budget_s": budget_s,
        "meeting_users": [one.meeting_users for one in rounds],
        "coalescing_off": [_load(one.off, budget_ms) for one in rounds],
        "coalescing_on": [_load(one.on, budget_ms) for one in rounds],
    }


def _load(offered: Offered, budget_ms: float) -> dict[str, Any]:
    steady = offered.steady
    return {
        "offered_eps": round(offered.eps, 1),
        "model_share": round(steady.model_share, 4),
        "model_share_of_events": round(steady.model_ms.total() / max(1, steady.events), 4),
        "results_per_event": round(steady.results_per_event, 4),
        "answered_within_budget": offered.answers.within(budget_ms),
        "latency_ms": {
            "all": _latency(steady.model_ms + steady.fallback_ms), "model": _latency(steady.model_ms),
            "fallback": _latency(steady.fallback_ms),
        },
        # answers of the worker that nobody waited for any more, and those that replaced a fallback
        "worker_answers_per_model_result": round(
            offered.served.batches * offered.served.mean_batch_size / max(1, steady.model_results), 4
        ),
        "worker": msgspec.to_builtins(offered.served),
        "cores": offered.cores,
        "other_cores_used": beside_the_device(offered.cores),
    }


def _latency(ms: Counter[int]) -> dict[str, float]:
    return {**msgspec.to_builtins(percentiles(ms)), "max": float(max(ms, default=0))}


def draw(report: dict[str, Any], file: Path) -> None:
    """How long events waited, by who answered, all rounds together."""
    title = f"{report['offered_eps']:,.0f} events/s offered, {report['capacity_eps']:,.0f} the capacity"
    with plots.drawing(file, f"Event → Redis in overload: {title}", "share of events", "ms") as axes:
        groups = itertools.product(("coalescing_off", "coalescing_on"), ("model", "fallback"))
        for group, (mode, who) in enumerate(groups):
            rows = [one["latency_ms"][who] for one in report[mode] if one["latency_ms"][who]["max"]]
            for number, row in enumerate(rows):
                axes.plot(
                    [0.5, 0.9, 0.99, 1.0], [row[name] for name in ("p50", "p90", "p99", "max")], color=f"C{group}",
                    marker="o", label=f"{who}, {mode.replace('_', ' ')}" if number == 0 else None,
                )
        axes.axhline(1000 * report["budget_s"], color="grey", linewidth=1, label="budget")
        axes.set_ylim(bottom=0)


def table(report: dict[str, Any]) -> str:
    """The figures for people."""
    broker = report["broker"]
    lines = [
        f"{broker['kind']} {broker['version']}, {report['device']}, {report['measured_at']}",
        f"capacity {report['capacity_eps']:,.0f} events/s, offered {report['offered_eps']:,.0f}",
        f"{'coalescing':>10} {'by model':>9} {'results/event':>14} {'in time':>8} {'p50':>6} {'p99':>6} {'max':>6} ms",
    ]
    for mode in ("off", "on"):
        for load in report[f"coalescing_{mode}"]:
            ms = load["latency_ms"]["all"]
            lines.append(
                f"{mode:>10} {load['model_share']:9.1%} {load['results_per_event']:14.2f} "
                f"{load['answered_within_budget']:8.2%} {ms['p50']:6.0f} {ms['p99']:6.0f} {ms['max']:6.0f}"
            )
    used = max(load["other_cores_used"] for mode in ("off", "on") for load in report[f"coalescing_{mode}"])
    lines.append(f"cores beside the device's in use: up to {used:.2f} of {len(report['other_cores'])}")
    lines += [f"{'shown' if shown else 'NOT shown'}: {what}" for what, shown in report["shown"].items()]
    return "\n".join(lines)
