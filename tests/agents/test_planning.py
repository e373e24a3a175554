"""A message has one plan, its template can be written, and nothing in it is of somebody else."""

from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.state.conversations import Standing
from agents.state.orders_store import KnownOrder
from agents.support.handover import REASONS
from agents.support.planning import POLICY, Asked, Item, Known, Limits, Plan, plan
from agents.support.policies import read
from agents.support.templates import LANGUAGES, Templates
from schemas.events import OrderData, OrderRefund, OrderStatus, RefundStatus, Shipment

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)
TEMPLATES = Templates()
PASSAGES = read()
NEW = Standing(1, 0, 0, "", "", "", None)
SHIPMENT = Shipment(carrier="DHL", shipped_at=NOW - timedelta(days=2), expected_at=NOW + timedelta(days=1))


def known_order(order_id: str = "4411", status: OrderStatus = "shipped", **more: Any) -> KnownOrder:
    order = OrderData(order_id=order_id, user_id="17", status=status, **{"shipment": SHIPMENT, **more})
    return KnownOrder(order, 1_795_428_000_000)


def asked(intent: str, text: str = "…", *order_ids: str, confidence: float = 0.9) -> Asked:
    return Asked(text, "en", intent, confidence, order_ids)


def planned(asked: Asked, known: Known = Known(), standing: Standing = NEW) -> Plan:  # noqa: B008 - frozen
    return plan(asked, known, standing, NOW, "EUR", Limits())


def situation(intent: str, *orders: KnownOrder, named: tuple[str, ...] = ()) -> str:
    return planned(asked(intent, "…", *named), Known(orders)).situation


@pytest.mark.parametrize(
    ("intent", "status", "expected"),
    [
        ("order_status", "packed", "order_status.packed"), ("order_status", "shipped", "order_status.shipped"),
        ("order_status", "delivered", "order_status.delivered"), ("change_order", "paid", "change_order.possible"),
        ("change_order", "out_for_delivery", "change_order.too_late"),
        ("change_order", "returned", "change_order.closed"),
        ("cancel_order", "placed", "cancel_order.possible"), ("cancel_order", "shipped", "cancel_order.too_late"),
        ("cancel_order", "cancelled", "cancel_order.already"), ("cancel_order", "returned", "cancel_order.delivered"),
        ("refund_status", "returned", "refund_status.none"),
    ],
)
def test_what_is_said_of_an_order_is_how_it_stands(intent: str, status: OrderStatus, expected: str) -> None:
    assert situation(intent, known_order(status=status), named=("4411",)) == expected


def test_an_order_that_should_have_come_is_late() -> None:
    late = Shipment(expected_at=NOW - timedelta(days=1))
    assert situation("order_status", known_order(shipment=late)) == "order_status.overdue"
    assert situation("order_status", known_order(status="delivered", shipment=late)) == "order_status.delivered"


@pytest.mark.parametrize("status", get_args(RefundStatus))
def test_a_refund_is_told_with_its_sum(status: RefundStatus) -> None:
    refund = OrderRefund(amount=12.5, status=status, updated_at=NOW)
    order = known_order(status="returned", currency="CHF", refund=refund)
    found = planned(asked("refund_status"), Known((order,)))
    assert found.situation == f"refund_status.{status}"
    assert found.slots["amount"] == "12.50 CHF"


def test_without_a_number_the_one_open_order_is_meant_and_of_several_the_customer_chooses() -> None:
    old, one, two = known_order("1", "delivered"), known_order("2"), known_order("3", "packed")
    assert planned(asked("order_status"), Known((one, old))).order_id == "2"
    which = planned(asked("order_status"), Known((one, two, old)))
    assert (which.action, which.situation, which.slots) == ("clarify", "order.which", {"orders": "2, 3"})
    last = planned(asked("cancel_order"), Known((one, two)), Standing(2, 1, 1, "order_status", "3", "", None))
    assert (last.situation, last.order_id) == ("cancel_order.possible", "3")


def test_of_an_order_that_is_not_the_customers_nothing_is_said_not_even_that_it_exists() -> None:
    found = planned(asked("order_status", "…", "9999"), Known((known_order(),)))
    assert (found.action, found.situation, found.slots) == ("clarify", "order.unknown", {"order_id": "9999"})
    assert found.citations == ()


def test_stock_and_price_are_of_the_item_that_is_meant() -> None:
    kettle = Item("7", "Kettle K2", 29.9, 3.0, 0)
    assert planned(asked("stock"), Known(item=kettle)).slots == {"item": "Kettle K2", "on_hand": "3"}
    assert planned(asked("price"), Known(item=kettle)).slots == {"item": "Kettle K2", "price": "29.90 EUR"}
    sold_out = Item("7", "Kettle K2", None, 0.0, 0)
    assert planned(asked("stock"), Known(item=sold_out)).situation == "stock.gone"
    assert planned(asked("price"), Known(item=sold_out)).handover == "no_facts"
    assert planned(asked("stock")).situation == "stock.unknown"


@pytest.mark.parametrize(
    ("message", "standing", "reason"),
    [
        (asked("order_status", "my lawyer will call you"), NEW, "legal"),
        (asked("stock", "the kettle caught fire"), NEW, "health"),
        (asked("human_agent"), NEW, "human_agent"),
        (asked("order_status", confidence=0.1), NEW, "low_confidence"),
        (asked("refund_request", "I want 349.00 EUR back"), NEW, "large_refund"),
        (asked("order_status"), Standing(3, 2, 2, "order_status", "", "", None), "third_turn"),
        (asked("smalltalk"), Standing(3, 2, 1, "", "", "legal", None), "legal"),
        (asked("invoice"), NEW, "no_facts"),
    ],
)
def test_a_person_takes_over_when_that_is_right(message: Asked, standing: Standing, reason: str) -> None:
    found = planned(message, Known(), standing)
    assert (found.action, found.handover, found.situation) == ("handover", reason, f"handover.{reason}")


def test_a_small_refund_is_not_a_persons_and_that_of_a_dear_order_is() -> None:
    passage = next(passage for passage in PASSAGES if passage.ref == "refund-time")
    known = Known((known_order(value=500.0),), passage=passage)
    assert planned(asked("refund_request", "4.95 EUR please"), known).situation == POLICY
    assert planned(asked("refund_request", "…", "4411"), known).handover == "large_refund"


MOMENTS = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
SHIPMENTS = st.builds(
    Shipment, carrier=st.none() | st.just("DHL"), tracking_id=st.none() | st.just("JD01"), shipped_at=MOMENTS,
    expected_at=MOMENTS, delivered_at=MOMENTS,
)
REFUNDS = st.builds(OrderRefund, amount=st.floats(0, 1e6), status=st.sampled_from(get_args(RefundStatus)),
                    updated_at=MOMENTS)
ORDERS = st.builds(
    KnownOrder, st.builds(
        OrderData, order_id=st.sampled_from("12345"), user_id=st.just("17"),
        status=st.sampled_from(get_args(OrderStatus)), placed_at=MOMENTS, shipment=st.none() | SHIPMENTS,
        refund=st.none() | REFUNDS, value=st.none() | st.floats(0, 1e6),
    ), st.integers(0, 1 << 41),
)
ITEMS = st.builds(Item, st.just("7"), st.just("Kettle"), st.none() | st.floats(0, 1e6), st.none() | st.floats(-9, 1e6),
                  st.just(0))
OF_PASSAGES = {intent for passage in PASSAGES for intent in passage.intents}
INTENTS = sorted(OF_PASSAGES | {"smalltalk", "out_of_scope", "advice"})
MESSAGES = st.builds(
    Asked, st.sampled_from(["hello", "I want 500 EUR back", "caught fire"]), st.sampled_from(["en", "zh"]),
    st.sampled_from(INTENTS), st.floats(0, 1), st.lists(st.sampled_from("123456"), max_size=2).map(tuple),
)
STANDINGS = st.builds(
    Standing, st.just(3), st.just(2), st.integers(0, 3), st.just("order_status"), st.sampled_from(["", "1", "6"]),
    st.sampled_from(["", *REASONS]), st.none(),
)
KNOWN = st.builds(
    Known, st.lists(ORDERS, max_size=4, unique_by=lambda one: one.order.order_id).map(tuple), st.none() | ITEMS,
    st.lists(ITEMS, max_size=3).map(tuple), st.none() | st.sampled_from(PASSAGES),
)


@given(MESSAGES, KNOWN, STANDINGS)
def test_every_plan_can_be_written_in_every_language(asked: Asked, known: Known, standing: Standing) -> None:
    found = plan(asked, known, standing, NOW, "EUR", Limits())
    if found.situation != POLICY:
        for language in LANGUAGES:
            text = TEMPLATES.text(language, found.situation, found.slots)
            assert all(found.slots[slot] in text for slot in TEMPLATES.required(language, found.situation))
    assert (found.handover is not None) == (found.action == "handover")
    own = {one.order.order_id for one in known.orders}
    assert {citation.ref for citation in found.citations if citation.kind == "order"} <= own
