"""Loading: what is served exactly, by an index, rounded, or not, and that it is said."""

import logging
from pathlib import Path

import pytest
import torch

from model_core.recommender import serving
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.scoring import Best, overlap
from schemas.inference import RecommendRequest

LOG = "footfall.worker"


def users(runner: RecommenderRunner) -> list[RecommendRequest]:
    return [user for batch in runner.example_batches() for user in batch[:8]]


def best(runner: RecommenderRunner) -> Best:
    """Of users without counters, whose items the model alone decides."""
    return runner.forward(runner.collate(users(runner)).without_counters()).ready()


def test_small_catalogue_is_scanned_in_full_precision_on_a_cpu(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, LOG):
        runner = RecommenderRunner.load(folder)
    assert runner.notes.endswith("items (exact), float32, traced")
    assert runner.recall == 1
    assert runner.notes in caplog.text


def test_index_serves_what_is_too_large_to_scan_and_its_recall_is_measured(
    folder: Path, runner: RecommenderRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("faiss", reason="approximate retrieval is an extra: pip install 'footfall[approximate]'")
    monkeypatch.setattr(serving, "CPU_SCAN_BYTES", 1000)
    with caplog.at_level(logging.INFO, LOG):
        indexed = RecommenderRunner.load(folder)
    assert f"recall@64 {indexed.recall:.3f}" in indexed.notes
    assert indexed.notes in caplog.text
    assert indexed.recall >= serving.RECALL
    assert RecommenderRunner.load(folder, retrieval="exact").recall == 1
    found, expected = best(indexed), best(runner)
    assert overlap(found.item, expected.item) > 0.9
    same = found.item == expected.item
    torch.testing.assert_close(found.score[same], expected.score[same], rtol=0.1, atol=1e-5)
    assert (found.kind[same] == expected.kind[same]).all()


def test_index_can_be_asked_for(folder: Path) -> None:
    pytest.importorskip("faiss", reason="approximate retrieval is an extra: pip install 'footfall[approximate]'")
    assert "approximate" in RecommenderRunner.load(folder, retrieval="approximate").notes


def test_rounding_that_keeps_the_best_items_is_kept(folder: Path, runner: RecommenderRunner) -> None:
    rounded = RecommenderRunner.load(folder, precision="bfloat16")
    assert "bfloat16" in rounded.notes
    assert overlap(best(rounded).item, best(runner).item) >= serving.KEPT
    assert not torch.equal(best(rounded).score, best(runner).score)


def test_rounding_that_would_change_them_is_given_up_and_that_is_said(
    folder: Path, runner: RecommenderRunner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serving, "KEPT", 1.1)
    plain = RecommenderRunner.load(folder, precision="bfloat16")
    assert "float32" in plain.notes
    assert "bfloat16 would keep" in caplog.text
    assert torch.equal(best(plain).score, best(runner).score)
