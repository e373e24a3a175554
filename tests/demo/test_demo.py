"""The whole demo, end to end, on the local stack with the small made-up shop."""

import json
import os
from pathlib import Path

import pytest

TINY = {"seed": 0, "steps": 3, "d": 24, "layers": 1, "heads": 3, "negatives": 64, "windows_per_batch": 4}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FOOTFALL_HOME with a model of the synthetic shop, and no broker or cache named."""
    from footfall.datasets import load
    from model_core.recommender.checkpoint import save
    from model_core.recommender.training import TrainingOptions, train

    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "FOOTFALL_WORKERS", "FOOTFALL_PREFIX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOOTFALL_HOME", str(tmp_path))
    monkeypatch.setenv("FOOTFALL_SESSION_TIMEOUT_S", "3")
    data = load("synthetic")
    checkpoint = train(data.log, data.catalog, until_ms=data.trained_until_ms, options=TrainingOptions(**TINY))
    save(checkpoint, tmp_path / "checkpoints" / "synthetic")
    return tmp_path


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_the_demo_loses_duplicates_and_overtakes_nothing(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from footfall.demo import run_demo

    path = home / "report.json"
    code = run_demo(dataset="synthetic", events=600, speed=200_000, seed=1, headless=True, report=path)
    report = json.loads(path.read_text())
    faults = ("lost", "duplicated", "older_over_newer", "dead_letters")
    assert {name: report[name] for name in faults} == dict.fromkeys(faults, 0)
    assert code == 0
    assert report["events_in"] == report["events_acked"] == 600
    assert report["drained"]
    assert report["restarts"] == 0
    assert report["cases"] > 20
    assert report["late_scores"] == 0
    assert report["fallback_share"] == 0
    assert 0 < report["latency_ms"]["p50"] <= report["latency_ms"]["p99"]
    assert set(report["hit_rate_at_10"]) == {"model", "popularity", "personal_frequency"}
    assert report["model"]["name"] == "recommender"
    assert report["broker"]["kind"] == ("apache-kafka" if os.environ.get("KAFKA_HOME") else "tansu")
    assert "Nothing was lost" in capsys.readouterr().out
