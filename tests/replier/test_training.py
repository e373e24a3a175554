"""An adapter is learned from examples, by any kind of model, and is served as it was trained."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from model_core.replier import loading
from model_core.replier.loading import LanguageModel
from model_core.replier.serial import generate_one
from model_core.replier.training import Example, TrainingError, TrainingOptions, TrainingProgress, train
from schemas.inference import GenerateRequest
from tests.replier.tiny import save

EXAMPLES = (
    Example((("system", "brief"), ("user", "where is it")), "Your order."),
    Example((("system", "brief"), ("user", "hello")), "Thank you."),
)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would wait for each other longer than so small models compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def endless() -> Iterator[Example]:
    return itertools.cycle(EXAMPLES)


def said(model: LanguageModel, example: Example) -> tuple[str, bool]:
    result = generate_one(model, GenerateRequest(1, 1000, example.messages, 20))
    return result.text, result.complete


def learned(folder: Path, out: Path, steps: int, seed: int = 0) -> list[TrainingProgress]:
    told: list[TrainingProgress] = []
    options = TrainingOptions(seed=seed, steps=steps, batch_tokens=200, rank=8, learning_rate=0.03)
    train(loading.load(folder, "cpu", precision="float32"), endless(), out, options=options, progress=told.append)
    return told


def test_a_model_says_what_it_was_taught_and_ends_there(tmp_path: Path) -> None:
    folder = save("bloom", tmp_path / "base")
    told = learned(folder, tmp_path / "adapter", steps=250)
    assert (told[-1].done, told[-1].step) == (1.0, 250)
    model = loading.load(folder, "cpu", tmp_path / "adapter", "float32")
    assert [said(model, example) for example in EXAMPLES] == [(example.reply, True) for example in EXAMPLES]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_other_kinds_of_models_learn_too(kind: str, tmp_path: Path) -> None:
    folder = save(kind, tmp_path / "base")
    told = learned(folder, tmp_path / "adapter", steps=120)
    assert told[-1].loss < 0.8 * told[0].loss
    before, after = (loading.load(folder, "cpu", at, "float32") for at in (None, tmp_path / "adapter"))
    assert said(before, EXAMPLES[0]) != said(after, EXAMPLES[0])


def test_a_run_is_a_function_of_its_seed(tmp_path: Path) -> None:
    folder = save("llama", tmp_path / "base")
    losses = [[at.loss for at in learned(folder, tmp_path / f"{n}", 4, seed)] for n, seed in enumerate((1, 1, 2))]
    assert losses[0] == losses[1] != losses[2]


def test_a_time_budget_ends_a_run(tmp_path: Path) -> None:
    clock = itertools.count(0, 10)
    told: list[TrainingProgress] = []
    train(
        loading.load(save("llama", tmp_path / "base"), "cpu", precision="float32"), endless(), tmp_path / "adapter",
        options=TrainingOptions(budget_s=25), progress=told.append, clock=lambda: float(next(clock)),
    )  # fmt: skip
    assert [at.done for at in told] == [0.4, 0.8, 1.0]


@pytest.mark.parametrize(
    ("options", "examples", "message"),
    [
        (TrainingOptions(), endless(), "either steps or a time budget"),
        (TrainingOptions(steps=1, budget_s=1.0), endless(), "either steps or a time budget"),
        (TrainingOptions(steps=3), iter(EXAMPLES), "came to an end"),
    ],
)
def test_what_cannot_be_trained_is_said(
    options: TrainingOptions, examples: Iterator[Example], message: str, tmp_path: Path
) -> None:
    base = loading.load(save("llama", tmp_path / "base"), "cpu", precision="float32")
    with pytest.raises(TrainingError, match=message):
        train(base, examples, tmp_path / "adapter", options=options)
    assert not (tmp_path / "adapter").exists()
