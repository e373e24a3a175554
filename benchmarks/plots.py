"""Plots of a benchmark's figures, as PNG. matplotlib (extra `plots`) is loaded only when one is drawn."""

import argparse
import importlib.util
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from footfall.errors import FootfallError

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class PlotsMissingError(FootfallError):
    """matplotlib is not installed."""


def require() -> None:
    """Find out before anything is measured whether plots can be drawn. Raises PlotsMissingError."""
    if importlib.util.find_spec("matplotlib") is None:
        raise PlotsMissingError("plots need matplotlib: pip install 'footfall[plots]', or leave --plot out")


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--plot FILE`, refused before anything is measured where nothing can be drawn."""
    parser.add_argument("--plot", type=_file, metavar="FILE", help="draw it as PNG; needs footfall[plots]")


def _file(text: str) -> Path:
    try:
        require()
    except PlotsMissingError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return Path(text)


@contextmanager
def drawing(file: Path, title: str, x: str, y: str) -> Iterator["Axes"]:
    """Axes with these labels to draw on; at the end their legend is added and `file` is written.

    Raises PlotsMissingError.
    """
    require()
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second, and not part of a plain install

    figure = Figure(figsize=(8, 5), layout="constrained")  # no pyplot: no display, no state
    axes = figure.subplots()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    yield axes
    if axes.get_legend_handles_labels()[1]:
        axes.legend()
    figure.savefig(file, dpi=120, format="png")


def bars(axes: "Axes", spreads: Mapping[str, Mapping[str, float]], **style: Any) -> None:
    """A bar per name, the first at the bottom: medians, with lines from the least to the greatest of the rounds."""
    medians = [spread["median"] for spread in spreads.values()]
    below = [spread["median"] - spread["min"] for spread in spreads.values()]
    above = [spread["max"] - spread["median"] for spread in spreads.values()]
    axes.barh(list(spreads), medians, xerr=[below, above], ecolor="black", capsize=2, **style)
