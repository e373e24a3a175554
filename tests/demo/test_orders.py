"""Simulated orders go on with event time, belong to who bought, and are the same for the same seed."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from footfall.replay.orders import ASKED_DAYS, DAY_MS, KEPT, Orders, order_of
from schemas.events import OrderData
from tests.demo.shop import SHELVES, START_MS, USERS, past, purchase

SENT = {"shipped", "out_for_delivery", "delivered", "returned"}
STEPS = ("placed", "paid", "packed", "shipped", "out_for_delivery", "delivered", "returned")
REFUNDS = ("requested", "approved", "paid")
seeds, numbers = st.integers(0, 50), st.integers(0, 200)
ages = st.lists(st.integers(0, 40 * DAY_MS), min_size=2, max_size=8).map(sorted)


def story(seed: int, number: int, at: list[int]) -> list[OrderData]:
    return [order_of(purchase(number, "u1", START_MS), START_MS + age, seed, SHELVES) for age in at]


@given(seeds, numbers, ages)
def test_an_order_only_goes_on(seed: int, number: int, at: list[int]) -> None:
    orders = story(seed, number, at)
    for before, after in itertools.pairwise(orders):
        if before.status == "cancelled":
            assert after.status == "cancelled"
        elif after.status == "cancelled":
            assert before.status in {"placed", "paid"}
        else:
            assert STEPS.index(before.status) <= STEPS.index(after.status)
        if before.refund is not None:
            assert after.refund is not None
            assert before.refund.amount == after.refund.amount
            if after.refund.status != "declined":
                assert REFUNDS.index(before.refund.status) <= REFUNDS.index(after.refund.status)


@given(seeds, numbers, st.integers(0, 40 * DAY_MS))
def test_nothing_is_known_of_an_order_before_it_happens(seed: int, number: int, age: int) -> None:
    (order,) = story(seed, number, [age])
    shipment, refund = order.shipment, order.refund
    assert (shipment is not None) == (order.status in SENT)
    times = [order.placed_at]
    if shipment is not None:
        assert shipment.carrier
        assert shipment.tracking_id
        times += [shipment.shipped_at, shipment.delivered_at, shipment.expected_at]
        assert (shipment.delivered_at is not None) == (order.status in {"delivered", "returned"})
        assert shipment.expected_at is None or shipment.delivered_at is None
    if refund is not None:
        times.append(refund.updated_at)
        assert order.value is not None
        assert 0 <= refund.amount <= order.value
        assert order.status in {"cancelled", "delivered", "returned"}
    assert all(time is None or time.timestamp() * 1000 <= START_MS + age for time in times)


def test_orders_are_of_all_kinds() -> None:
    orders = [order for number in range(400) for order in story(3, number, [number * DAY_MS // 20])]
    statuses = Counter(order.status for order in orders)
    assert set(statuses) == {*STEPS, "cancelled"}
    assert {order.refund.status for order in orders if order.refund} == {*REFUNDS, "declined"}
    assert any(order.shipment and order.shipment.expected_at for order in orders)  # late
    assert statuses["cancelled"] < len(orders) * 0.15


def test_an_order_is_that_of_the_purchase_and_says_that_it_is_simulated() -> None:
    bought = purchase(4711, "u1", START_MS)
    order = order_of(bought, START_MS, 1, SHELVES)
    assert order.order_id == "SIM-004711"
    assert order.user_id == "u1"
    assert [(line.item_id, line.quantity, line.price) for line in order.lines] == [
        (line.item_id, line.quantity, line.price) for line in bought.lines
    ]
    assert order.value == sum(line.price * line.quantity for line in bought.lines)
    assert order.status == "placed"


def test_customers_see_their_own_newest_orders_only() -> None:
    orders = Orders(1, SHELVES, past())
    for user in USERS:
        found = orders.of(user, START_MS)
        assert 0 < len(found) <= KEPT
        assert {order.user_id for order in found} == {user}
        placed = [order.placed_at for order in found if order.placed_at]
        assert placed == sorted(placed, reverse=True)
    assert orders.of("u0", START_MS + ASKED_DAYS * DAY_MS + 1) == []
    assert orders.of("nobody", START_MS) == []
    orders.add(purchase(999, "nobody", START_MS))
    assert [order.order_id for order in orders.of("nobody", START_MS)] == ["SIM-000999"]


def test_the_same_seed_gives_the_same_orders() -> None:
    def made(seed: int) -> list[OrderData]:
        orders = Orders(seed, SHELVES, past())
        return [order for user in USERS for order in orders.of(user, START_MS)]

    assert made(1) == made(1)
    assert made(1) != made(2)
