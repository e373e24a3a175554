"""The encoder beside, for languages that the first one cannot read, and the head that ships for both."""

from pathlib import Path

import numpy as np
import pytest

from model_core.encoder.embedding import TextEncoder
from model_core.encoder.multilingual import WIDTH, Multilingual
from model_core.encoder.runner import EncoderRunner
from model_core.registry import INTENTS
from model_core.runner import CheckpointError
from schemas.inference import EncodeRequest

TEXTS = ["我的退款什么时候到账？", "when do I get my refund?", "今天天气怎么样", "x"]


@pytest.fixture(scope="module")
def multilingual() -> Multilingual:
    return Multilingual()


def test_vectors_are_of_length_one_and_alike_in_a_batch(multilingual: Multilingual) -> None:
    together = multilingual.embed(TEXTS)
    assert together.shape == (len(TEXTS), WIDTH)
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(TEXTS, together, strict=True):
        np.testing.assert_allclose(multilingual.embed([text])[0], vector, atol=1e-4)
    assert multilingual.embed([]).shape == (0, WIDTH)


def test_a_question_is_near_to_the_same_question_in_another_language(multilingual: Multilingual) -> None:
    chinese, english, weather, _ = multilingual.embed(TEXTS)
    assert chinese @ english > chinese @ weather + 0.2


def test_both_parts_of_a_vector_count_alike(encoder_at: Path, encoder: TextEncoder, multilingual: Multilingual) -> None:
    both = TextEncoder.load(encoder_at, beside=multilingual)
    assert both.width == encoder.width + WIDTH
    vectors = both.embed(TEXTS)
    np.testing.assert_allclose(vectors[:, : encoder.width] * np.sqrt(2), encoder.embed(TEXTS), atol=1e-5)
    np.testing.assert_allclose(vectors[:, encoder.width :] * np.sqrt(2), multilingual.embed(TEXTS), atol=1e-4)


def test_its_identity_is_another_with_and_without(
    encoder_at: Path, encoder: TextEncoder, multilingual: Multilingual
) -> None:
    assert TextEncoder.load(encoder_at, beside=multilingual).sha256 != encoder.sha256


def test_the_head_that_ships_belongs_to_the_two_encoders_that_are_packages(multilingual: Multilingual) -> None:
    runner = EncoderRunner.load(INTENTS, beside=multilingual)
    asked = {
        "Where is my order 4411?": "order_status", "I want my money back": "refund_request", "hello": "smalltalk",
        "我的订单到哪了": "order_status", "怎么开发票": "invoice", "我的iphone12为什么充不了电？": "faulty_item",
        "my lawyer will sue you": "legal", "Write me a poem about the sea": "out_of_scope",
    }  # fmt: skip
    requests = [EncodeRequest(number, 1000, text) for number, text in enumerate(asked)]
    results = runner.split(requests, runner.forward(runner.collate(requests)))
    assert [result.intents[0][0] for result in results] == list(asked.values())
    with pytest.raises(CheckpointError, match="trained with the encoder"):
        EncoderRunner.load(INTENTS)
