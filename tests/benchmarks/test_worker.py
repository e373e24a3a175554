"""The worker's benchmark measures what it says: who was asked is answered, and each table holds what it names."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import worker
from benchmarks.worker_fairness import STEP_MS, VARIANTS, Run, fairness, table
from benchmarks.worker_packing import apart, encode
from model_core.recommender import checkpoint
from model_core.registry import DEMO_CHECKPOINT


def test_the_section_holds_a_p99_for_each_company_and_the_steps() -> None:
    report = fairness(seconds=0.4, rounds=1, seed=1, shares=(0.25,))
    (row,) = report["loads"]
    assert set(row["p99_ms"]) == set(VARIANTS)
    assert set(row["p99_raised_ms"]) == set(VARIANTS) - {"alone"}
    assert row["others_share_of_device"]["alone"] == 0.0
    assert row["others_share_of_device"]["with_continuous"] > 0.0
    assert report["step_ms"]["continuous"] >= STEP_MS["continuous"]
    assert "with_both" in table(report)


def test_each_request_is_counted_once_from_when_it_was_due() -> None:
    run = Run(())
    run.measure(rate_eps=200.0, seconds=0.5, seed=1)
    assert len(run.latencies_s) == pytest.approx(0.9 * 200 * 0.5, rel=0.4)
    assert min(run.latencies_s) > 0.008  # a batch of one
    assert run.shed == 0


@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's compiler uses it
def test_compiled_batches_are_timed_beside_those_that_are_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.worker_executions.BACKEND", "eager")  # the real one needs a C++ compiler
    monkeypatch.setattr("benchmarks.worker_executions.SHAPES", ((16, 2),))  # a compiler needs seconds for each
    file = tmp_path / "report.json"
    assert worker.main(["--only", "executions", "--rounds", "1", "--json", str(file)]) == 0
    (row,) = json.loads(file.read_bytes())["executions"]
    assert (row["length"], row["batch"]) == (16, 2)
    assert row["compile_s"] > row["served_ms"] / 1000 > 0


def test_the_curve_is_drawn_and_nothing_else_is(tmp_path: Path) -> None:
    rows = [
        {"length": length, "batch": n, "users_per_s": 100 * n, "forward_ms_min": 9, "forward_ms_max": 11}
        for length in (16, 32) for n in (1, 2)
    ]
    worker.draw({"curve": rows, "device": "cpu", "measured_at": "2026-11-27T00:00:00"}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SystemExit):
        worker.main(["--only", "loops", "--plot", str(tmp_path / "plot.png")])


def test_a_packed_row_gives_each_history_the_states_that_it_has_alone() -> None:
    encoder = checkpoint.load(DEMO_CHECKPOINT).model.encoder
    hidden = torch.randn(1, 7, encoder.config.hidden_size)
    with torch.inference_mode():
        packed = encode(encoder, hidden, *apart([3, 4]))
        for part in (slice(0, 3), slice(3, 7)):
            alone = encode(encoder, hidden[:, part], torch.arange(part.stop - part.start)[None], None)
            torch.testing.assert_close(packed[:, part], alone)


def test_packing_is_timed_beside_padding(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert worker.main(["--only", "packing", "--users", "50", "--rounds", "1", "--json", str(file)]) == 0
    rows = json.loads(file.read_bytes())["packing"]
    assert [row["way"] for row in rows] == ["padded", "packed, 128", "packed, 256", "packed, 512", "packed, 1024"]
    assert 0 < rows[0]["padding_share"] < 0.5
    assert all(row["users_per_s"]["median"] > 0 for row in rows)
