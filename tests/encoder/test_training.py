"""Training: it learns what there is to learn, twice the same, never measures on what it saw, and is honest about it."""

import random
from collections.abc import Sequence

import numpy as np
import pytest
import torch

from model_core.encoder.embedding import TextEncoder
from model_core.encoder.features import bags, chinese
from model_core.encoder.head import OUT_OF_SCOPE, Floats, TrainedHead
from model_core.encoder.runner import EncoderRunner
from model_core.encoder.training import (
    Example,
    TrainingError,
    TrainingOptions,
    TrainingProgress,
    _held_out,
    _misspelt,
    evaluate,
    train,
)
from schemas.inference import EncodeRequest
from tests.encoder.tiny import letters

WORDS = {
    ("order_status", "en"): ["where is my parcel", "has my parcel left", "parcel not here", "track the parcel"],
    (OUT_OF_SCOPE, "en"): ["write me a poem", "a poem about rain", "sing about rain", "who won the election"],
    ("order_status", "zh"): ["快递到哪了", "快递怎么还没到", "我的快递呢", "查快递"],
    (OUT_OF_SCOPE, "zh"): ["今天天气怎么样", "讲个天气笑话", "明天天气好吗", "天气预报"],
}
OPTIONS = TrainingOptions(seed=5, epochs=12, batch=32, ngram_dimension=1024)


def toy(copies: int = 8) -> list[Example]:
    return [
        Example(f"{template} {number}", intent, language, f"{language}/{intent}/{index}")
        for (intent, language), templates in WORDS.items()
        for index, template in enumerate(templates)
        for number in range(copies)
    ]


def letters_of(texts: Sequence[str]) -> Floats:
    return letters(list(texts))


def trained(examples: list[Example] | None = None, options: TrainingOptions = OPTIONS) -> TrainedHead:
    return train(examples or toy(), letters_of, encoder="ab" * 32, encoder_name="letters", options=options)


def test_two_intents_are_told_apart() -> None:
    steps: list[TrainingProgress] = []
    head = train(toy(), letters_of, encoder="ab" * 32, options=OPTIONS, progress=steps.append)
    assert head.description.intents == ("order_status", OUT_OF_SCOPE)
    assert head.description.encoder == "ab" * 8
    for language in ("all", "en", "zh"):
        assert evaluate(head, toy(), letters_of)[language].accuracy == 1.0
    assert [step.epoch for step in steps] == list(range(1, len(steps) + 1))
    assert steps[-1].ngram_loss < steps[0].ngram_loss


def test_same_seed_same_weights() -> None:
    one = trained()
    torch.rand(7)  # chance comes from the options alone
    other = trained()
    assert one.description == other.description
    for name, tensor in one.model.state_dict().items():
        assert torch.equal(tensor, other.model.state_dict()[name])
    third = trained(options=TrainingOptions(seed=6, epochs=12, batch=32, ngram_dimension=1024))
    assert not torch.equal(third.model.ngrams.weight, one.model.ngrams.weight)


def test_a_template_is_on_one_side_and_each_intent_on_both() -> None:
    for seed in range(20):
        held = _held_out(toy(), OPTIONS, np.random.default_rng(seed))
        for intent, language in WORDS:
            sides = [f"{language}/{intent}/{index}" in held for index in range(4)]
            assert sum(sides) == 1


def test_templates_that_are_alike_are_held_out_together() -> None:
    options = TrainingOptions(validation_share=0.5)
    templates = ["where is my parcel", "where is my parcel now", "how do I track it", "how do I track this"]
    examples = [Example(text, "order_status", "en", str(number)) for number, text in enumerate(templates)]
    for seed in range(10):
        assert _held_out(examples, options, np.random.default_rng(seed)) in ({"0", "1"}, {"2", "3"})


def test_validation_is_reported_by_language_and_vectors_are_computed_once() -> None:
    calls: list[int] = []

    def counting(texts: Sequence[str]) -> Floats:
        found = letters_of(texts)
        calls.append(len(found))
        return found

    head = train(toy(), counting, encoder="ab", options=OPTIONS)
    found = head.description.validation
    assert set(found) == {"all", "en", "zh"}
    assert found["en"].examples + found["zh"].examples == found["all"].examples == 4 * 8
    assert len(calls) == 1
    assert set(head.description.thresholds) <= {"0.9", "0.95", "0.97", "0.99"}


def test_what_knows_more_is_listened_to_in_each_script() -> None:
    """The vector tells the intent of English messages, and nothing of Chinese ones; n-grams the other way round."""
    rng = random.Random(1)

    def noise(alphabet: str) -> str:
        return " ".join("".join(rng.choices(alphabet, k=4)) for _ in range(4))

    examples, secret = [], {}
    for number in range(160):
        intent = ("order_status", OUT_OF_SCOPE)[number % 2]
        english, chinese_text = noise("abcdefgh"), f"{('快递', '天气')[number % 2]}{noise('一二三四五六七八')}"
        secret[english] = number % 2
        examples += [Example(english, intent, "en", f"en{number}"), Example(chinese_text, intent, "zh", f"zh{number}")]

    def knows_english(texts: Sequence[str]) -> Floats:
        rows = [[1.0, 0.0] if secret.get(text, rng.randrange(2)) else [0.0, 1.0] for text in texts]
        return np.array(rows, np.float32)

    options = TrainingOptions(epochs=15, batch=32, typos=0, ngram_dimension=4096)
    head = train(examples, knows_english, encoder="ab", options=options)
    assert head.description.latin.vector_share > 0.6
    assert head.description.chinese.vector_share < 0.4
    assert head.description.validation["all"].accuracy > 0.9


def test_misspelt_copies_lack_letters_and_are_never_empty() -> None:
    examples = [Example("a", "x", "en", "1"), Example("refund please", "x", "en", "2")] * 200
    copies = _misspelt(examples, TrainingOptions(typos=0.3))
    assert 200 < len(copies) < 400
    assert all(copy.text.strip() for copy in copies)
    lengths = [len(copy.text) for copy in copies if copy.group == "2"]
    assert 0.65 < np.mean(lengths) / len("refund please") < 0.75
    assert _misspelt(examples, TrainingOptions(typos=0)) == []


def test_what_cannot_be_trained_is_said() -> None:
    one = [example for example in toy() if example.intent == OUT_OF_SCOPE]
    with pytest.raises(TrainingError, match="there must be some of out_of_scope, and of what is not"):
        trained(one)
    with pytest.raises(TrainingError, match="there must be some of out_of_scope"):
        trained([Example("a", "x", "en", "1"), Example("b", "y", "en", "2")])
    single = Example("wo ist es", "order_status", "de", "de/1")
    with pytest.raises(TrainingError, match="order_status has a single template in 'de'"):
        trained([*toy(), single])
    with pytest.raises(TrainingError, match="is a template of order_status and of out_of_scope"):
        trained([*toy(), Example("x", OUT_OF_SCOPE, "en", "en/order_status/0")])
    with pytest.raises(TrainingError, match="does not know refund_request"):
        evaluate(trained(), [Example("x", "refund_request", "en", "1")], letters_of)


def test_a_trained_head_is_served_as_it_was_measured(encoder: TextEncoder) -> None:
    head = train(toy(), encoder.embed, encoder=encoder.sha256, options=OPTIONS)
    runner = EncoderRunner(encoder, head)
    texts = ["where is my parcel 99", "今天天气怎么样"]
    asked = [EncodeRequest(number, 1, text) for number, text in enumerate(texts)]
    served = runner.split(asked, runner.forward(runner.collate(asked)))
    arguments = [torch.from_numpy(each) for each in (encoder.embed(texts), *bags(texts, 1024), chinese(texts))]
    for result, expected in zip(served, head.probabilities(*arguments).tolist(), strict=True):
        assert dict(result.intents) == pytest.approx(
            dict(zip(head.description.intents, expected, strict=True)), abs=1e-5
        )
