"""The trial of a checkpoint: what is well-formed and close enough passes, and nothing else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from model_core.batching.canary import SHOWN, CanaryFailed, judge
from schemas.inference import SEPARATOR, RecommendRequest, RecommendResult
from schemas.results import Reason, ReasonKind, RecommendedItem

STATE = Raw(b"\x90")
ids = st.lists(st.integers(0, 60).map(str), min_size=1, max_size=64, unique=True)
answers = st.lists(st.tuples(ids, ids), min_size=1, max_size=6)


def result(number: int, items: list[str], kind: ReasonKind = "related", score: float = 0.5) -> RecommendResult:
    return RecommendResult.of(number, [RecommendedItem(item, score, Reason(kind)) for item in items])


def before(*results: RecommendResult) -> tuple[tuple[RecommendRequest, RecommendResult], ...]:
    return tuple((RecommendRequest(one.id, 0, 0, STATE), one) for one in results)


@given(answers)
def test_the_overlap_is_the_share_of_the_best_items_that_stay_in_the_mean_over_requests(
    given_answers: list[tuple[list[str], list[str]]],
) -> None:
    old = before(*(result(n, items) for n, (items, _) in enumerate(given_answers)))
    new = [result(n, items) for n, (_, items) in enumerate(given_answers)]
    shares = [len(set(was[:SHOWN]) & set(now[:SHOWN])) / len(was[:SHOWN]) for was, now in given_answers]
    expected = sum(shares) / len(shares)
    assert judge(old, new, 0.0) == pytest.approx(expected)
    if expected > 0.01:
        with pytest.raises(CanaryFailed, match="lower --min-overlap"):
            judge(old, new, expected + 0.01)


@given(answers)
def test_a_model_that_answers_as_before_agrees_in_all(given_answers: list[tuple[list[str], list[str]]]) -> None:
    results = [result(n, items) for n, (items, _) in enumerate(given_answers)]
    assert judge(before(*results), results, 1.0) == 1.0


def test_what_a_customer_keeps_buying_is_left_out_where_there_is_more_to_compare() -> None:
    bought = [RecommendedItem(str(n), 0.9, Reason("repeat")) for n in range(10)]
    was = [RecommendedItem(f"old-{n}", 0.1, Reason("related")) for n in range(10)]
    now = [RecommendedItem(f"new-{n}", 0.1, Reason("related")) for n in range(10)]
    old = before(RecommendResult.of(1, [*bought, *was]))
    assert judge(old, [RecommendResult.of(1, [*bought, *now])], 0.0) == 0.0
    assert judge(old, [RecommendResult.of(1, [*bought, *was[:5], *now])], 0.0) == 0.5
    only_bought = before(RecommendResult.of(1, bought))
    assert judge(only_bought, [RecommendResult.of(1, [*bought[:5], *now])], 0.0) == 0.5


@pytest.mark.parametrize(
    ("new", "why"),
    [
        ([], "a result of its own"),
        ([result(2, ["a"])], "a result of its own"),
        ([result(1, ["a"]), result(1, ["a"])], "a result of its own"),
        ([result(1, [])], "without any item"),
        ([result(1, ["a"], score=float("nan"))], "not a number"),
        ([result(1, ["a"], score=float("inf"))], "not a number"),
        ([RecommendResult(1, f"a{SEPARATOR}b", result(1, ["a"]).items)], "not those that it names"),
        ([RecommendResult(1, f"a{SEPARATOR}a", b"\n".join(2 * [result(1, ["a"]).items]))], "there twice"),
        ([RecommendResult(1, "a", b"nonsense")], "cannot be read"),
    ],
)
def test_an_answer_that_is_not_well_formed_fails_whatever_the_floor(new: list[RecommendResult], why: str) -> None:
    with pytest.raises(CanaryFailed, match=why):
        judge(before(result(1, ["a"])), new, 0.0)


def test_without_earlier_answers_there_is_nothing_to_compare() -> None:
    assert judge((), [], 1.0) == 1.0
