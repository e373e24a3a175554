"""The benchmark's figures follow from its rounds; a quick run goes from end to end and has the contract's fields."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from benchmarks.pipeline.__main__ import main
from benchmarks.pipeline.report import SHARES, Round, draw, figures, table
from benchmarks.streaming.answers import Answers
from benchmarks.streaming.bare import BareBatching, BareRates
from benchmarks.streaming.phases import Drained, Offered
from benchmarks.streaming.served import Served

BARE = BareRates(BareBatching(32, by_length=True), 100.0, 150.0)


def served(service_ms: float) -> Served:
    return Served(batches=9, mean_batch_size=4, collate_ms=0, forward_ms=service_ms, reply_ms=0, service_ms=service_ms,
                  shed=0, failures=0)


def offered(p99_ms: int, service_ms: float = 20.0) -> Offered:
    answers = Answers(100, 0, Counter({10: 90, p99_ms: 10}), Counter())
    return Offered(eps=50, answers=answers, steady=answers, served=served(service_ms), cores={})


def round_of(eps: float, half_ms: int, null_ms: int, *, fallbacks: int = 0) -> Round:
    drained = Drained(eps=eps, answers=Answers(100 - fallbacks, fallbacks, Counter({1: 100}), Counter()),
                      served=served(50), cores={"worker/device": 0.99})
    return Round(
        drained=drained, bare=BARE, beside_busy=BARE, null_model=offered(null_ms),
        loads={share: offered(half_ms if share == 0.5 else 500) for share in SHARES},
    )


def shown(report: dict[str, Any]) -> list[bool]:
    assert report["passed"] == all(report["shown"].values())
    return list(report["shown"].values())


def test_figures_are_medians_of_the_rounds() -> None:
    report = figures([round_of(80, 70, 30), round_of(91, 90, 31), round_of(95, 400, 90)], lost=0)
    assert (report["ratio_to_bare_model"], report["ratios"]) == (0.91, [0.8, 0.91, 0.95])
    assert report["ratio_to_bare_forward"] == pytest.approx(91 / 150, abs=1e-4)
    assert (report["half_load_p99_ms"], report["null_model_p99_ms"], report["mean_batch_service_ms"]) == (90, 31, 20)
    assert shown(report) == [True, True, True, True]
    assert [load["share"] for load in report["loads"]] == list(SHARES)
    assert report["loads"][0]["latency_ms"]["p99"] == {"min": 500, "median": 500, "max": 500}


def test_what_is_not_reached_is_not_shown() -> None:
    assert shown(figures([round_of(89, 90, 30)], lost=0)) == [False, True, True, True]
    assert shown(figures([round_of(91, 91, 30)], lost=0)) == [True, False, True, True]
    assert shown(figures([round_of(91, 90, 30, fallbacks=1)], lost=0)) == [True, True, False, True]
    assert shown(figures([round_of(91, 90, 30)], lost=1)) == [True, True, True, False]


def test_figures_are_told_to_people_and_drawn(tmp_path: Path) -> None:
    report = figures([round_of(91, 90, 30)], lost=1) | {
        "broker": {"kind": "tansu", "version": "1"}, "device": "cpu", "measured_at": "now",
    }
    text = table(report)
    assert "0.910 of the bare model's 100" in text
    assert "NOT shown: nothing lost" in text
    draw(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_quick_run_has_the_fields_of_the_contract_and_a_result_for_each_event(
    report: Path, device_core: int
) -> None:
    assert main(["--quick", "--json", str(report), "--device-cpu", str(device_core)]) == 0
    found = json.loads(report.read_bytes())
    assert all(found[name] > 0 for name in (
        "ratio_to_bare_model", "half_load_p99_ms", "null_model_p99_ms", "mean_batch_service_ms",
    ))
    assert (found["results_per_event"], found["drain_fallback_share"], found["lost"]) == (1.0, 0.0, 0)
    assert found["bare_forward_eps"]["median"] > found["bare_loop_eps"]["median"]
    assert found["drain"][0]["cores"]["worker/device"] > 0
    assert found["broker"]["kind"] == "tansu"
