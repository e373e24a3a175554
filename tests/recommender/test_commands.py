"""What `footfall train recommender` and `footfall evaluate recommender` call."""

from datetime import datetime
from pathlib import Path

import msgspec
import pytest

from footfall import training
from footfall.datasets import Dataset
from model_core.recommender import checkpoint


@pytest.fixture
def written(shop: Dataset, tmp_path: Path) -> Path:
    training.train_recommender(shop, tmp_path / "made", steps=10, seed=1)
    return tmp_path / "made"


def test_training_writes_a_checkpoint_with_the_figures_of_a_validation_run(shop: Dataset, written: Path) -> None:
    description = checkpoint.load(written).description
    assert datetime.fromisoformat(description.trained_until).timestamp() * 1000 == shop.trained_until_ms
    assert description.dataset == "synthetic"
    assert description.steps == 6  # of 10: 40 % went to the validation run
    assert description.data_lines == len(shop.log.before(shop.trained_until_ms))
    assert description.metrics.keys() >= {"hit_rate_at_10.footfall", "ndcg_at_10.personal_frequency"}


def test_training_without_validation_uses_all_steps(shop: Dataset, tmp_path: Path) -> None:
    version = training.train_recommender(shop, tmp_path / "made", steps=2, validate=False)
    description = checkpoint.load(tmp_path / "made").description
    assert (description.steps, description.metrics) == (2, {})
    assert version == description.weights_sha256[:12]


def test_evaluation_writes_the_agreed_fields(shop: Dataset, written: Path, tmp_path: Path) -> None:
    training.evaluate_recommender(shop, written, json_path=tmp_path / "r.json", max_cases=40)
    report = msgspec.json.decode((tmp_path / "r.json").read_bytes())
    methods = {"footfall", "popularity", "personal_frequency"}
    assert report["cases"] == 40
    for metric in ("hit_rate_at_10", "ndcg_at_10", "recall_at_10", "mrr_at_10"):
        assert report[metric].keys() == report["se"][metric].keys() == methods
        assert all(0 <= value <= 1 for value in report[metric].values())


def test_progress_is_told_at_every_tenth_where_there_is_no_terminal(
    shop: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training.train_recommender(shop, tmp_path / "made", steps=40, validate=False)
    told = [line for line in capsys.readouterr().err.splitlines() if "step" in line]
    assert len(told) == 11
    assert told[-1].startswith("training: 100%, step 40, loss ")
