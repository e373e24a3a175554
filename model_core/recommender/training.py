"""Training: a purchase log and a catalogue in, a checkpoint out. Nothing after `until_ms` is read.

Objective: for each decision (see `sequences`) the bought items against shared negatives, drawn in proportion to
popularity^0.75 and corrected for it (sampled softmax with logQ, Bengio and Senécal 2008). The item table starts
from the singular vectors of the positive pointwise mutual information of baskets (Levy and Goldberg 2014). With `steps`
a run is a function of its arguments on one machine; with `budget_s` it stops at the clock.
"""

import math
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import numpy as np
import torch
from msgspec import Struct
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.recommender.checkpoint import Checkpoint, Description
from model_core.recommender.features import DAY_MS, text_table
from model_core.recommender.model import ModelConfig, RecommenderModel
from model_core.recommender.purchase_log import Float32s, Int64s, PurchaseLog
from model_core.recommender.sequences import Batch, Sequences
from schemas.events import ItemData

POPULARITY_DAYS = 28
POPULAR_ITEMS = 100
COUNTER_HEAD = ("gate", "log_tau", "trend")


class TrainingError(ValueError):
    """The training cannot start with what it was given; the message says what is missing."""


class TrainingOptions(Struct, frozen=True, kw_only=True):
    """What a run depends on besides the data. Exactly one of `steps` and `budget_s` ends it."""

    seed: int = 0
    steps: int | None = None
    budget_s: float | None = None
    d: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.2
    learning_rate: float = 3e-3
    windows_per_batch: int = 32
    negatives: int = 2048
    min_sales: int = 20
    click_share: float = 0.3


class TrainingProgress(Struct, frozen=True):
    """Where a run is: `done` is the share of its budget, `loss` a running mean."""

    step: int
    done: float
    loss: float


def train(
    log: PurchaseLog,
    items: Iterable[ItemData],
    *,
    until_ms: int,
    options: TrainingOptions,
    progress: Callable[[TrainingProgress], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
) -> Checkpoint:
    """Train on what was sold before `until_ms` (UTC epoch).

    Raises TrainingError when there are no purchases before `until_ms`, or none of the items was sold often enough.
    """
    if (options.steps is None) == (options.budget_s is None):
        raise TrainingError("give the training either steps or a time budget")
    past = log.before(until_ms).compact()
    if not len(past):
        raise TrainingError(f"no purchases before {_iso(until_ms)}; choose a later end of training")
    assert past.time_ms[-1] < until_ms  # noqa: S101 - the promise of this function
    vocabulary = np.flatnonzero(np.bincount(past.item) >= options.min_sales)
    if len(vocabulary) < 2:
        raise TrainingError(f"fewer than 2 items were sold {options.min_sales} times; lower min_sales")
    lines = _Lines(past, vocabulary, until_ms)
    catalog = {item.item_id: item for item in items}
    known = [catalog.get(item_id) or ItemData(item_id=item_id, title="") for item_id in lines.item_ids]

    torch.manual_seed(options.seed)
    config = ModelConfig(
        items=len(known), d=options.d, layers=options.layers, heads=options.heads, dropout=options.dropout
    )
    model = RecommenderModel(config, torch.from_numpy(text_table(known)), torch.from_numpy(lines.log_popularity[-1]))
    with torch.no_grad():
        model.item.weight.copy_(_ppmi_svd(lines.item, lines.basket, len(known), options.d))
    sequences = Sequences(
        user=lines.user, item=lines.item, basket=lines.basket, time_ms=lines.time_ms, category=_categories(known),
        click_share=options.click_share, rng=np.random.default_rng(options.seed),
    )  # fmt: skip
    steps = _fit(model, sequences, lines, options, progress=progress, clock=clock)
    most_popular = np.argsort(-lines.log_popularity[-1], kind="stable")
    return Checkpoint(
        model=model.eval(),
        description=Description(
            config=config,
            item_ids=lines.item_ids,
            popular=tuple(lines.item_ids[code] for code in most_popular[:POPULAR_ITEMS].tolist()),
            trained_until=_iso(until_ms),
            data_fingerprint=past.fingerprint(),
            data_lines=len(past),
            steps=steps,
            options=msgspec.to_builtins(options),
        ),
    )


class _Lines:
    """The lines within the vocabulary, recoded to it, and how popular each item was at the start of each day."""

    def __init__(self, past: PurchaseLog, vocabulary: Int64s, until_ms: int) -> None:
        code = np.full(len(past.item_ids), -1)
        code[vocabulary] = np.arange(len(vocabulary))
        kept = code[past.item] >= 0
        self.item_ids = tuple(past.item_ids[old] for old in vocabulary.tolist())
        self.item: Int64s = code[past.item[kept]]
        self.user: Int64s = past.user[kept].astype(np.int64)
        self.basket: Int64s = past.basket[kept].astype(np.int64)
        self.time_ms: Int64s = past.time_ms[kept]
        first_ms = int(self.time_ms[0]) // DAY_MS * DAY_MS
        days = math.ceil((until_ms - first_ms) / DAY_MS)
        sold = np.zeros((days + 1, len(vocabulary)), np.float32)  # shifted by a day: row d counts day d - 1
        np.add.at(sold, ((self.time_ms - first_ms) // DAY_MS + 1, self.item), 1)
        total = np.cumsum(sold, axis=0)
        total[POPULARITY_DAYS:] -= total[:-POPULARITY_DAYS].copy()
        # (days + 1, N): of the 28 days before each day; the last row is what serving uses
        self.log_popularity: Float32s = np.log((total + 0.5) / (total.sum(1, keepdims=True) + 0.5 * len(vocabulary)))


def _fit(
    model: RecommenderModel,
    sequences: Sequences,
    lines: _Lines,
    options: TrainingOptions,
    *,
    progress: Callable[[TrainingProgress], None],
    clock: Callable[[], float],
) -> int:
    # the few numbers that weigh counters and popularity have far to go and little noise
    fast = [parameter for name, parameter in model.named_parameters() if name.startswith(COUNTER_HEAD)]
    slow = [parameter for name, parameter in model.named_parameters() if not name.startswith(COUNTER_HEAD)]
    groups = [{"params": slow, "speed": 1.0}, {"params": fast, "speed": 5.0, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.98))
    negatives = _Negatives(np.bincount(lines.item, minlength=len(lines.item_ids)), options)
    log_popularity = torch.from_numpy(lines.log_popularity)
    model.train()
    started, step, mean_loss = clock(), 0, math.nan
    for batch in sequences.batches(options.windows_per_batch):
        done = step / options.steps if options.steps else (clock() - started) / (options.budget_s or 1)
        if done >= 1:
            break
        rate = options.learning_rate * min(1, (step + 1) / 50) * (0.475 * (1 + math.cos(math.pi * done)) + 0.05)
        for group in optimizer.param_groups:  # a short warm-up, then down along a cosine
            group["lr"] = rate * group["speed"]
        loss = batch_loss(model, batch, log_popularity, *negatives.draw(batch))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        step += 1
        mean_loss = loss.item() if math.isnan(mean_loss) else 0.95 * mean_loss + 0.05 * loss.item()
        progress(TrainingProgress(step, done, mean_loss))
    progress(TrainingProgress(step, 1.0, mean_loss))
    return step


class _Negatives:
    """Draws the candidates of a batch: its targets, and negatives with probability ~ popularity^0.75."""

    def __init__(self, sold: NDArray[np.int64], options: TrainingOptions) -> None:
        share = (sold + 1.0) ** 0.75
        self.share = share / share.sum()
        self.drawn = options.negatives
        self.rng = np.random.default_rng(options.seed + 1)

    def draw(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Candidate items (C,) and the logarithm of how many of the catalogue each stands for (-inf: target only)."""
        if self.drawn >= len(self.share):  # the whole catalogue is cheaper than a sample of it
            return torch.arange(len(self.share)), torch.zeros(len(self.share))
        times = np.bincount(self.rng.choice(len(self.share), self.drawn, p=self.share), minlength=len(self.share))
        wanted = np.zeros(len(self.share), bool)
        wanted[batch.target_item] = True
        items = np.flatnonzero(wanted | (times > 0))
        with np.errstate(divide="ignore"):
            stands_for = np.log(times[items] / (self.drawn * self.share[items]))
        return torch.from_numpy(items), torch.from_numpy(stands_for.astype(np.float32))


def batch_loss(
    model: RecommenderModel, batch: Batch, log_popularity: Tensor, candidates: Tensor, stands_for: Tensor
) -> Tensor:
    """Mean over decisions of the mean cross entropy of their targets, each against the items not bought there.

    `log_popularity` (days, N); `candidates` (C,) ascending, holding all targets; `stands_for` (C,).
    """
    items = model.config.items
    table = model.item_table()
    hidden = model.encode(table, _tensor(batch.item), _tensor(batch.event), _tensor(batch.gap))
    query = model.query(hidden[_tensor(batch.window), _tensor(batch.position)], _tensor(batch.now_gap))  # (D, width)
    popularity = log_popularity[_tensor(batch.day)[:, None], candidates]
    logits = F.linear(query, table[candidates], model.bias[candidates]) + model.trend * popularity  # (D, C)
    column = torch.full((items,), -1)
    column[candidates] = torch.arange(len(candidates))
    counted = column[_tensor(batch.counter_item)] >= 0
    row, item = _tensor(batch.counter_decision)[counted], _tensor(batch.counter_item)[counted]
    repeats = model.repeats(query, row, item, _tensor(batch.counters)[counted])
    logits = logits.index_put((row, column[item]), repeats, accumulate=True)
    target = (_tensor(batch.target_decision), column[_tensor(batch.target_item)])
    against = (logits + stands_for).index_put(target, torch.tensor(-math.inf)).logsumexp(-1)  # (D,)
    loss = F.softplus(against[target[0]] - logits[target])
    decisions = len(batch.window)
    per_decision = torch.zeros(decisions).index_add(0, target[0], loss)
    return (per_decision / torch.bincount(target[0], minlength=decisions)).mean()


def _ppmi_svd(item: Int64s, basket: Int64s, items: int, d: int) -> Tensor:
    """Rows of length 0.3 from the d largest singular vectors of the items' basket PPMI, (items, d)."""
    starts = np.r_[0, np.flatnonzero(np.diff(basket)) + 1, len(basket)]
    pairs: list[Int64s] = []
    for start, stop in pairwise(starts.tolist()):
        lines = item[start : min(stop, start + 40)]  # the few huge baskets would be most of the pairs
        pairs.append((lines[:, None] * items + lines[None, :])[~np.eye(len(lines), dtype=bool)])
    pair, count = np.unique(np.concatenate(pairs), return_counts=True)
    often = count >= 2
    left, right, count = pair[often] // items, pair[often] % items, count[often].astype(np.float64)
    total = np.maximum(np.bincount(left, count, items), 1)
    information = np.log(count * count.sum() / (total[left] * total[right]))
    positive = information > 0
    if positive.sum() == 0:
        return torch.randn(items, d) * 0.02
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([left[positive], right[positive]])),
        torch.from_numpy(information[positive].astype(np.float32)), (items, items),
        check_invariants=True,
    ).coalesce()  # fmt: skip
    u, s, _ = torch.svd_lowrank(matrix, q=min(d, items), niter=2)
    vectors = F.pad(u * s.sqrt(), (0, d - len(s)))
    return 0.3 * F.normalize(vectors, dim=1)


def _categories(items: list[ItemData]) -> Int64s:
    names: dict[str | None, int] = {}
    for item in items:
        names.setdefault(item.category, len(names))
    return np.array([names[item.category] for item in items], np.int64)


def _tensor(array: NDArray[np.generic]) -> Tensor:
    return torch.from_numpy(array)


def _iso(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat()
