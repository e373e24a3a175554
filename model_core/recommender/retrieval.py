"""The best items of a catalogue for a query, behind one call. Knows nothing of histories, batches and explanations.

    logits = q·Eᵀ + prior + what counters add to the few items that a user has bought

`ExactTopK` scores everything, chunk by chunk. `ApproximateTopK` lets an index find candidates and scores those. It need
not look for counted items: what counters add is never negative, so that an item without counters that is among the
best k of all is also among the best k by q·Eᵀ + prior. Those and the counted items hold the answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

LOGITS = {"cpu": 2**22, "cuda": 2**28}  # at once, in float32: B users times the items of a chunk
OVERSAMPLING = 10  # candidates per wanted item: an index ranks by compressed vectors
TAIL = 4096  # items drawn to estimate what all that were not found add up to


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """What counters add to logits, for R pairs of a user and an item. No pair comes twice, nothing is negative."""

    user: Tensor  # (R,) ascending
    item: Tensor  # (R,)
    logit: Tensor  # (R,)


@dataclass(frozen=True, slots=True, eq=False)
class Top:
    """The best k items of each of B users, best first."""

    item: Tensor  # (B, k)
    logit: Tensor  # (B, k)
    affinity: Tensor  # (B, k) the logit without what counters add
    log_total: Tensor  # (B,) logarithm of the sum of exp(logit) over the whole catalogue


class Retriever(Protocol):
    @property
    def recall(self) -> float:
        """The share of the best 64 by q·Eᵀ + prior that it finds, as measured when it was made."""
        ...

    def top(self, query: Tensor, counted: Counted, k: int) -> Top:
        """The best k of N items for queries (B, D), k <= N."""
        ...


class Index(Protocol):
    """Finds candidates."""

    def find(self, query: Tensor, n: int) -> Tensor:
        """Items (B, n) for queries (B, D), most of which are among the best by q·Eᵀ + prior; none comes twice."""
        ...


class ExactTopK:
    """Scores every item, at most `logits` numbers at once, so that a (B, N) matrix need not exist.

    In bfloat16 products are summed in float32, so that only the table and the query are rounded. Has no branches on
    values: it can be captured as a CUDA graph, or traced. A trace keeps its spans, which fit for fewer users too.
    """

    recall = 1.0

    def __init__(
        self, table: Tensor, prior: Tensor, dtype: torch.dtype = torch.float32, logits: int | None = None
    ) -> None:
        """`table` (N, D) and `prior` (N,) in float32; they are not copied unless `dtype` is another."""
        self._table = table.to(dtype)
        self._prior = prior
        self._logits = logits or LOGITS[table.device.type]
        # one place for all of them: memory that is new to a process costs a CPU as much as the product
        self._place = None if table.is_cuda else torch.empty(self._logits)

    def top(self, query: Tensor, counted: Counted, k: int) -> Top:
        query = query.to(self._table.dtype)
        parts = [self._part(query, counted, k, *span) for span in self._spans(int(query.shape[0]))]
        logit, item, log_total = parts[0]
        if len(parts) > 1:
            logits, items, totals = zip(*parts, strict=True)
            logit, at = torch.cat(logits, 1).topk(k)
            item, log_total = torch.cat(items, 1).gather(1, at), torch.stack(totals).logsumexp(0)
        return Top(item, logit, _affinity(query, self._table, self._prior, item), log_total)

    def _spans(self, users: int) -> Iterator[tuple[int, int]]:
        items = len(self._table)
        size = max(1, self._logits // users)
        return ((start, min(start + size, items)) for start in range(0, items, size))

    def _part(self, query: Tensor, counted: Counted, k: int, start: int, stop: int) -> tuple[Tensor, Tensor, Tensor]:
        """The best k of a span of items: logits and items (B, k), and the logarithm of its total (B,)."""
        logits = self._affinities(query, start, stop)  # (B, n)
        column = counted.item - start
        inside = (column >= 0) & (column < stop - start)
        # what lies outside adds nothing, and adds it to the first number
        place = torch.where(inside, counted.user * (stop - start) + column, 0)
        logits.view(-1).scatter_add_(0, place, counted.logit.where(inside, 0))
        logit, item = logits.topk(min(k, stop - start))
        best = logit[:, :1]
        log_total = logits.sub_(best).exp_().sum(1).log_() + best[:, 0]
        return logit, item.add_(start), log_total

    def _affinities(self, query: Tensor, start: int, stop: int) -> Tensor:
        table, prior = self._table[start:stop], self._prior[start:stop]
        if self._place is None:
            if table.dtype == torch.float32:
                return torch.addmm(prior, query, table.T)
            return torch.mm(query, table.T, out_dtype=torch.float32).add_(prior)
        # of bfloat16 a CPU has no product that is summed in float32: the same numbers, for tests
        users = query.shape[0]  # not len(), which a trace takes for a constant
        place = self._place[: users * (stop - start)].view(users, -1)
        return torch.addmm(prior, query.float(), table.float().T, out=place)


class ApproximateTopK:
    """Candidates by an index, scored exactly. `log_total` is an estimate.

    The best are added up as they are; for the rest, `TAIL` items are drawn in proportion to exp(prior), so that only
    exp(q·E) varies among them (Mussmann and Ermon, ICML 2016, draw uniformly).
    """

    def __init__(self, table: Tensor, prior: Tensor, index: Index, recall: float, seed: int = 0) -> None:
        """`table` (N, D), `prior` (N,); `recall` of the index, measured."""
        self.recall = recall
        self._table, self._prior, self._index = table, prior, index
        cumulative = prior.double().exp().cumsum(0)
        drawn = torch.rand(TAIL, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(table.device)
        self._tail = torch.searchsorted(cumulative, drawn * cumulative[-1]).clamp(max=len(table) - 1)
        self._log_weight = float(cumulative[-1].log()) - float(torch.tensor(TAIL).log())

    def top(self, query: Tensor, counted: Counted, k: int) -> Top:
        found = self._index.find(query, min(OVERSAMPLING * k, len(self._table)))  # (B, n)
        affinity = _affinity(query, self._table, self._prior, found)
        log_total = self._log_total(query, affinity.topk(k).values)
        own_item, own_affinity, own_logit = self._own(query, counted)  # (B, C)
        twice = torch.isin(self._pairs(found), self._pairs(own_item))
        item, affinity = torch.cat([found, own_item], 1), torch.cat([affinity, own_affinity], 1)
        logit = torch.cat([affinity[:, : found.shape[1]].masked_fill(twice, -torch.inf), own_affinity + own_logit], 1)
        best, at = logit.topk(k)
        added = (own_affinity + own_logit.expm1().log()).logsumexp(1)  # exp(logit) - exp(affinity), never negative
        return Top(item.gather(1, at), best, affinity.gather(1, at), torch.logaddexp(log_total, added))

    def _pairs(self, item: Tensor) -> Tensor:
        """A number for each pair of a user and an item; none for -1."""
        user = torch.arange(len(item), device=item.device)[:, None]
        return torch.where(item < 0, -1, user * len(self._table) + item)

    def _own(self, query: Tensor, counted: Counted) -> tuple[Tensor, Tensor, Tensor]:
        """A row per user of the counted items, their affinity and what counters add, padded with -1, -inf and 0."""
        counts = counted.user.bincount(minlength=len(query))
        rank = torch.arange(len(counted.user), device=query.device) - (counts.cumsum(0) - counts)[counted.user]
        affinity = (F.embedding(counted.item, self._table) * query[counted.user]).sum(1) + self._prior[counted.item]
        shape = (len(query), int(counts.max()))
        rows = [counted.item.new_full(shape, -1), query.new_full(shape, -torch.inf), query.new_zeros(shape)]
        for row, values in zip(rows, (counted.item, affinity, counted.logit), strict=True):
            row[counted.user, rank] = values
        return rows[0], rows[1], rows[2]

    def _log_total(self, query: Tensor, best: Tensor) -> Tensor:
        """Estimated logarithm of the sum of exp(affinity) (B,), given the best affinities (B, k), best first."""
        drawn = query @ self._table[self._tail].T  # (B, TAIL)
        among_best = drawn + self._prior[self._tail] >= best[:, -1:]
        rest = drawn.masked_fill(among_best, -torch.inf).logsumexp(1) + self._log_weight
        return torch.logaddexp(best.logsumexp(1), rest)


def _affinity(query: Tensor, table: Tensor, prior: Tensor, item: Tensor) -> Tensor:
    """q·E + prior (B, n) of items (B, n), summed in float32."""
    # rows by `embedding`: on a CPU an index takes 7 times as long
    return (F.embedding(item, table).float() * query.float()[:, None]).sum(2) + prior[item]
