"""The traced scorer against the one that it records, in shapes that were not recorded."""

import gc
import weakref
from pathlib import Path

import pytest
import torch

from model_core.execution import Eager
from model_core.recommender import retrieval, tracing
from model_core.recommender.features import EVENT_CODES, HALF_LIVES_DAYS
from model_core.recommender.retrieval import ExactTopK
from model_core.recommender.runner import LENGTHS, RecommenderRunner
from model_core.recommender.scoring import ENCODED, Batch, Scorer
from model_core.recommender.tracing import TracedScorer

CPU = torch.device("cpu")


def made_up(scorer: Scorer, users: int, length: int, counters: int, seed: int = 0) -> Batch:
    """So many counters for each user."""
    chance = torch.Generator().manual_seed(seed)
    items = len(scorer.table) - 1
    counted = torch.stack([torch.randperm(items, generator=chance)[:counters] for _ in range(users)])
    return Batch(
        item=torch.randint(items, (users, length), generator=chance),
        event=torch.randint(len(EVENT_CODES), (users, length), generator=chance),
        gap=torch.randint(9, (users, length), generator=chance),
        last=torch.randint(length, (users,), generator=chance),
        now_gap=torch.randint(9, (users,), generator=chance),
        counter_user=torch.arange(users).repeat_interleave(counters),
        counter_item=counted.view(-1),
        counters=3 * torch.rand((users * counters, len(HALF_LIVES_DAYS)), generator=chance),
    )


def assert_same(scorer: Scorer, traced: Scorer, batch: Batch) -> None:
    expected, found = Eager(scorer, CPU).run(batch).ready(), Eager(traced, CPU).run(batch).ready()
    torch.testing.assert_close(found.score, expected.score, rtol=0, atol=2e-6)
    for name in ("item", "kind", "evidence"):  # rounding may swap neighbours
        some, other = getattr(found, name), getattr(expected, name)
        assert some.shape == other.shape
        assert (some == other).float().mean() > 0.98, name


@pytest.fixture
def scorer(runner: RecommenderRunner) -> Scorer:
    traced = runner._execution._function  # type: ignore[attr-defined]
    assert isinstance(traced, TracedScorer)
    return traced._scorer


@pytest.fixture
def small_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue in several parts, for any number of users."""
    monkeypatch.setitem(retrieval.LOGITS, "cpu", 40 * tracing.TRACED_USERS)


def test_a_full_batch_is_encoded_in_parts() -> None:
    assert 64 * LENGTHS[-1] > ENCODED["cpu"] > LENGTHS[-1]


@pytest.mark.parametrize("counters", [0, 1, 7])
@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("users", [1, 2, 64])
def test_traced_scorer_answers_as_each_operation_does(scorer: Scorer, users: int, length: int, counters: int) -> None:
    assert_same(scorer, TracedScorer(scorer), made_up(scorer, users, length, counters))


@pytest.mark.usefixtures("small_spans")
@pytest.mark.parametrize("users", [1, 3, tracing.TRACED_USERS])
def test_catalogue_in_parts_is_traced_too(folder: Path, users: int) -> None:
    traced = RecommenderRunner.load(folder)._execution._function  # type: ignore[attr-defined]
    scorer = traced._scorer
    assert len(list(scorer.retriever._spans(tracing.TRACED_USERS))) > 1
    assert_same(scorer, traced, made_up(scorer, users, 5, 3))


def test_batch_larger_than_the_trace_allows_is_answered_too(
    scorer: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "TRACED_USERS", 4)
    traced = TracedScorer(scorer)
    for users in (4, 5):
        assert_same(scorer, traced, made_up(scorer, users, 3, 2))


def test_traced_scorer_that_nobody_needs_leaves_no_table_behind(scorer: Scorer) -> None:
    with torch.inference_mode():
        table = scorer.table.clone()
        traced = TracedScorer(Scorer(scorer.model, table, scorer.prior, ExactTopK(table[:-1], scorer.prior)))
    left = weakref.ref(table)
    del table
    assert left() is not None  # the trace holds it
    del traced
    gc.collect()
    assert left() is None
