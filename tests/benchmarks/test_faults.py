"""The fault ledger, in small: its input is the same each time, and a short run accounts for every event."""

import json
from pathlib import Path

import msgspec
import pytest

from benchmarks.faults.__main__ import main
from benchmarks.faults.account import _expected_states
from benchmarks.faults.kinds import FAULTS
from benchmarks.faults.traffic import Traffic
from schemas.events import CustomerEvent


def test_the_input_is_the_same_each_time_and_all_of_it_is_events() -> None:
    traffic = Traffic.now("t", 500, 20, seed=3)
    inputs = list(traffic.inputs())
    assert inputs == list(traffic.inputs())
    assert len(inputs) == 500
    for one in [*inputs, traffic.raising(1)]:
        event = msgspec.json.decode(one.value, type=CustomerEvent)
        assert (event.data.user, round(event.time.timestamp() * 1000)) == (one.user, one.time_ms)


def test_poison_is_no_event() -> None:
    traffic = Traffic.now("t", 1, 1, seed=3)
    for number in range(20):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(traffic.poison(number).value, type=CustomerEvent)


def test_the_expected_state_counts_every_event_once() -> None:
    traffic = Traffic.now("t", 500, 20, seed=3)
    states = _expected_states(traffic)
    assert sum(state.version for state in states.values()) == 500
    assert all(state.history for state in states.values())


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_short_run_loses_and_doubles_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("KAFKA_HOME", "KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOOTFALL_HOME", str(tmp_path))
    report = tmp_path / "report.json"
    only = ("poison_in_bursts", "worker_killed", "cache_restarted")
    code = main(["--events", "2000", "--units", "1", "--users", "50", "--only", *only, "--json", str(report)])
    counts = json.loads(report.read_bytes())
    assert code == 0, counts
    assert (counts["events_in"], counts["dead_letters"], counts["state_differences"]) == (2300, 300, 0)
    assert {one["fault"] for one in counts["faults"]} == set(only)
