"""Metrics against cases worked by hand, baselines, and the order of scoring and showing."""

import math
import random

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.datasets import Dataset
from footfall.training import report_of
from model_core.recommender.baselines import PersonalFrequency, personal_frequency, popularity_28d
from model_core.recommender.evaluation import UserStates, basket_metrics, evaluate, mean_of
from model_core.recommender.features import DAY_MS, HALF_LIVES_DAYS
from model_core.recommender.runner import RecommenderRunner
from schemas.inference import UserState


def test_metrics_of_a_case_worked_by_hand() -> None:
    hit, ndcg, recall, mrr = basket_metrics(["a", "b", "c", "d"], ["b", "d", "x"])
    ideal = 1 + 1 / math.log2(3) + 1 / 2
    assert [hit, recall, mrr] == pytest.approx([1.0, 2 / 3, 0.5])
    assert ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)


def test_metrics_look_at_ten_places_only() -> None:
    ranked = [str(n) for n in range(20)]
    assert basket_metrics(ranked, ["10"]) == (0.0, 0.0, 0.0, 0.0)
    assert basket_metrics(ranked, ["9"]) == pytest.approx((1.0, 1 / math.log2(11), 1.0, 0.1))
    assert basket_metrics(ranked, ranked)[:2] == pytest.approx((1.0, 1.0))


def test_standard_error_is_that_of_a_mean() -> None:
    found = mean_of(np.array([0.0, 1.0, 1.0, 0.0]))
    assert [found.mean, found.se] == pytest.approx([0.5, math.sqrt(1 / 3) / 2])


def test_popularity_forgets_after_its_days() -> None:
    popularity = popularity_28d()
    for day, items in enumerate((["old", "both"], ["both"], ["new"])):
        popularity.observe("u", items, day * 20 * DAY_MS)
    assert popularity.top("u", 40 * DAY_MS, 5) == ["both", "new"]


def test_personal_frequency_weighs_recent_purchases_and_fills_with_popular_items() -> None:
    frequency = personal_frequency(half_life_days=10)
    for day, items in ((0, ["often", "often too"]), (1, ["often"]), (30, ["recent"])):
        frequency.observe("u", items, day * DAY_MS)
    frequency.observe("other", ["popular"], 30 * DAY_MS)
    assert frequency.top("u", 31 * DAY_MS, 4) == ["recent", "often", "often too", "popular"]
    assert frequency.top("stranger", 31 * DAY_MS, 2) == ["popular", "recent"]


@given(st.lists(st.tuples(st.integers(0, 400), st.sampled_from("abcd")), min_size=1, max_size=30))
def test_personal_frequency_orders_as_its_definition(purchases: list[tuple[int, str]]) -> None:
    frequency = PersonalFrequency(120, popularity_28d())
    purchases.sort()
    now = purchases[-1][0]
    for day, item in purchases:
        frequency.observe("u", [item], day * DAY_MS)
    weight = {i: math.fsum(0.5 ** ((now - day) / 120) for day, item in purchases if item == i) for _, i in purchases}
    found = [weight[item] for item in frequency.top("u", now * DAY_MS, 4)]
    assert found == pytest.approx(sorted(weight.values(), reverse=True))


def test_user_states_hold_what_the_agents_hold() -> None:
    states, rng, now = UserStates(), random.Random(2), 300 * DAY_MS
    bought: list[tuple[str, int]] = []
    for basket in range(90):
        time_ms = basket * 3 * DAY_MS
        items = rng.sample([str(n) for n in range(900)], 9)
        states.observe("u", items, time_ms)
        bought += [(item, time_ms) for item in items]
    state = msgspec.msgpack.decode(states.request("u", now, 1).state, type=UserState)
    assert len(state.history) == 2 * 128
    assert [m.split(":")[1] for m in state.history[::2]] == [item for item, _ in reversed(bought[-128:])]
    assert len(state.counter_items) == 512
    values = np.frombuffer(state.counter_values, "<f8").reshape(-1, 3)
    kept = state.counter_items[-1]
    for k, half_life in enumerate(HALF_LIVES_DAYS):
        at_now = values[-1, k] * 0.5 ** ((now - values[-1, 2]) / DAY_MS / half_life)
        direct = math.fsum(0.5 ** ((now - time_ms) / DAY_MS / half_life) for item, time_ms in bought if item == kept)
        assert at_now == pytest.approx(direct)


def test_evaluation_scores_each_basket_before_it_is_shown(runner: RecommenderRunner, shop: Dataset) -> None:
    """A method that repeats the latest basket it has seen would be perfect if the scored one were among them."""

    class Latest:
        shown: tuple[str, ...] = ()
        asked = 0

        def observe(self, user: str, items: tuple[str, ...], time_ms: int) -> None:
            self.shown = items

        def top(self, user: str, now_ms: int, k: int) -> list[str]:
            self.asked += 1
            return list(self.shown)

    latest = Latest()
    result = evaluate(runner, {"latest": latest}, shop.log, from_ms=shop.trained_until_ms, max_cases=60)  # type: ignore[dict-item]
    assert latest.asked == result.cases == 60
    assert result.metrics["recall"]["latest"].mean < 0.5
    report = report_of(result)
    assert report.keys() >= {"cases", "ndcg_at_10", "recall_at_10", "mrr_at_10", "hit_rate_at_10", "se"}
    assert report["ndcg_at_10"].keys() == {"footfall", "latest"}  # type: ignore[attr-defined]
