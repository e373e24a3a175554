"""The whole demo, end to end, on the local stack with the small made-up shop: purchases and support messages."""

import json
import os
import sys
from pathlib import Path

import pytest

from schemas.settings import ipc_endpoint

TINY = {"seed": 0, "steps": 3, "d": 24, "layers": 1, "heads": 3, "negatives": 64, "windows_per_batch": 4}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A FOOTFALL_HOME with a model of the synthetic shop, and no broker or cache named."""
    from footfall.datasets import load
    from model_core.recommender.checkpoint import save
    from model_core.recommender.training import TrainingOptions, train

    for name in ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "FOOTFALL_WORKERS", "FOOTFALL_PREFIX", "FOOTFALL_REPLY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOOTFALL_REPLY_ENGINE", "template")  # the encoder is all that a message cannot do without
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
    replies = report["replies"]
    assert replies["messages"] == replies["answered"] == 2
    assert replies["note"] == ""
    assert sum(replies["languages"].values()) == 2
    assert 0 < replies["latency_ms"]["p50"] <= replies["latency_ms"]["p95"]
    said = capsys.readouterr().out
    assert "Nothing was lost" in said
    assert "2 of 2 simulated messages answered" in said


@pytest.mark.stack
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("models", "messages"), [("recommender", 0), ("recommender,encoder", 1)])
def test_workers_of_others_are_used_and_without_one_for_replies_the_demo_goes_on_and_says_so(
    models: str, messages: int, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from footfall.demo import run_demo, support
    from footfall.stack.server import Server
    from model_core.control import WorkerUnreachable, query_stats

    monkeypatch.setattr(support, "FIND_S", 3.0)  # the worker is ready
    listen, control = ipc_endpoint("worker"), ipc_endpoint("control")

    def is_ready() -> bool:
        try:
            return bool(query_stats(control, 1.0).models)
        except WorkerUnreachable:
            return False

    worker = Server("worker", [
        sys.executable, "-m", "model_core", "--models", models, "--checkpoint", str(home / "checkpoints" / "synthetic"),
        "--listen", listen, "--control", control, "--threads", "1",
    ], home / "worker.log", is_ready)
    worker.start(60)
    monkeypatch.setenv("FOOTFALL_WORKERS", listen)
    try:
        path = home / "report.json"
        assert run_demo(dataset="synthetic", events=300, speed=200_000, seed=1, headless=True, report=path) == 0
    finally:
        worker.stop()
    report = json.loads(path.read_text())
    assert report["events_in"] == report["events_acked"] == 300
    assert report["replies"]["messages"] == report["replies"]["answered"] == messages
    note = "no worker of FOOTFALL_WORKERS serves encoder"
    assert (note in report["replies"]["note"]) == (note in capsys.readouterr().out) == (not messages)
