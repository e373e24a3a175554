"""The head on disk, and its arithmetic against slow readings of the formulas."""

import hashlib
import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from model_core.encoder import head as heads
from model_core.encoder.embedding import TextEncoder
from model_core.encoder.features import bags, chinese
from model_core.encoder.head import Voice, fitted_temperature, scores, threshold
from model_core.runner import CheckpointError
from model_core.trained_folder import CONFIG, WEIGHTS
from tests.encoder.tiny import DIMENSION, encoder_folder, random_head

TEXTS = ["where is my order", "我要退款", "退款 order", "?"]


def rewrite(folder: Path, **changes: Any) -> None:
    described = msgspec.json.decode((folder / CONFIG).read_bytes())
    (folder / CONFIG).write_bytes(msgspec.json.encode(described | changes))


def reweigh(folder: Path, **changes: torch.Tensor) -> None:
    """Other tensors, with the SHA-256 that belongs to them."""
    save_file(load_file(folder / WEIGHTS) | changes, folder / WEIGHTS)
    rewrite(folder, weights_sha256=hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest())


def test_comes_back_as_it_was_saved(encoder: TextEncoder, tmp_path: Path) -> None:
    made = random_head(encoder)
    described = heads.save(made, tmp_path / "a" / "head")
    found = heads.load(tmp_path / "a" / "head", encoder.sha256, described.weights_sha256[:8].upper())
    assert found.description == described
    assert found.version == described.weights_sha256[:12]
    arguments = [torch.from_numpy(each) for each in (encoder.embed(TEXTS), *bags(TEXTS, DIMENSION), chinese(TEXTS))]
    torch.testing.assert_close(found.probabilities(*arguments), made.probabilities(*arguments), atol=2e-3, rtol=0)


def test_replaces_an_earlier_one_and_leaves_nothing_beside_it(encoder: TextEncoder, tmp_path: Path) -> None:
    first = heads.save(random_head(encoder, 1), tmp_path / "head")
    second = heads.save(random_head(encoder, 2), tmp_path / "head")
    assert first.weights_sha256 != second.weights_sha256
    assert heads.load(tmp_path / "head", encoder.sha256).description == second
    assert [path.name for path in tmp_path.iterdir()] == ["head"]


def test_another_encoder_is_refused(head_at: Path, tmp_path: Path) -> None:
    other = TextEncoder.load(encoder_folder(tmp_path / "other", seed=1))
    with pytest.raises(CheckpointError, match=f"this one is {other.sha256[:16]}: serve that one, or train"):
        heads.load(head_at, other.sha256)
    rewrite(head_at, encoder="")
    with pytest.raises(CheckpointError, match="unknown"):
        heads.load(head_at, other.sha256)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "footfall-intents/0"}, "this version reads"),
        ({"intents": ["a", "b", "c", "d", "e"]}, "does not fit"),
        ({"embedding_width": 17}, "does not fit"),
        ({"ngram_dimension": 511}, "does not fit"),
        ({"intents": []}, "cannot be"),
        ({"latin": {"vector_share": 1.5, "temperature": 1.0}}, "cannot be"),
        ({"chinese": {"vector_share": 0.5, "temperature": 0.0}}, "cannot be"),
        ({"embedding_width": "wide"}, "not a description"),
        ({"weights_sha256": "0" * 64}, "damaged"),
    ],
)
def test_a_description_that_is_not_of_these_weights_is_refused(
    changes: dict[str, Any], message: str, head_at: Path, encoder: TextEncoder
) -> None:
    rewrite(head_at, **changes)
    with pytest.raises(CheckpointError, match=message):
        heads.load(head_at, encoder.sha256)


def test_what_is_missing_damaged_or_not_finite_is_refused(head_at: Path, encoder: TextEncoder) -> None:
    with pytest.raises(CheckpointError, match="not 1234: was it copied in full"):
        heads.load(head_at, encoder.sha256, "1234")
    reweigh(head_at, **{"vector.bias": torch.full((4,), math.nan)})
    with pytest.raises(CheckpointError, match="not finite"):
        heads.load(head_at, encoder.sha256)
    (head_at / WEIGHTS).unlink()
    with pytest.raises(CheckpointError, match=f"no {WEIGHTS}"):
        heads.load(head_at, encoder.sha256)


def test_probabilities_are_what_the_formula_says(encoder: TextEncoder) -> None:
    made = random_head(encoder)
    described = msgspec.structs.replace(
        made.description,
        latin=Voice(vector_share=0.8, temperature=2.0),
        chinese=Voice(vector_share=0.1, temperature=0.5),
    )
    vectors, hashed = encoder.embed(TEXTS), bags(TEXTS, DIMENSION)
    arguments = [torch.from_numpy(each) for each in (vectors, *hashed, chinese(TEXTS))]
    found = heads.TrainedHead(made.model, described).probabilities(*arguments).numpy()
    weight, bias, table = (
        parameter.numpy() for parameter in (*made.model.vector.parameters(), made.model.ngrams.weight)
    )
    for row, (share, vector) in enumerate(zip((0.0, 1.0, 2 / 7, 0.0), vectors, strict=True)):
        bag = hashed.take(np.array([row]))
        of_ngrams = sum(each * table[gram] for gram, each in zip(bag.gram, bag.weight, strict=True))
        of_vector = weight @ vector + bias
        logits = (1 - share) * (0.8 * of_vector + 0.2 * of_ngrams) / 2 + share * (
            0.1 * of_vector + 0.9 * of_ngrams
        ) / 0.5
        expected = np.exp(logits - logits.max())
        np.testing.assert_allclose(found[row], expected / expected.sum(), atol=1e-5)


def test_temperature_undoes_what_made_logits_too_sure() -> None:
    rng = np.random.default_rng(1)
    logits = rng.normal(size=(4000, 5)).astype(np.float32)
    honest = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    target = np.array([rng.choice(5, p=row / row.sum()) for row in honest.astype(np.float64)])
    assert fitted_temperature(logits, target) == pytest.approx(1, abs=0.1)
    assert fitted_temperature(3 * logits, target) == pytest.approx(3 * fitted_temperature(logits, target), rel=0.01)


def test_threshold_is_the_least_that_reaches_the_precision() -> None:
    chance = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7], [0.6, 0.4], [0.6, 0.4], [0.55, 0.45]], np.float32)
    target = np.array([0, 0, 1, 0, 1, 1])  # right, right, right, right, wrong, wrong
    assert threshold(chance, target, 0.99) == pytest.approx(0.7)
    assert threshold(chance, target, 0.8) == pytest.approx(0.6)  # both of 0.6, or none
    assert threshold(chance, target, 0.6) == pytest.approx(0.55)
    assert threshold(chance, 1 - target, 0.9) is None


def test_scores_by_hand() -> None:
    chance = np.array([[0.9, 0.1, 0], [0.8, 0.2, 0], [0.3, 0.7, 0], [0.6, 0.4, 0]], np.float32)
    found = scores(chance, np.array([0, 0, 1, 1]))
    assert found.examples == 4
    assert found.accuracy == 0.75
    assert found.macro_f1 == pytest.approx((2 * 2 / 5 + 2 * 1 / 3) / 2)
    assert found.calibration_error == pytest.approx((0.1 + 0.2 + 0.3 + 0.6) / 4)
