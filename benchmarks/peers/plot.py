"""Draws a report: throughput, CPU and latency of every peer, a panel for each model. Knows nothing but the report."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.plots import bars, require

FIGURES = (
    ("throughput_eps", "events/s, drained backlog"),
    ("cpu_us_per_event", "CPU µs per event, drained backlog"),
    ("p99_ms", "p99 ms to record and Redis, steady rate"),
)
COLORS = {"footfall": "tab:red", "peer": "tab:blue", "floor": "tab:gray"}


def draw(report: Mapping[str, Any], file: Path) -> None:
    """Write the plot as PNG: medians, with lines from the least to the greatest of the rounds.

    Raises PlotsMissingError.
    """
    require()
    from matplotlib.figure import Figure  # noqa: PLC0415 - as in benchmarks/plots.py

    shown = [(name, title) for name, title in FIGURES if report["spread"][name]]
    columns = max(len(report["spread"][name]) for name, _ in shown)
    figure = Figure(figsize=(4.5 * columns, 0.8 + 2.8 * len(shown)), layout="constrained")
    panels = figure.subplots(len(shown), columns, squeeze=False)
    for row, (name, title) in zip(panels, shown, strict=True):
        models = report["spread"][name]
        for axes in row[len(models) :]:
            axes.set_visible(False)
        for axes, (model, peers) in zip(row, models.items(), strict=False):
            colors = [COLORS[_kind(peer, report["floors"])] for peer in reversed(peers)]
            bars(axes, dict(reversed(peers.items())), color=colors)  # the first at the top
            axes.set(title=f"model: {model}", xlabel=title)
            axes.grid(axis="x", alpha=0.3)
    broker, machine = report["broker"], report["machine"]
    figure.suptitle(
        f"{broker['kind']} {broker['version']}, {machine['cpus']} CPUs, commit {report['git_commit'][:10]}, "
        f"{report['measured_at'][:10]}\nmedian, least and greatest of {report['rounds']} rounds; gray: bare clients",
        fontsize="medium",
    )
    figure.savefig(file, dpi=120, format="png")


def _kind(peer: str, floors: list[str]) -> str:
    if peer == "footfall":
        return peer
    return "floor" if peer in floors else "peer"
