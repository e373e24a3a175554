"""A tiny encoder and a head for it, shared by the tests of a session; one torch thread."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model_core.encoder import head as heads
from model_core.encoder.embedding import TextEncoder
from tests.encoder.tiny import encoder_folder, random_head


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def encoder_at(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return encoder_folder(tmp_path_factory.mktemp("encoders") / "tiny")


@pytest.fixture(scope="session")
def encoder(encoder_at: Path, one_thread: None) -> TextEncoder:
    return TextEncoder.load(encoder_at)


@pytest.fixture
def head_at(encoder: TextEncoder, tmp_path: Path) -> Path:
    """A head on disk."""
    heads.save(random_head(encoder), tmp_path / "head")
    return tmp_path / "head"
