"""Retrieval: both retrievers against the slow computation of every logit, and the index against the exact answer."""

import math
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model_core.recommender.index import FaissIndex, IndexMissingError
from model_core.recommender.retrieval import ApproximateTopK, Counted, ExactTopK, Top
from model_core.recommender.scoring import overlap

NOTHING = Counted(torch.zeros(0, dtype=torch.int64), torch.zeros(0, dtype=torch.int64), torch.zeros(0))


def slowly(table: Tensor, prior: Tensor, query: Tensor, counted: Counted, k: int) -> Top:
    """The twin: every logit of every user at once, in float64."""
    affinity = query.double() @ table.double().T + prior.double()
    logits = affinity.clone()
    logits[counted.user, counted.item] += counted.logit.double()
    logit, item = logits.topk(k)
    return Top(item, logit, affinity.gather(1, item), logits.logsumexp(1))


class Perfect:
    """An index that finds exactly the best by q·E + prior, and no more than was asked for."""

    def __init__(self, table: Tensor, prior: Tensor, found: int) -> None:
        self.table, self.prior, self.found = table, prior, found

    def find(self, query: Tensor, n: int) -> Tensor:
        return (query @ self.table.T + self.prior).topk(min(n, self.found)).indices


@st.composite
def catalogues(draw: st.DrawFn) -> tuple[Tensor, Tensor, Tensor, Counted, int]:
    """Table, prior, queries, counters and k; many counters for some users, none for others."""
    chance = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    items, users = draw(st.integers(2, 60)), draw(st.integers(1, 5))
    k = draw(st.integers(1, min(8, items)))
    pairs = sorted(draw(st.sets(st.tuples(st.integers(0, users - 1), st.integers(0, items - 1)), max_size=40)))
    counted = Counted(
        torch.tensor([user for user, _ in pairs], dtype=torch.int64),
        torch.tensor([item for _, item in pairs], dtype=torch.int64),
        3 * torch.rand(len(pairs), generator=chance) * draw(st.sampled_from((0.0, 1.0))),
    )
    table, query = torch.randn(items, 4, generator=chance), torch.randn(users, 4, generator=chance)
    return table, torch.randn(items, generator=chance), query, counted, k


def assert_same(found: Top, expected: Top) -> None:
    assert torch.equal(found.item, expected.item)
    for some, other in ((found.logit, expected.logit), (found.affinity, expected.affinity)):
        torch.testing.assert_close(some.double(), other, rtol=0, atol=1e-5)


@given(catalogues(), st.integers(5, 400))
@settings(max_examples=200, deadline=None)
def test_scan_in_chunks_of_any_size_is_exact(
    case: tuple[Tensor, Tensor, Tensor, Counted, int], logits: int
) -> None:
    table, prior, query, counted, k = case
    found = ExactTopK(table, prior, logits=logits).top(query, counted, k)
    expected = slowly(table, prior, query, counted, k)
    assert_same(found, expected)
    torch.testing.assert_close(found.log_total.double(), expected.log_total, rtol=0, atol=1e-5)


@given(catalogues())
@settings(max_examples=200, deadline=None)
def test_best_by_affinity_and_the_counted_items_hold_the_answer(
    case: tuple[Tensor, Tensor, Tensor, Counted, int],
) -> None:
    """An index that finds k items is enough for the best k: counters add and never take away."""
    table, prior, query, counted, k = case
    retriever = ApproximateTopK(table, prior, Perfect(table, prior, found=k), recall=1.0)
    assert_same(retriever.top(query, counted, k), slowly(table, prior, query, counted, k))


def test_scan_of_rounded_numbers_finds_what_rounded_numbers_hold() -> None:
    chance = torch.Generator().manual_seed(1)
    table, prior = torch.randn(500, 16, generator=chance), torch.randn(500, generator=chance)
    query = torch.randn(7, 16, generator=chance)
    found = ExactTopK(table, prior, torch.bfloat16).top(query, NOTHING, 20)
    rounded = slowly(table.bfloat16(), prior, query.bfloat16(), NOTHING, 20)
    assert_same(found, rounded)
    assert overlap(found.item, slowly(table, prior, query, NOTHING, 20).item) > 0.9


def catalogue(items: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors in groups and a power-law prior, as long and as wide as trained ones; queries near some of the items."""
    chance = torch.Generator().manual_seed(seed)
    group = torch.randn(int(items**0.5), 64, generator=chance)
    table = 0.075 * group[torch.randint(len(group), (items,), generator=chance)]
    table += 0.055 * torch.randn(items, 64, generator=chance)
    prior = -torch.rand(items, generator=chance).clamp(min=1e-6).log() / 2.65
    near = table[torch.randint(items, (100, 3), generator=chance)].mean(1)
    return table, prior, 9.5 * torch.nn.functional.normalize(near + 0.05 * torch.randn(100, 64, generator=chance))


def test_total_is_estimated_from_the_best_and_a_sample_of_the_rest() -> None:
    table, prior, query = catalogue(20_000)
    counted = Counted(torch.arange(100), torch.arange(100), torch.full((100,), 4.0))
    retriever = ApproximateTopK(table, prior, Perfect(table, prior, found=640), recall=1.0)
    error = retriever.top(query, counted, 64).log_total - slowly(table, prior, query, counted, 64).log_total
    assert error.abs().mean() < 0.03  # a probability is right to some hundredths of itself
    assert error.abs().max() < 0.15
    assert error.mean().abs() < 0.02


def test_index_finds_most_of_the_best_and_they_are_scored_exactly() -> None:
    pytest.importorskip("faiss", reason="approximate retrieval is an extra: pip install 'footfall[approximate]'")
    table, prior, query = catalogue(20_000)
    index = FaissIndex(table, prior)
    assert len(index) == 20_000
    counted = Counted(torch.arange(100), torch.arange(100), torch.full((100,), 9.0))
    expected = slowly(table, prior, query, counted, 64)
    recalls = []
    for probes in (1, index.lists // 8, index.lists):
        index.probes = probes
        found = ApproximateTopK(table, prior, index, recall=0.0).top(query, counted, 64)
        assert all(len(set(items)) == 64 for items in found.item.tolist())
        assert all(user in items for user, items in enumerate(found.item.tolist()))  # what is counted needs no index
        recalls.append(overlap(found.item, expected.item))
        exact = (query.double() @ table.double().T + prior.double()).gather(1, found.item)
        torch.testing.assert_close(found.affinity.double(), exact, rtol=0, atol=1e-4)
    assert recalls == sorted(recalls)
    assert recalls[1] > 0.9
    assert recalls[2] > 0.95


def test_index_is_asked_until_it_has_found_enough() -> None:
    pytest.importorskip("faiss", reason="approximate retrieval is an extra: pip install 'footfall[approximate]'")
    table, prior, query = catalogue(2_000)
    index = FaissIndex(table, prior)
    index.probes = 1
    found = index.find(query, 2_000)
    assert torch.equal(found.sort().values, torch.arange(2_000).expand(100, -1))


def test_index_says_that_a_query_is_not_a_number_and_does_not_look_for_ever() -> None:
    chance = torch.Generator().manual_seed(1)
    index = FaissIndex(torch.randn(500, 8, generator=chance), torch.randn(500, generator=chance))
    with pytest.raises(ArithmeticError, match="not a number"):
        index.find(torch.full((2, 8), torch.nan), 5)


def test_missing_faiss_is_said_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(IndexMissingError, match=r"pip install 'footfall\[approximate\]'.*--retrieval exact"):
        FaissIndex(torch.zeros(100, 4), torch.zeros(100))


def test_no_counters_and_all_counters_are_both_answered() -> None:
    table, prior, query = torch.eye(3), torch.zeros(3), torch.zeros(2, 3)
    everything = Counted(torch.tensor([0, 0, 0]), torch.arange(3), torch.tensor([1.0, 3.0, 2.0]))
    for retriever in (ExactTopK(table, prior), ApproximateTopK(table, prior, Perfect(table, prior, 3), recall=1.0)):
        top = retriever.top(query, everything, 3)
        assert top.item[0].tolist() == [1, 2, 0]
        assert math.isclose(top.log_total[0].item(), math.log(sum(map(math.exp, (1, 2, 3)))), abs_tol=1e-6)
        assert math.isclose(top.log_total[1].item(), math.log(3), abs_tol=1e-6)
