"""A trained recommender on disk: a folder with `model.safetensors` (weights, float16) and `config.json` (the rest).

Only safetensors is read: loading runs no code from the file. The version is the start of the weights' SHA-256.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from model_core.recommender.model import ModelConfig, RecommenderModel
from model_core.runner import CheckpointError
from model_core.trained_folder import CONFIG, WEIGHTS, describe, verified_weights, write

FORMAT = "footfall-recommender/1"
BUFFERS = ("words", "log_popularity")


class Description(Struct, frozen=True, kw_only=True):
    """What is known of a checkpoint besides its weights.

    `item_ids` is the vocabulary in the order of the weights; `popular` the best sold of the last 28 days, best first;
    `trained_until` an ISO time: nothing from then on was read; `metrics` of a validation run, by name.
    """

    format: str = FORMAT
    config: ModelConfig
    item_ids: tuple[str, ...]
    popular: tuple[str, ...]
    trained_until: str
    data_fingerprint: str
    data_lines: int
    steps: int
    options: dict[str, Any]
    dataset: str = ""
    metrics: dict[str, float] = {}
    weights_sha256: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A model in memory with its description."""

    model: RecommenderModel
    description: Description

    @property
    def version(self) -> str:
        return self.description.weights_sha256[:12]


def save(checkpoint: Checkpoint, folder: Path) -> Description:
    """Write the folder, as `trained_folder.write` does."""
    tensors = {name: tensor.half().contiguous() for name, tensor in checkpoint.model.state_dict().items()}
    tensors["words"] = checkpoint.model.words.short().contiguous()
    tensors["log_popularity"] = checkpoint.model.log_popularity.contiguous()
    weights = save_tensors(tensors)
    description = msgspec.structs.replace(
        checkpoint.description, weights_sha256=hashlib.sha256(weights).hexdigest(), format=FORMAT
    )
    write(folder, weights, msgspec.json.encode(description))
    return description


def load(folder: Path, sha256: str = "") -> Checkpoint:
    """Read a checkpoint onto the CPU, in float32.

    Raises CheckpointError when a file is missing, damaged, of another format, or not the one `config.json` describes,
    and when the weights' SHA-256 does not begin with `sha256`, in hex.
    """
    description = describe(
        folder, Description, FORMAT, is_a="a checkpoint's description",
        remedy="make a checkpoint with `footfall train recommender`",
    )
    weights = verified_weights(folder, description, sha256)
    try:
        tensors = load_tensors(weights)
        buffers = [tensors.pop(name) for name in BUFFERS]
        model = RecommenderModel(description.config, *buffers)
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit {CONFIG} ({error}); train it again") from error
    if len(description.item_ids) != description.config.items:
        raise CheckpointError(
            f"{folder / CONFIG} lists {len(description.item_ids)} items, the weights hold {description.config.items}"
        )
    return Checkpoint(model=model.eval(), description=description)
