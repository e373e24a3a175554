"""The benchmark's figures follow from its rounds; a quick run goes from end to end and loses nothing."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.overload.__main__ import main
from benchmarks.overload.report import Round, draw, figures, table
from benchmarks.streaming.answers import Answers
from benchmarks.streaming.phases import Drained, Offered
from benchmarks.streaming.served import Served

SERVED = Served(
    batches=10, mean_batch_size=70, collate_ms=1, forward_ms=2, reply_ms=3, service_ms=6, shed=0, failures=0
)


def overload(model: int, fallback: int, *, events: int = 1000, slowest_ms: int = 1990) -> Offered:
    answers = Answers(
        model, fallback, Counter({900: events - fallback}), Counter({1100: fallback - 1, slowest_ms: 1})
    )
    return Offered(eps=150.0, answers=answers, steady=answers, served=SERVED, cores={})


def drained(eps: float) -> Drained:
    return Drained(eps=eps, answers=Answers(9, 0, Counter({1: 9}), Counter()), served=SERVED, cores={})


def round_of(off: Offered, capacity_eps: float = 100.0) -> Round:
    return Round(
        before=drained(capacity_eps - 10), off=off, on=overload(600, 1), after=drained(capacity_eps + 10),
        meeting_users=100,
    )


def shown(report: dict[str, Any]) -> list[bool]:
    assert report["passed"] == all(report["shown"].values())
    return list(report["shown"].values())


def test_figures_are_medians_of_the_rounds_and_the_worst_of_what_is_promised() -> None:
    report = figures([round_of(overload(model, 1000 - model)) for model in (600, 640, 660)], lost=0, budget_s=2.0)
    assert (report["model_share"], report["capacity_eps"], report["offered_eps"]) == (0.64, 100, 150)
    assert report["goodput"] == {"min": 0.9, "median": 0.96, "max": 0.99}
    assert (report["answered_within_budget"], report["lost"]) == (1.0, 0)
    assert report["coalesced_share"] == pytest.approx(1 - 601 / 1000, abs=1e-3)
    assert report["coalescing_off"][0]["worker_answers_per_model_result"] == pytest.approx(700 / 600, abs=1e-4)
    assert report["coalescing_off"][0]["latency_ms"]["fallback"] == {"p50": 1100, "p90": 1100, "p99": 1100, "max": 1990}
    assert shown(report) == [True, True, True]


def test_what_is_not_reached_is_not_shown() -> None:
    assert shown(figures([round_of(overload(610, 390))], lost=0, budget_s=2.0)) == [False, True, True]
    late = figures([round_of(overload(660, 340)), round_of(overload(660, 340, slowest_ms=2001))], 0, 2.0)
    assert shown(late) == [True, False, True]
    assert late["answered_within_budget"] == 0.999
    assert shown(figures([round_of(overload(660, 340))], lost=2, budget_s=2.0)) == [True, True, False]


def test_below_capacity_the_model_is_to_answer_everything() -> None:
    assert shown(figures([round_of(overload(999, 1), capacity_eps=200)], lost=0, budget_s=2.0)) == [True, True, True]
    assert shown(figures([round_of(overload(900, 100), capacity_eps=200)], lost=0, budget_s=2.0)) == [False, True, True]


def test_figures_are_told_to_people_and_drawn(tmp_path: Path) -> None:
    report = figures([round_of(overload(660, 340))], lost=1, budget_s=2.0) | {
        "broker": {"kind": "tansu", "version": "1"}, "device": "cpu", "measured_at": "now", "other_cores": [1],
    }
    text = table(report)
    assert "capacity 100 events/s, offered 150" in text
    assert "NOT shown: nothing lost" in text
    draw(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_quick_run_has_the_fields_of_the_contract_and_loses_nothing(report: Path, device_core: int) -> None:
    # a stand-in model that is slow enough: the capacity does not hang on what else the machine does
    arguments = ["--quick", "--stub-ms", "320", "--factor", "2", "--device-cpu", str(device_core)]
    assert main([*arguments, "--json", str(report)]) == 0
    found = json.loads(report.read_bytes())
    assert 0 < found["capacity_eps"] <= 64 / 0.32 * 1.25  # some batches only: their ends are coarse
    assert found["offered_eps"] == pytest.approx(2 * found["capacity_eps"], rel=0.2)
    assert 0 < found["model_share"] < 1
    assert 0 < found["coalesced_share"] < 1
    assert found["lost"] == 0
    assert found["coalescing_off"][0]["results_per_event"] == 1.0
    assert 0 < found["answered_within_budget"] <= 1
