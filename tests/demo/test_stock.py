"""Simulated stock falls with sales and rises when an order arrives."""

from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.replay.stock import DAY_MS, LEAD_DAYS, Stock

ITEMS = "abcd"
Day = tuple[int, list[tuple[str, int]]]  # time since the last, what is sold
sales = st.lists(st.tuples(st.integers(0, DAY_MS), st.lists(st.tuples(st.sampled_from(ITEMS), st.integers(1, 30)))))


@settings(max_examples=200)
@given(sales, st.integers(0, 5))
def test_levels_fall_with_sales_and_never_below_nothing(days: list[Day], seed: int) -> None:
    stock = Stock(dict.fromkeys(ITEMS, 3.0), seed)
    level = {row.item_id: row.on_hand for row in stock.levels()}
    now = 0
    for gap, sold in days:
        now += gap
        arrived = {row.item_id: row.on_hand for row in stock.deliver(now)}
        before = {row.item_id: row.on_hand for row in stock.levels()}
        assert all(before[item] >= level[item] for item in ITEMS)
        assert arrived.items() <= before.items()
        reported = {row.item_id: row.on_hand for row in stock.sell(sold, now)}
        level = {row.item_id: row.on_hand for row in stock.levels()}
        for item in ITEMS:
            taken = sum(quantity for name, quantity in sold if name == item)
            assert level[item] == max(0, before[item] - taken)
            if level[item] == 0 and before[item] > 0:
                assert reported[item] == 0
        assert stock.unavailable == {item for item in ITEMS if level[item] == 0}


def test_an_item_that_ran_out_comes_back_after_the_lead_time() -> None:
    stock = Stock({"a": 5.0}, seed=1)
    stock.sell([("a", 10_000)], now_ms=0)
    assert stock.unavailable == {"a"}
    assert stock.deliver(int(LEAD_DAYS[0] * DAY_MS) - 1) == []
    (level,) = stock.deliver(int(LEAD_DAYS[1] * DAY_MS))
    assert level.on_hand > 0
    assert stock.unavailable == set()


def test_the_same_seed_gives_the_same_levels() -> None:
    rates = dict.fromkeys(ITEMS, 2.0)
    assert Stock(rates, 1).levels() == Stock(rates, 1).levels()
    assert Stock(rates, 1).levels() != Stock(rates, 2).levels()


def test_an_unknown_item_is_not_an_error() -> None:
    assert Stock({}, 0).sell([("x", 1)], 0) == []
