"""What turns a text's vector and n-grams into an intent: a linear layer over both, and a calibration.

The vector and the n-grams each have weights that were trained without the other, since n-grams know the training
messages by heart and leave a vector nothing to learn. How far each is listened to was found out on other messages, for
Latin script and for Chinese apart: an encoder may know one language only. So was the temperature, which makes
probabilities honest (Guo et al., 2017).

On disk it is a folder with `model.safetensors` (weights, float16) and `config.json` (the rest). Only safetensors is
read. It belongs to the encoder that it was trained with, whose SHA-256 it names. The version is the start of its own.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.encoder.features import DIMENSION
from model_core.runner import CheckpointError
from model_core.trained_folder import CONFIG, WEIGHTS, describe, verified_weights, write

Floats: TypeAlias = NDArray[np.float32]
Ints: TypeAlias = NDArray[np.int64]

FORMAT = "footfall-intents/1"
OUT_OF_SCOPE = "out_of_scope"  # the intent of whatever a shop's support does not do
IDENTITY = 16  # hex digits of the encoder's SHA-256
PARTS = ("vector", "ngrams")  # of a head, as its weights are named
BINS = 15  # of probabilities, for the calibration error


class Scores(Struct, frozen=True, kw_only=True):
    """How good a head is on some examples. `calibration_error`: expected, of the best intent's probability."""

    examples: int
    accuracy: float
    macro_f1: float
    calibration_error: float


class Voice(Struct, frozen=True, kw_only=True):
    """How logits come about in one script: (share · the vector's + (1 - share) · the n-grams') / temperature."""

    vector_share: float = 0.5
    temperature: float = 1.0

    @property
    def of_vector(self) -> float:
        return self.vector_share / self.temperature

    @property
    def of_ngrams(self) -> float:
        return (1 - self.vector_share) / self.temperature


class Description(Struct, frozen=True, kw_only=True):
    """What is known of a head besides its weights.

    `intents` in the order of the weights. `thresholds`: for a precision such as "0.97", the probability from which on
    the best intent was right so often in validation; left out where none is. `encoder`: how its weights' SHA-256
    begins. `validation`: by language, and `all`.
    """

    format: str = FORMAT
    intents: tuple[str, ...]
    embedding_width: int
    encoder: str
    encoder_name: str = ""
    ngram_dimension: int = DIMENSION
    latin: Voice = Voice()
    chinese: Voice = Voice()
    thresholds: dict[str, float] = {}
    validation: dict[str, Scores] = {}
    options: dict[str, Any] = {}
    weights_sha256: str = ""


class Head(nn.Module):
    """Weights of the vector and of the n-grams; they begin at 0."""

    def __init__(self, intents: int, width: int, dimension: int = DIMENSION) -> None:
        super().__init__()
        self.vector = nn.Linear(width, intents)
        self.ngrams = nn.EmbeddingBag(dimension, intents, mode="sum")
        for parameter in self.parameters():
            nn.init.zeros_(parameter)

    def forward(self, vector: Tensor, gram: Tensor, weight: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, intents) of vectors (B, width), and those of n-grams as in `features.Bags`."""
        return self.vector(vector), self.ngrams(gram, start, per_sample_weights=weight)


@dataclass(frozen=True, slots=True, eq=False)
class TrainedHead:
    """A head in memory with its description."""

    model: Head
    description: Description

    @property
    def version(self) -> str:
        return self.description.weights_sha256[:12]

    def probabilities(self, vector: Tensor, gram: Tensor, weight: Tensor, start: Tensor, chinese: Tensor) -> Tensor:
        """Calibrated, (B, intents). `chinese`: the share of each text that is (B,)."""
        of_vector, of_ngrams = self.model(vector, gram, weight, start)
        return mixed(of_vector, of_ngrams, chinese, (self.description.latin, self.description.chinese))


def mixed(vector: Tensor, ngrams: Tensor, chinese: Tensor, voices: tuple[Voice, Voice]) -> Tensor:
    """The probabilities that follow from the logits of both parts, for texts of which a share is Chinese (B,).

    `voices`: in Latin script, and in Chinese.
    """
    latin, other = voices
    share = chinese.unsqueeze(-1)
    of_vector = (1 - share) * latin.of_vector + share * other.of_vector
    of_ngrams = (1 - share) * latin.of_ngrams + share * other.of_ngrams
    return (of_vector * vector + of_ngrams * ngrams).softmax(-1)


def fitted_temperature(logits: Floats, target: Ints) -> float:
    """What to divide logits by so that the likelihood is largest: it has one peak, found by ternary search."""
    low, high = -5.0, 5.0  # powers of 2
    while high - low > 1e-3:
        third = (high - low) / 3
        if loss_at(logits, target, 2 ** (low + third)) < loss_at(logits, target, 2 ** (high - third)):
            high -= third
        else:
            low += third
    return float(2 ** ((low + high) / 2))


def loss_at(logits: Floats, target: Ints, temperature: float) -> float:
    """The mean cross entropy at a temperature."""
    return F.cross_entropy(torch.from_numpy(logits).double() / temperature, torch.from_numpy(target)).item()


def scores(probability: Floats, target: Ints) -> Scores:
    """What there is to say of probabilities (N, intents), where `target` was right.

    F1 in the mean over the intents that occur; the calibration error as in Guo et al. (2017), with 15 bins.
    """
    chosen, confidence = probability.argmax(1), probability.max(1)
    right = chosen == target
    f1 = []
    for code in np.unique(target):
        hit = (right & (target == code)).sum()
        f1.append(2 * hit / ((chosen == code).sum() + (target == code).sum()))
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1)
    gap = np.bincount(bins, confidence.astype(np.float64) - right, BINS)
    return Scores(
        examples=len(target),
        accuracy=float(right.mean()),
        macro_f1=float(np.mean(f1)),
        calibration_error=float(np.abs(gap).sum() / len(target)),
    )


def threshold(probability: Floats, target: Ints, precision: float) -> float | None:
    """The least probability from which on the best intent is right often enough; None where there is none."""
    confidence = probability.max(1)
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], (probability.argmax(1) == target)[order]
    last = np.append(confidence[1:] < confidence[:-1], True)  # of those that are alike: they go together
    reached = last & (np.cumsum(right) / np.arange(1, len(right) + 1) >= precision)
    return float(confidence[reached][-1]) if reached.any() else None


def save(head: TrainedHead, folder: Path) -> Description:
    """Write the folder, as `trained_folder.write` does."""
    tensors = {name: tensor.half().contiguous() for name, tensor in head.model.state_dict().items()}
    weights = save_tensors(tensors)
    description = msgspec.structs.replace(
        head.description, weights_sha256=hashlib.sha256(weights).hexdigest(), format=FORMAT
    )
    write(folder, weights, msgspec.json.format(msgspec.json.encode(description)))
    return description


def load(folder: Path, encoder: str, sha256: str = "") -> TrainedHead:
    """Read a head onto the CPU, in float32, to be served with the encoder whose weights have the SHA-256 `encoder`.

    Raises CheckpointError when a file is missing, damaged, of another format, or not the one that `config.json`
    describes, when it was trained with another encoder, and when its SHA-256 does not begin with `sha256`, in hex.
    """
    description = _described(folder)
    weights = verified_weights(folder, description, sha256)
    if not description.encoder or not encoder.startswith(description.encoder):
        raise CheckpointError(
            f"{folder} was trained with the encoder {description.encoder_name} {description.encoder or '(unknown)'}, "
            f"and this one is {encoder[:IDENTITY]}: serve that one, or train the intents again with this one"
        )
    model = Head(len(description.intents), description.embedding_width, description.ngram_dimension)
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in load_tensors(weights).items()})
    except (SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"{folder / WEIGHTS} does not fit {CONFIG} ({error}); train it again") from error
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise CheckpointError(f"{folder / WEIGHTS} holds numbers that are not finite; train it again")
    return TrainedHead(model=model.eval().requires_grad_(False), description=description)


def _described(folder: Path) -> Description:
    description = describe(
        folder, Description, FORMAT, is_a="a description of intents", remedy="train the intents again"
    )
    sizes = (len(set(description.intents)), description.embedding_width, description.ngram_dimension)
    voices = (description.latin, description.chinese)
    if min(sizes) < 1 or not all(0 <= each.vector_share <= 1 and each.temperature > 0 for each in voices):
        raise CheckpointError(f"{folder / CONFIG} holds sizes or a calibration that cannot be; train it again")
    return description
