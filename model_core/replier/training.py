"""Teaches a language model to answer: examples in, a LoRA adapter out (Hu et al., 2021).

Trains on the prompts that serving makes (`prompts`), and only the reply counts, with the token that ends it. Any causal
or sequence-to-sequence model, as `loading` reads it; its own weights are not touched. All chance comes from one seed.
"""

import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import torch
from msgspec import Struct
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.replier.loading import ADAPTER, LanguageModel

WARMUP = 0.05  # of the run, in which the learning rate rises
SMOOTHING = 0.95  # of the loss that is told
IGNORED = -100  # no token: `cross_entropy` leaves it out


class TrainingError(ValueError):
    """The training cannot start with what it was given; the message says what is missing."""


class Example(Struct, frozen=True):
    """What the model is told, as (role, content), and what it should say."""

    messages: tuple[tuple[str, str], ...]
    reply: str


class TrainingOptions(Struct, frozen=True, kw_only=True):
    """What a run depends on besides the examples: so many steps, or a time budget. `batch_tokens`: with padding."""

    seed: int = 0
    steps: int | None = None
    budget_s: float | None = None
    batch_tokens: int = 2400
    rank: int = 16
    alpha: int = 32
    dropout: float = 0.0
    learning_rate: float = 5e-4


class TrainingProgress(Struct, frozen=True):
    """`done`: of the run, 0 to 1; `examples`: learned from so far."""

    done: float
    step: int
    examples: int
    loss: float


def train(
    base: LanguageModel,
    examples: Iterator[Example],
    out: Path,
    *,
    options: TrainingOptions,
    progress: Callable[[TrainingProgress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Train an adapter for a model and write it to `out`, as `loading.load` takes it.

    The model itself is of no use afterwards. `examples` is taken from while the run lasts. Raises `TrainingError`.
    """
    from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - only who trains needs it

    if (options.steps is None) == (options.budget_s is None):
        raise TrainingError("give the training either steps or a time budget")
    torch.manual_seed(options.seed)
    config = LoraConfig(
        r=options.rank, lora_alpha=options.alpha, lora_dropout=options.dropout, target_modules="all-linear",
        task_type="SEQ_2_SEQ_LM" if base.is_encoder_decoder else "CAUSAL_LM",
    )  # fmt: skip
    model: Any = get_peft_model(base.model, config)
    model.train()
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, options.learning_rate, weight_decay=0.0)
    batches, started = _batches(base, examples, options), clock()
    done, step, seen, loss = 0.0, 0, 0, math.nan
    while done < 1:
        batch = next(batches, None)
        if batch is None:
            raise TrainingError("the examples came to an end before the training did: give more, or fewer steps")
        for group in optimizer.param_groups:
            group["lr"] = options.learning_rate * _schedule(done)
        now = _loss(model, batch, is_encoder_decoder=base.is_encoder_decoder)
        optimizer.zero_grad(set_to_none=True)
        now.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        step, seen = step + 1, seen + len(batch.prompt)
        loss = now.item() if math.isnan(loss) else SMOOTHING * loss + (1 - SMOOTHING) * now.item()
        done = step / options.steps if options.steps else (clock() - started) / (options.budget_s or 1)
        progress(TrainingProgress(min(1.0, done), step, seen, loss))
    for weight in weights:
        weight.data = weight.data.half()  # half the file; merging it into bfloat16 weights rounds more than this
    _save(model, out)


def _save(model: Any, out: Path) -> None:
    for config in model.peft_config.values():
        config.base_model_name_or_path = None  # a path of this machine is nobody else's business
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it could not ask the hub about the base model
        model.save_pretrained(str(out), safe_serialization=True, save_embedding_layers=False)
    (out / "README.md").unlink(missing_ok=True)  # a form that peft leaves to be filled in
    (out / ADAPTER).chmod(0o644)


class _Batch(Struct, frozen=True):
    """Tokens of prompts and replies of like length."""

    prompt: list[list[int]]
    reply: list[list[int]]
    pad: int
    start: int


def _batches(base: LanguageModel, examples: Iterator[Example], options: TrainingOptions) -> Iterator[_Batch]:
    """Batches of like length: so many are sorted at a time that there is little padding, and then shuffled."""
    chance, pool_tokens = Random(options.seed), 16 * options.batch_tokens
    end = min(base.ends)
    while True:
        pool: list[tuple[list[int], list[int]]] = []
        while sum(len(prompt) + len(reply) for prompt, reply in pool) < pool_tokens:
            example = next(examples, None)
            if example is None:
                return
            reply = base.tokenizer(example.reply, add_special_tokens=False)["input_ids"]
            pool.append((base.prompts.encode(example.messages), [*reply, end]))
        pool.sort(key=lambda one: len(one[0]) + len(one[1]))
        batches: list[_Batch] = []
        while pool:
            longest = len(pool[-1][0]) + len(pool[-1][1])
            taken = pool[-max(1, options.batch_tokens // longest) :]
            del pool[-len(taken) :]
            batches.append(_Batch([one[0] for one in taken], [one[1] for one in taken], base.pad, base.start))
        chance.shuffle(batches)
        yield from batches


def _loss(model: Any, batch: _Batch, *, is_encoder_decoder: bool) -> Tensor:
    """Cross-entropy, the mean over the replies' tokens."""
    device = model.device
    with torch.autocast(device.type, torch.bfloat16, enabled=model.dtype == torch.bfloat16):
        if is_encoder_decoder:
            tokens, filled = _padded(batch.prompt, batch.pad)
            target, _ = _padded(batch.reply, IGNORED)
            begun, _ = _padded([[batch.start, *reply[:-1]] for reply in batch.reply], batch.pad)
            logits = model(
                input_ids=tokens.to(device), attention_mask=filled.to(device), decoder_input_ids=begun.to(device)
            ).logits
            return F.cross_entropy(logits.flatten(0, 1).float(), target.flatten().to(device), ignore_index=IGNORED)
        together = [prompt + reply for prompt, reply in zip(batch.prompt, batch.reply, strict=True)]
        tokens, filled = _padded(together, batch.pad)
        target, _ = _padded(
            [[IGNORED] * len(prompt) + reply for prompt, reply in zip(batch.prompt, batch.reply, strict=True)], IGNORED
        )
        logits = model(input_ids=tokens.to(device), attention_mask=filled.to(device)).logits[:, :-1]
        wanted = target[:, 1:].to(device)
        counted = wanted != IGNORED
        return F.cross_entropy(logits[counted].float(), wanted[counted])


def _padded(rows: Sequence[Sequence[int]], value: int) -> tuple[Tensor, Tensor]:
    """Rows of one length, on the right (B, T), and where they are filled."""
    length = max(map(len, rows))
    tokens = torch.tensor([[*row, *[value] * (length - len(row))] for row in rows])
    filled = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return tokens, filled


def _schedule(done: float) -> float:
    """Of the learning rate: up in a straight line, then down along a cosine."""
    if done < WARMUP:
        return (done + WARMUP / 10) / (WARMUP * 1.1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (done - WARMUP) / (1 - WARMUP))))
