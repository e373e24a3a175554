"""The benchmark runs from end to end and reports its figures. They are not judged here, but for what cannot be so."""

import json
from pathlib import Path

import pytest

from agents.results import decode_recommendations
from benchmarks import user_state


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_the_report_has_a_figure_for_every_length_and_the_memory_by_part(report: Path) -> None:
    assert user_state.main(["--json", str(report), "--users", "50", "--rounds", "1"]) == 0
    measured = json.loads(report.read_bytes())
    lengths = {str(length) for length in user_state.LENGTHS}
    for name in ("whole", "told", "finish"):
        assert set(measured[name]) == lengths
        assert all(of["redis_us"]["median"] > 0 for of in measured[name].values())
    after_128, after_300 = measured["memory_bytes"]["128"], measured["memory_bytes"]["300"]
    assert all(after_128[part] > 0 for part in user_state.PARTS)
    assert after_300["seen"] > after_128["seen"], "ids are kept of more events than lines are"
    assert measured["state_bytes"]["128"] == sum(after_128.values()) - after_128["recommendations"]


def test_the_stored_result_is_one_that_readers_can_read() -> None:
    result = decode_recommendations(user_state.stored_result("u1", 7))
    assert (result.user_id, result.history_version, len(result.items)) == ("u1", 7, user_state.SHOWN)
