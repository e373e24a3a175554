"""Results that are written agree with results that are built, whatever the ids and scores are."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_core.recommender.scoring import KINDS, POPULAR, RELATED, REPEAT, Best
from model_core.recommender.wording import Wording
from model_core.runner import CheckpointError, InvalidInput
from schemas.inference import MAX_CANDIDATES, SEPARATOR, RecommendResult
from schemas.results import Reason, RecommendedItem

ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEPARATOR), min_size=1, max_size=6)
catalogues = st.lists(ids, min_size=2, max_size=9, unique=True)
scores = st.floats(0, 1, width=32)


@st.composite
def bests(draw: st.DrawFn, items: int, users: int) -> Best:
    kept = draw(st.integers(1, min(items, MAX_CANDIDATES)))
    code = st.integers(0, items - 1)
    item, score, kind, evidence = [], [], [], []
    for _ in range(users):
        item.append(draw(st.permutations(range(items)))[:kept])
        score.append(draw(st.lists(scores, min_size=kept, max_size=kept)))
        kind.append(draw(st.lists(st.sampled_from(range(len(KINDS))), min_size=kept, max_size=kept)))
        evidence.append([[draw(code), draw(code | st.just(-1))] if of == RELATED else [-1, -1] for of in kind[-1]])
    return Best(torch.tensor(item), torch.tensor(score), torch.tensor(kind), torch.tensor(evidence))


@given(st.data(), catalogues, st.integers(1, 4))
def test_written_results_are_the_ones_that_are_built(data: st.DataObject, item_ids: list[str], users: int) -> None:
    wording, best = Wording(item_ids), data.draw(bests(len(item_ids), users))
    assert wording.results(range(users), best) == wording.reference(range(users), best)


def test_an_id_is_quoted_as_json_has_it() -> None:
    best = Best(*map(torch.tensor, ([[1, 0]], [[0.5, 1e-7]], [[REPEAT, POPULAR]], [[[-1, -1], [-1, -1]]])))
    (result,) = Wording(["plain", 'a "b"\\\n\u2028c']).results([7], best)
    assert result.id == 7
    assert [candidate.item_id for candidate in result.candidates] == ['a "b"\\\n\u2028c', "plain"]
    assert [candidate.score for candidate in result.candidates] == [0.5, 0.0]
    assert [candidate.reason for candidate in result.candidates] == [
        Reason("repeat", ('a "b"\\\n\u2028c',)), Reason("popular"),
    ]  # fmt: skip


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_a_score_that_is_no_number_is_an_error_and_no_answer(score: float) -> None:
    best = Best(*map(torch.tensor, ([[0, 1]], [[0.5, score]], [[POPULAR, POPULAR]], [[[-1, -1], [-1, -1]]])))
    with pytest.raises(InvalidInput, match="not a number"):
        Wording(["a", "b"]).results([1], best)


def test_an_id_with_the_character_between_ids_is_refused() -> None:
    odd = f"a{SEPARATOR}b"
    with pytest.raises(CheckpointError, match=r"U\+001F"):
        Wording(["plain", odd])
    with pytest.raises(ValueError, match=r"U\+001F"):
        RecommendResult.of(1, [RecommendedItem(odd, 0.5, Reason("popular"))])
    assert RecommendResult.of(1, []).item_ids == []
