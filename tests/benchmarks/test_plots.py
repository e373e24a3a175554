"""A plot is a PNG file; without matplotlib the reader is told what to install, before anything is measured."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from benchmarks import plots


def test_a_plot_is_written_as_png(tmp_path: Path) -> None:
    file = tmp_path / "plot.png"
    with plots.drawing(file, "title", "load", "ms") as axes:
        axes.plot([0.25, 0.5], [1.0, 2.0], label="p99")
    assert file.read_bytes().startswith(b"\x89PNG")


def test_without_matplotlib_the_reader_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(plots.PlotsMissingError, match=r"pip install 'footfall\[plots\]'"):
        plots.require()
    with pytest.raises(plots.PlotsMissingError), plots.drawing(tmp_path / "plot.png", "title", "x", "y"):
        pass


def test_a_command_refuses_to_plot_before_it_measures(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    parser = argparse.ArgumentParser()
    plots.add_option(parser)
    assert parser.parse_args([]).plot is None
    with pytest.raises(SystemExit):
        parser.parse_args(["--plot", "plot.png"])
    assert "pip install 'footfall[plots]'" in capsys.readouterr().err
