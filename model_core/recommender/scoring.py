"""From a batch to the best items and what speaks for each: encode, retrieve, explain.

One function of tensors on one device, without branches on their values, so that it can be captured as a CUDA graph
(see `device`; an approximate index cannot). Knows no requests and no item ids.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.recommender.features import HALF_LIVES_DAYS, MAX_COUNTERS
from model_core.recommender.model import RecommenderModel
from model_core.recommender.retrieval import Counted, Retriever
from schemas.inference import MAX_CANDIDATES
from schemas.results import ReasonKind

TOP = MAX_CANDIDATES
NEAR = 0.1  # the least cosine similarity of an item and its evidence: unrelated ones have about 0
KINDS: tuple[ReasonKind, ...] = ("repeat", "related", "popular")
REPEAT, RELATED, POPULAR = range(3)
ENCODED = {"cpu": 2048}  # tokens at once: what is written for more leaves the cache, at 1.5 times the cost for 8192


class Batch(NamedTuple):
    """B users, T tokens (right-padded with the start item), R counters."""

    item: Tensor  # (B, T)
    event: Tensor  # (B, T)
    gap: Tensor  # (B, T)
    last: Tensor  # (B,) position of the newest event
    now_gap: Tensor  # (B,)
    counter_user: Tensor  # (R,) ascending
    counter_item: Tensor  # (R,)
    counters: Tensor  # (R, K), decayed to the moment of asking

    @classmethod
    def largest(cls, users: int, length: int) -> "Batch":
        """Zeros in the shapes of a batch of so many users and tokens, each with as many counters as there may be."""
        counters = users * MAX_COUNTERS
        shapes = (users, length), (users, length), (users, length), (users,), (users,), (counters,), (counters,)
        codes = [torch.zeros(shape, dtype=torch.int64) for shape in shapes]
        return cls._make([*codes, torch.zeros(counters, len(HALF_LIVES_DAYS))])

    def without_counters(self) -> "Batch":
        return Batch(*self[:5], *(column[:0] for column in self[5:]))

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(column.to(device) for column in self))


class Best(NamedTuple):
    """The best items of each user, best first, (B, 64), and what speaks for them."""

    item: Tensor
    score: Tensor  # its probability
    kind: Tensor  # (B, 64) index into KINDS
    evidence: Tensor  # (B, 64, 2) for `related`: items of the user's own, the nearer first; -1 where there is none


class Scorer:
    """A model, its item table (N + 1, D) and prior (N,), and what finds the best in them."""

    def __init__(self, model: RecommenderModel, table: Tensor, prior: Tensor, retriever: Retriever) -> None:
        self.model, self.table, self.prior, self.retriever = model, table, prior, retriever
        self._average_item, self._average_prior = table[:-1].mean(0), prior.mean()
        self._start = len(table) - 1

    def __call__(self, batch: Batch) -> Best:
        return self.answer(batch, self.parts(batch))

    def parts(self, batch: Batch) -> int:
        """How many to encode a batch in, one after the other."""
        tokens = ENCODED.get(self.table.device.type)
        return 1 if tokens is None else -(-batch.item.numel() // tokens)

    def answer(self, batch: Batch, parts: int) -> Best:
        columns = (torch.tensor_split(column, parts) for column in batch[:4])
        newest = torch.cat([self.encode(*part) for part in zip(*columns, strict=True)])
        return self.rank(newest, batch)

    def encode(self, item: Tensor, event: Tensor, gap: Tensor, last: Tensor) -> Tensor:
        """The hidden state of each user's newest event, (B, D)."""
        hidden = self.model.encode(self.table, item, event, gap)  # (B, T, D)
        return hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]

    def rank(self, newest: Tensor, batch: Batch) -> Best:
        """The best items, given the states of the newest events (B, D)."""
        query = self.model.query(newest, batch.now_gap)  # (B, D)
        added = self.model.repeats(query, batch.counter_user, batch.counter_item, batch.counters)  # (R,)
        counted = Counted(batch.counter_user, batch.counter_item, added)
        top = self.retriever.top(query, counted, min(TOP, self._start))
        # the user's own counters say more for an item than its affinity above that of an average item does
        average = query @ self._average_item + self._average_prior
        repeat = top.logit - top.affinity > (top.affinity - average[:, None]).clamp(min=0)
        evidence = self._related(top.item, batch.item)
        kind = torch.where(repeat, REPEAT, torch.where(evidence[:, :, 0] >= 0, RELATED, POPULAR))
        evidence.masked_fill_(repeat[:, :, None], -1)
        return Best(top.item, (top.logit - top.log_total[:, None]).exp(), kind, evidence)

    def _related(self, top: Tensor, item: Tensor) -> Tensor:
        """For items (B, 64) the one or two nearest among a user's events (B, T), (B, 64, 2); -1 where none is near."""
        similarity = self._directions(top) @ self._directions(item).transpose(1, 2)  # (B, 64, T)
        own = (top[:, :, None] == item[:, None, :]) | (item == self._start)[:, None, :]
        first_near, first_at = similarity.masked_fill_(own, -1).max(2)
        first = item.gather(1, first_at)
        similarity.masked_fill_(item[:, None, :] == first[:, :, None], -1)  # the second is another item
        second_near, second_at = similarity.max(2)
        second = item.gather(1, second_at)
        return torch.stack([first.where(first_near > NEAR, -1), second.where(second_near > NEAR, -1)], 2)

    def _directions(self, item: Tensor) -> Tensor:
        return F.normalize(F.embedding(item, self.table), dim=-1)


def overlap(some: Tensor, others: Tensor) -> float:
    """The share of the others' items (B, k) that are among some (B, k), user by user."""
    return (others[:, :, None] == some[:, None]).any(2).float().mean().item()


@torch.inference_mode()
def made_up_queries(model: RecommenderModel, table: Tensor, prior: Tensor, users: int, seed: int = 0) -> Tensor:
    """Queries (users, D) of histories of 16 events that are drawn as often as items are wanted by anyone."""
    chance = torch.Generator().manual_seed(seed)
    cumulative = prior.double().exp().cumsum(0)
    drawn = torch.rand((users, 16), generator=chance, dtype=torch.float64).to(table.device) * cumulative[-1]
    item = torch.searchsorted(cumulative, drawn).clamp(max=len(prior) - 1)
    event = torch.randint(model.event.num_embeddings, item.shape, generator=chance).to(table.device)
    hidden = model.encode(table, item, event, torch.zeros_like(item))
    return model.query(hidden[:, -1], torch.zeros_like(item[:, 0]))
