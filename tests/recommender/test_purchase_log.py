"""The purchase log: order, slicing and fingerprint."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_core.recommender.purchase_log import PurchaseLog


def build(rows: list[tuple[int, int, int, int]]) -> PurchaseLog:
    """Rows of user, item, basket, time; one unit each at 2.0."""
    table = np.array(rows, np.int64).reshape(-1, 4)
    ones = np.ones(len(table), np.int64)
    return PurchaseLog.build(
        user=table[:, 0], item=table[:, 1], store=ones, basket=table[:, 2], time_ms=table[:, 3], quantity=ones,
        paid=ones * 2.0,
    )  # fmt: skip


def test_repeats_in_a_basket_are_merged() -> None:
    log = build([(1, 7, 5, 100), (1, 8, 5, 100), (1, 7, 5, 100)])
    (basket,) = log.baskets()
    assert basket.item_ids == ("7", "8")
    assert basket.quantities == (2, 1)
    assert basket.prices == (2.0, 2.0)


rows = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 6), st.integers(0, 50)).map(
        lambda row: (row[2] % 4, row[1], row[2], row[2] * 7 % 5 * 10)  # a basket has one user and one time
    ),
    min_size=1,
    max_size=40,
)


@given(rows)
def test_lines_are_in_order_of_time_with_baskets_adjacent(drawn: list[tuple[int, int, int, int]]) -> None:
    log = build(drawn)
    assert (np.diff(log.time_ms) >= 0).all()
    assert (np.diff(log.basket) >= 0).all()
    assert len(log) == len({(basket, item) for _, item, basket, _ in drawn})
    assert sum(log.quantity) == len(drawn)
    assert len(list(log.baskets())) == len({basket for _, _, basket, _ in drawn})


@given(rows, st.integers(-5, 55))
def test_before_and_between_split_the_log(drawn: list[tuple[int, int, int, int]], at_ms: int) -> None:
    log = build(drawn)
    earlier, later = log.before(at_ms), log.between(at_ms, 10**6)
    assert (earlier.time_ms < at_ms).all()
    assert (later.time_ms >= at_ms).all()
    assert [*earlier.baskets(), *later.baskets()] == list(log.baskets())


@given(rows)
def test_fingerprint_is_of_the_content_and_not_of_its_coding(drawn: list[tuple[int, int, int, int]]) -> None:
    log = build(drawn)
    longer = build([*drawn, (9, 99, 99, 10**6)])
    assert longer.before(10**6).fingerprint() == log.fingerprint()
    assert longer.fingerprint() != log.fingerprint()
    assert longer.before(10**6).compact().item_ids == log.item_ids


@pytest.mark.parametrize("column", ["time_ms", "quantity", "price", "item"])
def test_fingerprint_sees_every_column(column: str) -> None:
    from dataclasses import replace

    log = build([(1, 7, 5, 100), (1, 8, 6, 200)])
    changed = replace(log, **{column: getattr(log, column)[::-1] + (column in {"quantity", "price"})})
    assert changed.fingerprint() != log.fingerprint()
