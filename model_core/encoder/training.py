"""Training of the intents: example messages in, a calibrated head out.

Messages of one template look alike, so the validation set is of whole templates (`Example.group`), and of those that
resemble each other: what is measured there are wordings that were not trained on. It tells how many epochs are best
and how to calibrate; then all examples are trained on. Vectors are computed once. The examples come a second time with
letters missing, as people type, and n-grams are left out at random, so that no single one decides. The weights begin
at 0 and all chance comes from one seed: a run is a function of its arguments on one machine.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass
from random import Random
from typing import NamedTuple, TypeAlias

import msgspec
import numpy as np
import torch
from msgspec import Struct
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.encoder.features import DIMENSION, bags, chinese
from model_core.encoder.head import (
    IDENTITY,
    OUT_OF_SCOPE,
    PARTS,
    Description,
    Floats,
    Head,
    Ints,
    Scores,
    TrainedHead,
    Voice,
    fitted_temperature,
    loss_at,
    mixed,
    scores,
    threshold,
)

Embed: TypeAlias = Callable[[Sequence[str]], Floats]  # vectors of length 1, a row for each text

PRECISIONS = (0.9, 0.95, 0.97, 0.99)  # that thresholds are looked for
SHARES = 21  # of the vector, that are tried: 0, 0.05, …, 1
LIKENESS_DIMENSION = 4096  # n-grams that tell which templates are alike


class TrainingError(ValueError):
    """The training cannot start with what it was given; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Example:
    """A message and what is wanted in it. `group`: its template; no other intent may have messages of it."""

    text: str
    intent: str
    language: str
    group: str


class TrainingOptions(Struct, frozen=True, kw_only=True):
    """What a run depends on besides the examples. `patience`: epochs without a better validation loss."""

    seed: int = 0
    epochs: int = 40
    patience: int = 4
    batch: int = 128
    learning_rate: float = 0.03
    weight_decay: float = 0.05
    validation_share: float = 0.2
    typos: float = 0.04  # share of characters that the second copies lack; 0 for no copies
    ngram_dropout: float = 0.3
    ngram_dimension: int = DIMENSION


class TrainingProgress(Struct, frozen=True):
    """Where a run is, and the validation losses of its two parts, as if each were calibrated and served alone."""

    epoch: int
    vector_loss: float
    ngram_loss: float


def train(
    examples: Sequence[Example],
    embed: Embed,
    *,
    encoder: str,
    encoder_name: str = "",
    options: TrainingOptions = TrainingOptions(),  # noqa: B008 - it is frozen
    progress: Callable[[TrainingProgress], None] = lambda _: None,
) -> TrainedHead:
    """Train a head on the vectors of `embed`, which is the encoder whose weights have the SHA-256 `encoder`.

    Raises TrainingError when there is but one intent, or none for what is out of scope, or an intent has too few
    templates to train and to validate on.
    """
    intents = tuple(sorted({example.intent for example in examples}))
    if len(intents) < 2 or OUT_OF_SCOPE not in intents:
        raise TrainingError(f"the examples are of {intents}: there must be some of {OUT_OF_SCOPE}, and of what is not")
    chance = np.random.default_rng(options.seed)
    held = _held_out(examples, options, chance)
    data = _Data([*examples, *_misspelt(examples, options)], intents, embed, options)
    centre, spread = data.centred()
    checked = np.array([example.group in held for example in data.examples])
    originals = np.arange(len(data.examples)) < len(examples)
    validation = data.take(np.flatnonzero(checked & originals))
    best = _best_epochs(data.take(np.flatnonzero(~checked)), validation, options, chance, progress)
    voices = _calibrated(validation, best)
    probability = _mixed(best.logits, validation, voices)
    thresholds = {f"{asked:g}": threshold(probability, validation.target, asked) for asked in PRECISIONS}
    return TrainedHead(
        model=_uncentred(_trained(data, best, options, chance), centre, spread),
        description=Description(
            intents=intents,
            embedding_width=data.vectors.shape[1],
            encoder=encoder[:IDENTITY],
            encoder_name=encoder_name,
            ngram_dimension=options.ngram_dimension,
            latin=voices[0],
            chinese=voices[1],
            thresholds={asked: found for asked, found in thresholds.items() if found is not None},
            validation=_by_language(probability, validation),
            options=msgspec.to_builtins(options),
        ),
    )


def evaluate(head: TrainedHead, examples: Sequence[Example], embed: Embed) -> dict[str, Scores]:
    """How good a head is on examples that it was not trained on: by language, and `all`.

    Raises TrainingError for examples of an intent that it does not know.
    """
    description = head.description
    unknown = {example.intent for example in examples} - set(description.intents)
    if unknown:
        raise TrainingError(f"the head does not know {', '.join(sorted(unknown))}")
    options = TrainingOptions(ngram_dimension=description.ngram_dimension)
    data = _Data(examples, description.intents, embed, options)
    probability = _mixed(data.logits(head.model), data, (description.latin, description.chinese))
    return _by_language(probability, data)


def _held_out(examples: Sequence[Example], options: TrainingOptions, chance: np.random.Generator) -> set[str]:
    """The groups to validate on: of each intent in each language one at random, and those that are most like it."""
    intent_of: dict[str, str] = {}
    groups: dict[tuple[str, str], dict[str, str]] = defaultdict(dict)
    for example in examples:
        if intent_of.setdefault(example.group, example.intent) != example.intent:
            raise TrainingError(f"{example.group} is a template of {intent_of[example.group]} and of {example.intent}")
        groups[example.intent, example.language].setdefault(example.group, example.text)
    held: set[str] = set()
    for (intent, language), texts in groups.items():
        if len(texts) < 2:
            raise TrainingError(f"{intent} has a single template in {language!r}; training needs some, validation too")
        drawn = max(1, min(len(texts) - 1, round(options.validation_share * len(texts))))
        hashed = bags(list(texts.values()), LIKENESS_DIMENSION)
        vectors = np.zeros((len(texts), LIKENESS_DIMENSION), np.float32)
        vectors[np.repeat(np.arange(len(texts)), hashed.lengths), hashed.gram] = hashed.weight
        likeness = vectors @ vectors[chance.integers(len(texts))]
        names = list(texts)
        held |= {names[row] for row in np.argsort(-likeness, kind="stable")[:drawn].tolist()}
    return held


def _misspelt(examples: Sequence[Example], options: TrainingOptions) -> list[Example]:
    """The examples once more, with characters missing."""
    if not options.typos:
        return []
    rng = Random(options.seed)
    texts = ["".join(letter for letter in each.text if rng.random() >= options.typos) for each in examples]
    return [
        Example(text, each.intent, each.language, each.group)
        for text, each in zip(texts, examples, strict=True)
        if text.strip()
    ]


class _Data:
    """Examples as a head reads them."""

    def __init__(
        self, examples: Sequence[Example], intents: tuple[str, ...], embed: Embed, options: TrainingOptions
    ) -> None:
        texts = [example.text for example in examples]
        code = {intent: number for number, intent in enumerate(intents)}
        self.examples = examples
        self.vectors = embed(texts)
        self.bags = bags(texts, options.ngram_dimension)
        self.chinese = chinese(texts)
        self.target: Ints = np.array([code[example.intent] for example in examples], np.int64)

    def take(self, rows: Ints) -> "_Data":
        found = copy(self)
        found.examples = [self.examples[row] for row in rows.tolist()]
        found.vectors, found.bags = self.vectors[rows], self.bags.take(rows)
        found.chinese, found.target = self.chinese[rows], self.target[rows]
        return found

    def centred(self) -> tuple[Floats, float]:
        """Move the vectors to a mean of 0 and scale them to a variance of 1; returned is by what.

        Those of some encoders point all one way and differ in little besides.
        """
        centre: Floats = self.vectors.mean(0)
        spread = float(np.sqrt(((self.vectors - centre) ** 2).sum(1).mean())) or 1.0
        self.vectors = (self.vectors - centre) / spread
        return centre, spread

    @torch.inference_mode()
    def logits(self, model: Head) -> tuple[Floats, Floats]:
        vector, ngrams = model(torch.from_numpy(self.vectors), *map(torch.from_numpy, self.bags))
        return vector.numpy(), ngrams.numpy()


class _Best(NamedTuple):
    """Of the vector and of the n-grams: the logits for the validation set where they were best, after which epoch."""

    logits: tuple[Floats, Floats]
    epochs: tuple[int, int]


def _epochs(model: Head, data: _Data, options: TrainingOptions, chance: np.random.Generator) -> Iterator[int]:
    """Trains for one epoch more each time; the two parts do not know of each other."""
    optimizer = torch.optim.AdamW(model.parameters(), options.learning_rate, weight_decay=options.weight_decay)
    for epoch in range(1, options.epochs + 1):
        order = chance.permutation(len(data.target))
        for start in range(0, len(order), options.batch):
            rows = order[start : start + options.batch]
            some = data.bags.take(rows)
            kept = chance.random(len(some.weight)) >= options.ngram_dropout
            weight = (some.weight * kept / (1 - options.ngram_dropout)).astype(np.float32)
            hashed = map(torch.from_numpy, (some.gram, weight, some.start))
            target = torch.from_numpy(data.target[rows])
            vector, ngrams = model(torch.from_numpy(data.vectors[rows]), *hashed)
            loss = F.cross_entropy(vector, target) + F.cross_entropy(ngrams, target)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        yield epoch


def _best_epochs(
    data: _Data,
    validation: _Data,
    options: TrainingOptions,
    chance: np.random.Generator,
    progress: Callable[[TrainingProgress], None],
) -> _Best:
    model = Head(int(data.target.max()) + 1, data.vectors.shape[1], options.ngram_dimension)
    logits, epochs, least = list(validation.logits(model)), [0, 0], [math.inf, math.inf]
    for epoch in _epochs(model, data, options, chance):
        found = validation.logits(model)
        losses = [_calibrated_loss(each, validation) for each in found]
        progress(TrainingProgress(epoch, *losses))
        for part, loss in enumerate(losses):
            if loss < least[part]:
                logits[part], epochs[part], least[part] = found[part], epoch, loss
        if epoch - max(epochs) >= options.patience:
            break
    return _Best((logits[0], logits[1]), (epochs[0], epochs[1]))


def _trained(data: _Data, best: _Best, options: TrainingOptions, chance: np.random.Generator) -> Head:
    """Each part after its epochs on all examples."""
    model = Head(int(data.target.max()) + 1, data.vectors.shape[1], options.ngram_dimension)
    chosen: dict[str, Tensor] = {}
    for epoch in _epochs(model, data, options, chance):
        for part, last in zip(PARTS, best.epochs, strict=True):
            if epoch == last:
                weights = model.state_dict().items()
                chosen |= {name: tensor.clone() for name, tensor in weights if name.startswith(part)}
        if epoch == max(best.epochs):
            break
    model.load_state_dict(chosen)
    return model.eval().requires_grad_(requires_grad=False)


@torch.inference_mode()
def _uncentred(model: Head, centre: Floats, spread: float) -> Head:
    """The same head for vectors as they come."""
    layer = model.vector
    layer.weight.div_(spread)
    layer.bias.sub_(layer.weight @ torch.from_numpy(centre))
    return model


def _calibrated(validation: _Data, best: _Best) -> tuple[Voice, Voice]:
    """For Latin script and for Chinese: the share and the temperature that make the right intents likeliest."""
    vector, ngrams = best.logits
    voices = []
    of_chinese = validation.chinese >= 0.5
    for rows in (~of_chinese, of_chinese):
        if not rows.any():  # no such messages: as for all
            rows = np.ones_like(rows)  # noqa: PLW2901
        target, tried = validation.target[rows], []
        for share in np.linspace(0, 1, SHARES).tolist():
            logits = share * vector[rows] + (1 - share) * ngrams[rows]
            temperature = fitted_temperature(logits, target)
            tried.append((loss_at(logits, target, temperature), share, temperature))
        _, share, temperature = min(tried)
        voices.append(Voice(vector_share=share, temperature=temperature))
    return voices[0], voices[1]


def _calibrated_loss(logits: Floats, validation: _Data) -> float:
    """Of one part, with the best temperature for each script: what it cannot know, it must not be blamed for twice."""
    of_chinese, total = validation.chinese >= 0.5, 0.0
    for rows in (of_chinese, ~of_chinese):
        if rows.any():
            temperature = fitted_temperature(logits[rows], validation.target[rows])
            total += rows.mean() * loss_at(logits[rows], validation.target[rows], temperature)
    return float(total)


def _mixed(logits: tuple[Floats, Floats], data: _Data, voices: tuple[Voice, Voice]) -> Floats:
    vector, ngrams = map(torch.from_numpy, logits)
    found: Floats = mixed(vector, ngrams, torch.from_numpy(data.chinese), voices).numpy()
    return found


def _by_language(probability: Floats, data: _Data) -> dict[str, Scores]:
    language = np.array([example.language for example in data.examples])
    found = {"all": scores(probability, data.target)}
    for each in np.unique(language).tolist():
        found[each] = scores(probability[language == each], data.target[language == each])
    return found
