"""A trained model on disk: a folder with `model.safetensors` and `config.json`, which names the weights' SHA-256.

Knows neither models nor tensors. Each model has its own description in `config.json`, and its own word for what to do.
"""

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec

from model_core.runner import CheckpointError

WEIGHTS, CONFIG = "model.safetensors", "config.json"


class Described(Protocol):
    """What every description has."""

    @property
    def format(self) -> str: ...
    @property
    def weights_sha256(self) -> str: ...


DescriptionT = TypeVar("DescriptionT", bound=Described)


def write(folder: Path, weights: bytes, config: bytes) -> None:
    """Write the folder in one step, in place of an earlier one; a reader sees the old or the new, never a mixture."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    fresh.chmod(0o755)
    (fresh / WEIGHTS).write_bytes(weights)
    (fresh / CONFIG).write_bytes(config)
    if folder.exists():
        old = Path(tempfile.mkdtemp(prefix=f".{folder.name}-old-", dir=folder.parent))
        folder.rename(old / folder.name)
        fresh.rename(folder)
        shutil.rmtree(old)
    else:
        fresh.rename(folder)


def describe(folder: Path, kind: type[DescriptionT], version: str, *, is_a: str, remedy: str) -> DescriptionT:
    """The description in a folder that is complete.

    `version`: the format that is read; `is_a`: what `config.json` should be; `remedy`: for a folder without files.
    Raises `CheckpointError` when a file is missing, or the description cannot be read.
    """
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} holds no {name}; {remedy}")
    try:
        description = msgspec.json.decode((folder / CONFIG).read_bytes(), type=kind)
    except msgspec.MsgspecError as error:
        raise CheckpointError(f"{folder / CONFIG} is not {is_a} ({error}); train it again") from error
    if description.format != version:
        raise CheckpointError(
            f"{folder} has format {description.format!r}, this version reads {version!r}; train it again"
        )
    return description


def verified_weights(folder: Path, description: Described, sha256: str) -> bytes:
    """The bytes that the description means. Raises `CheckpointError` when they are others, or do not begin so."""
    if not description.weights_sha256.startswith(sha256.lower()):
        raise CheckpointError(
            f"{folder} holds the weights {description.weights_sha256}, not {sha256}: was it copied in full?"
        )
    weights = (folder / WEIGHTS).read_bytes()
    if hashlib.sha256(weights).hexdigest() != description.weights_sha256:
        raise CheckpointError(
            f"{folder / WEIGHTS} is damaged: its SHA-256 is not the one in {CONFIG}; copy or train it again"
        )
    return weights
