"""One small training on the synthetic shop, shared by the tests of a session; one torch thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from footfall.datasets import Dataset, synthetic
from model_core.recommender import checkpoint
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.training import TrainingOptions, TrainingProgress, train

SMALL = TrainingOptions(seed=3, steps=150, d=16, layers=1, heads=1, dropout=0.0, learning_rate=1e-2, negatives=1000)


@pytest.fixture(scope="session")
def small() -> TrainingOptions:
    return SMALL


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def shop() -> Dataset:
    return synthetic.load()


@pytest.fixture(scope="session")
def losses() -> list[float]:
    """The running loss of the training below, step by step."""
    return []


@pytest.fixture(scope="session")
def folder(shop: Dataset, losses: list[float], tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    """A trained checkpoint on disk."""

    def note(at: TrainingProgress) -> None:
        losses.append(at.loss)

    trained = train(shop.log, shop.catalog, until_ms=shop.trained_until_ms, options=SMALL, progress=note)
    folder = tmp_path_factory.mktemp("checkpoints") / "synthetic"
    checkpoint.save(trained, folder)
    return folder


@pytest.fixture
def runner(folder: Path) -> RecommenderRunner:
    return RecommenderRunner.load(folder)
