"""Checkpoints: what is saved is what is loaded, and nothing else is."""

import shutil
from pathlib import Path

import msgspec
import pytest
import torch

from model_core.recommender import checkpoint
from model_core.runner import CheckpointError
from model_core.trained_folder import CONFIG, WEIGHTS


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_saved_checkpoint_loads_as_it_was(folder: Path, tmp_path: Path) -> None:
    first = checkpoint.load(folder)
    again = checkpoint.save(first, tmp_path / "again")
    second = checkpoint.load(tmp_path / "again")
    assert again == first.description == second.description  # so the weights have the same SHA-256
    assert second.version == first.version == again.weights_sha256[:12]
    for name, tensor in first.model.state_dict().items():
        assert torch.equal(tensor, second.model.state_dict()[name]), name


def test_saving_replaces_an_earlier_checkpoint_and_leaves_nothing_else(copy: Path) -> None:
    loaded = checkpoint.load(copy)
    renamed = checkpoint.Checkpoint(loaded.model, msgspec.structs.replace(loaded.description, dataset="other"))
    checkpoint.save(renamed, copy)
    assert checkpoint.load(copy).description.dataset == "other"
    assert [path.name for path in copy.parent.iterdir()] == ["copy"]


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_missing_file_is_named(copy: Path, name: str) -> None:
    (copy / name).unlink()
    with pytest.raises(CheckpointError, match=f"no {name}.*footfall train recommender"):
        checkpoint.load(copy)


def test_damaged_weights_are_refused(copy: Path) -> None:
    weights = copy / WEIGHTS
    damaged = bytearray(weights.read_bytes())
    damaged[-1] ^= 1
    weights.write_bytes(damaged)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.load(copy)


def test_another_format_is_refused(copy: Path) -> None:
    config = copy / CONFIG
    config.write_bytes(config.read_bytes().replace(checkpoint.FORMAT.encode(), b"footfall-recommender/9"))
    with pytest.raises(CheckpointError, match="format 'footfall-recommender/9'"):
        checkpoint.load(copy)


@pytest.mark.parametrize("content", [b"", b"not json", b'{"format":"footfall-recommender/1"}'])
def test_unreadable_description_is_refused(copy: Path, content: bytes) -> None:
    (copy / CONFIG).write_bytes(content)
    with pytest.raises(CheckpointError, match="not a checkpoint's description"):
        checkpoint.load(copy)


def test_weights_of_another_size_are_refused(copy: Path) -> None:
    description = checkpoint.load(copy).description
    wider = msgspec.structs.replace(description, config=msgspec.structs.replace(description.config, d=32))
    (copy / CONFIG).write_bytes(msgspec.json.encode(wider))
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.load(copy)


def test_weights_that_are_not_safetensors_are_refused(copy: Path) -> None:
    import hashlib

    (copy / WEIGHTS).write_bytes(b"\x80\x04pickle")
    description = msgspec.json.decode((copy / CONFIG).read_bytes(), type=checkpoint.Description)
    matching = msgspec.structs.replace(description, weights_sha256=hashlib.sha256(b"\x80\x04pickle").hexdigest())
    (copy / CONFIG).write_bytes(msgspec.json.encode(matching))
    with pytest.raises(CheckpointError, match="does not fit"):
        checkpoint.load(copy)
