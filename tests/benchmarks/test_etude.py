"""The benchmark runs from end to end and its clicks follow power laws. Its figures are not judged here."""

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from benchmarks.etude.load import LoadedPipeline
from benchmarks.etude.sessions import CLICK_EXPONENT, Sessions
from benchmarks.etude.weights import random_checkpoint
from model_core.batching.policy import MAX_PENDING
from model_core.recommender.runner import RecommenderRunner
from schemas.inference import UserState

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_every_catalogue_is_reported_with_its_capacity_and_latencies(tmp_path: Path) -> None:
    file, plot = tmp_path / "report.json", tmp_path / "plot.png"
    options = ["--json", str(file), "--plot", str(plot), "--quick"]
    command = [sys.executable, "-m", "benchmarks.etude", *options]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    report = json.loads(file.read_bytes())
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert report["device"] == "cpu"
    assert report["device_name"]
    assert [row["items"] for row in report["catalogues"]] == [500, 3000]
    for row in report["catalogues"]:
        assert row["exact"]
        assert row["recall_at_64"] == 1
        assert row["capacity_per_s"]["median"] > 0
        assert row["memory_mb"]["peak"] > 0
        assert {offer["share_of_capacity"] for offer in row["offered"]} == {None, 0.5, 0.75, 0.9}
        for offer in row["offered"]:
            assert 0 < offer["p50_ms"]["median"] <= offer["p90_ms"]["median"] <= offer["p99_ms"]["median"]
            assert offer["mean_batch"]["median"] >= 1


def test_clicks_follow_power_laws_and_are_the_same_for_a_seed() -> None:
    sessions = Sessions(50_000, seed=3)
    clicks = sessions.popularity / sessions.popularity.min()
    exponent = 1 + len(clicks) / np.log(clicks).sum()  # the maximum-likelihood estimate (Clauset et al., 2009)
    assert abs(exponent - CLICK_EXPONENT) < 0.1
    requests = sessions.requests(3000)
    assert len({request.id for request in requests}) == 3000
    histories = [msgspec.msgpack.decode(request.state, type=UserState).history[::2] for request in requests]
    assert min(map(len, histories)) == 1
    assert 64 < max(map(len, histories)) <= 128
    items = np.array([int(line.split(":")[1]) for history in histories for line in history])
    popular = np.argsort(-sessions.popularity)[:5000]
    expected = sessions.popularity[popular].sum()
    assert abs(np.isin(items, popular).mean() - expected) < 0.05
    assert requests == Sessions(50_000, seed=3).requests(3000)


def test_a_request_has_the_clicks_of_its_session_until_then() -> None:
    from benchmarks.etude.sessions import _prefixes

    states = [msgspec.msgpack.decode(raw, type=UserState) for raw in _prefixes(np.array([4, 8, 4]))]
    items = [[line.split(":")[1] for line in state.history[::2]] for state in states]
    assert items == [["4"], ["8", "4"], ["4", "8", "4"]]
    assert [int(time) for time in states[2].history[1::2]] == sorted(map(int, states[2].history[1::2]), reverse=True)


def test_load_beyond_the_capacity_is_late_and_answered() -> None:
    sessions = Sessions(200, seed=1)
    checkpoint = random_checkpoint(sessions.log_popularity, 1)
    with LoadedPipeline(lambda: RecommenderRunner(checkpoint)) as worker:
        capacity = worker.drain(sessions.requests(200), 0.3)
        served = worker.offer(sessions.requests(200), 20_000, 0.3, seed=1)  # more than may wait
    assert 100 < capacity < 20_000
    assert served.p99_ms > 1000 * MAX_PENDING / 20_000
    assert served.mean_batch > 1
