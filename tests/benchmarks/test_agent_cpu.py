"""The benchmark runs from end to end and reports the contract's fields. Its figures are not judged here."""

import json
from pathlib import Path

import pytest

from benchmarks import agent_cpu
from benchmarks.clicks import Clicks
from schemas import events

EVENTS = 400


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_the_report_has_the_fields_of_the_contract_and_every_event_was_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)  # it makes and deletes topics
    monkeypatch.setattr(agent_cpu, "SETTLE_TIMEOUT_S", 0.0)
    file = tmp_path / "report.json"
    plot = tmp_path / "plot.png"
    arguments = ["--json", str(file), "--plot", str(plot), "--events", str(EVENTS), "--users", "40", "--rounds", "1"]
    assert agent_cpu.main(arguments) == 0
    report = json.loads(file.read_bytes())
    assert set(report["agent_cpu_us_per_event"]) == {
        "consume", "decode_dispatch", "with_history", "full", "full_no_coalescing",
    }
    assert all(cost > 0 for cost in report["agent_cpu_us_per_event"].values())
    assert report["raw_getmany_us"] > 0
    assert report["stock_take_us"] > 0
    assert report["share_of_stock_take"]["stock_take"]["median"] == 1
    assert 0 < report["share_of_stock_take"]["raw_getmany"]["max"] < 1
    assert 0 < report["results_per_event"]["full"] <= report["results_per_event"]["full_no_coalescing"] <= 1
    assert report["broker"]["kind"]
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_a_backlog_is_made_of_clicks_in_the_order_of_event_time() -> None:
    import msgspec

    clicks = [msgspec.json.decode(value, type=events.Click) for _, value in Clicks("r", 200, 20).records()]
    assert [click.time for click in clicks] == sorted(click.time for click in clicks)
    assert len({click.id for click in clicks}) == 200
    assert {click.data.user for click in clicks} <= {f"r-{number}" for number in range(20)}
