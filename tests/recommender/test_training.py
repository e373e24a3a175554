"""Training: it learns, and it reads nothing from after its end."""

import math
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from footfall.datasets import Dataset
from model_core.recommender import checkpoint
from model_core.recommender.baselines import popularity_28d
from model_core.recommender.evaluation import evaluate
from model_core.recommender.features import EVENT_CODES, HALF_LIVES_DAYS
from model_core.recommender.purchase_log import PurchaseLog
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.sequences import Batch, Sequences
from model_core.recommender.training import TrainingError, TrainingOptions, train
from model_core.trained_folder import CONFIG, WEIGHTS


def test_loss_falls(losses: list[float], folder: Path) -> None:
    assert losses[-1] < 0.96 * losses[0]


def test_trained_model_beats_popularity(runner: RecommenderRunner, shop: Dataset) -> None:
    result = evaluate(runner, {"popularity": popularity_28d()}, shop.log, from_ms=shop.trained_until_ms, max_cases=500)
    difference = result.paired["hit_rate"]["popularity"]
    assert result.cases == 500
    assert difference.mean > 2 * difference.se


def test_nothing_sold_later_changes_the_checkpoint(shop: Dataset, small: TrainingOptions, tmp_path: Path) -> None:
    few = msgspec.structs.replace(small, steps=3, dropout=0.1)
    log, until_ms = shop.log, shop.trained_until_ms
    later = log.time_ms >= until_ms
    rng = np.random.default_rng(5)
    poisoned = replace(
        log,
        item_ids=(*log.item_ids, "a new item"),
        user_ids=(*log.user_ids, "a new user"),
        item=np.where(later, len(log.item_ids), log.item),
        user=np.where(later, rng.integers(0, len(log.user_ids) + 1, len(log)), log.user).astype(np.int32),
        price=np.where(later, 1e6, log.price).astype(np.float32),
        quantity=np.where(later, 999, log.quantity),
    )
    assert poisoned.fingerprint() != log.fingerprint()
    for name, given in (("clean", log), ("poisoned", poisoned)):
        trained = train(given, shop.catalog, until_ms=until_ms, options=few)
        checkpoint.save(trained, tmp_path / name)
    for file in (WEIGHTS, CONFIG):
        assert (tmp_path / "clean" / file).read_bytes() == (tmp_path / "poisoned" / file).read_bytes()


def test_time_budget_ends_the_training(shop: Dataset, small: TrainingOptions) -> None:
    ticks = iter(range(1000))
    options = msgspec.structs.replace(small, steps=None, budget_s=4.0)
    trained = train(
        shop.log, shop.catalog, until_ms=shop.trained_until_ms, options=options, clock=lambda: float(next(ticks))
    )
    assert trained.description.steps == 3


def test_training_says_what_is_missing(shop: Dataset, small: TrainingOptions) -> None:
    with pytest.raises(TrainingError, match="later end of training"):
        train(shop.log, shop.catalog, until_ms=0, options=small)
    with pytest.raises(TrainingError, match="either steps or a time budget"):
        train(shop.log, shop.catalog, until_ms=shop.trained_until_ms, options=TrainingOptions())
    options = msgspec.structs.replace(small, min_sales=10**6)
    with pytest.raises(TrainingError, match="lower min_sales"):
        train(shop.log, shop.catalog, until_ms=shop.trained_until_ms, options=options)


def _batches(log: PurchaseLog, click_share: float) -> list[Batch]:
    sequences = Sequences(
        user=log.user.astype(np.int64), item=log.item.astype(np.int64), basket=log.basket.astype(np.int64),
        time_ms=log.time_ms, category=np.arange(len(log.item_ids)) % 5, click_share=click_share,
        rng=np.random.default_rng(1),
    )  # fmt: skip
    source = sequences.batches(8)
    return [next(source) for _ in range(20)]


def test_every_decision_sees_only_what_came_before_its_basket(shop: Dataset) -> None:
    # items are given their first day of sale as a code, so that a later one would show in counters or tokens
    log = shop.log
    start_ms = int(log.time_ms[0]) // 86_400_000 * 86_400_000
    day = ((log.time_ms - start_ms) // 86_400_000).astype(np.int32)
    by_day = replace(log, item=day, item_ids=tuple(map(str, range(int(day.max()) + 1))))
    first = np.unique(np.stack([by_day.basket, by_day.item]), axis=1, return_index=True)[1]
    first.sort()
    by_day = replace(
        by_day, user=log.user[first], item=day[first], store=log.store[first], basket=log.basket[first],
        time_ms=log.time_ms[first], quantity=log.quantity[first], price=log.price[first],
    )  # fmt: skip
    for batch in _batches(by_day, click_share=0.0):
        bought_on = np.full(len(batch.window), -1)
        bought_on[batch.target_decision] = batch.target_item
        assert (batch.counter_item < bought_on[batch.counter_decision]).all()
        seen = batch.item[batch.window, batch.position]
        empty = seen == len(by_day.item_ids)
        assert (seen[~empty] < bought_on[~empty]).all()


def test_newcomers_are_asked_for_without_history_or_counters(shop: Dataset) -> None:
    newcomers = 0
    for batch in _batches(shop.log, click_share=0.5):
        for decision in np.flatnonzero(batch.item[batch.window, batch.position] == len(shop.log.item_ids)):
            newcomers += 1
            assert batch.position[decision] == 0
            assert not (batch.counter_decision == decision).any()
    assert newcomers > 0


def test_counters_of_a_decision_are_decayed_to_the_moment_of_asking() -> None:
    day_ms = 86_400_000
    log = PurchaseLog.build(
        user=np.zeros(3, np.int64), item=np.array([7, 7, 9]), store=np.zeros(3, np.int64), basket=np.arange(3),
        time_ms=np.array([0, 10, 40]) * day_ms, quantity=np.ones(3, np.int64), paid=np.ones(3),
    )  # fmt: skip
    expected = [[0.5 ** (age / half_life) for half_life in HALF_LIVES_DAYS] for age in (40, 30)]
    seen = False
    for batch in _batches(log, click_share=0.0):
        for decision in np.flatnonzero(np.isin(batch.now_gap, [15])):  # asked 30 days after the second basket
            rows = batch.counter_decision == decision
            if batch.target_item[batch.target_decision == decision].tolist() == [1] and batch.day[decision] == 40:
                np.testing.assert_allclose(batch.counters[rows], [np.sum(expected, axis=0)], rtol=1e-5)
                seen = True
    assert seen


def test_simulated_clicks_are_context_and_carted_items_are_not_targets_after_them(shop: Dataset) -> None:
    purchase, cart = EVENT_CODES["purchase"], EVENT_CODES["cart"]
    clicked = 0
    for batch in _batches(shop.log, click_share=1.0):
        for decision, (window, position) in enumerate(zip(batch.window, batch.position, strict=True)):
            if batch.event[window, position] == purchase:
                continue
            clicked += 1
            first = position
            while first >= 0 and batch.event[window, first] != purchase:
                first -= 1
            session = slice(first + 1, position + 1)
            carted = batch.item[window, session][batch.event[window, session] == cart]
            assert not np.isin(batch.target_item[batch.target_decision == decision], carted).any()
    assert clicked > 100


def test_sampled_candidates_stand_for_the_whole_catalogue(shop: Dataset, small: TrainingOptions) -> None:
    from model_core.recommender.training import _Negatives

    sold = np.bincount(shop.log.item, minlength=len(shop.log.item_ids))
    batch = _batches(shop.log, click_share=0.0)[0]
    negatives = _Negatives(sold, msgspec.structs.replace(small, negatives=200))
    draws = [negatives.draw(batch) for _ in range(300)]
    assert all(np.isin(batch.target_item, items.numpy()).all() for items, _ in draws)
    represented = sum(float(stands_for.exp().sum()) for _, stands_for in draws) / len(draws)
    assert math.isclose(represented, len(sold), rel_tol=0.05)
    assert all(bool(torch.all(items[1:] > items[:-1])) for items, _ in draws)
