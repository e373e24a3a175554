"""Which order a message is about, and what there is to say of it. Pure.

Only orders of the customer come in here. Of a number that is not among them nothing is said but that it is not there.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime

from agents.results import timestamp
from agents.state.orders_store import KnownOrder
from schemas.events import OrderData
from schemas.results import Citation

INTENTS = frozenset({"order_status", "change_order", "cancel_order", "refund_status"})
WITH_US = frozenset({"placed", "paid", "packed"})
UNDER_WAY = frozenset({"shipped", "out_for_delivery"})
CHANGE: Mapping[str, str] = {**dict.fromkeys(WITH_US, "possible"), **dict.fromkeys(UNDER_WAY, "too_late")}
CANCEL: Mapping[str, str] = {**CHANGE, "cancelled": "already"}


def candidates(intent: str, orders: Sequence[KnownOrder], named: Sequence[str], last: str) -> Sequence[KnownOrder]:
    """The orders that may be meant: those that were named, else the one that was talked about last, else what fits."""
    if named:
        return [one for one in orders if one.order.order_id in named][:1]
    return [one for one in orders if one.order.order_id == last] or [
        one for one in orders if _fits(intent, one.order)
    ] or list(orders[:1])


def _fits(intent: str, order: OrderData) -> bool:
    """Whether a question of this kind, without a number, may well be about this order."""
    if intent == "refund_status":
        return order.refund is not None or order.status in {"cancelled", "returned"}
    return order.status in WITH_US or order.status in UNDER_WAY


def situation(intent: str, order: OrderData, now: datetime, currency: str) -> tuple[str, dict[str, str]]:
    """What to say of the order, and the slots for it."""
    shipment = order.shipment
    slots = {"order_id": order.order_id}
    if intent == "order_status":
        expected = shipment.expected_at if shipment else None
        late = order.status in UNDER_WAY and expected is not None and expected.date() < now.date()
        return f"order_status.{'overdue' if late else order.status}", slots | progress(order)
    if intent == "change_order":
        return f"change_order.{CHANGE.get(order.status, 'closed')}", slots
    if intent == "cancel_order":
        delivered = _dates(delivered_on=shipment.delivered_at if shipment else None)
        return f"cancel_order.{CANCEL.get(order.status, 'delivered')}", slots | delivered
    if order.refund is None:
        return "refund_status.none", slots
    slots["amount"] = money(order.refund.amount, order.currency or currency)
    return f"refund_status.{order.refund.status}", slots | _dates(updated_on=order.refund.updated_at)


def progress(order: OrderData) -> dict[str, str]:
    """What is known of how far an order is, as slots."""
    slots = _dates(placed_on=order.placed_at)
    if order.shipment:
        one = order.shipment
        texts = {"carrier": one.carrier, "tracking_id": one.tracking_id}
        slots |= {name: text for name, text in texts.items() if text}
        slots |= _dates(shipped_on=one.shipped_at, expected_on=one.expected_at, delivered_on=one.delivered_at)
    return slots


def citation(one: KnownOrder) -> Citation:
    """The order as a fact."""
    order = one.order
    refund = f"refund {order.refund.status}" if order.refund else ""
    parts = [f"order {order.order_id}", order.status, refund, *progress(order).values()]
    return Citation("order", order.order_id, timestamp(one.as_of_ms), ", ".join(filter(None, parts)))


def money(amount: float, currency: str) -> str:
    """A sum as replies name it."""
    return f"{amount:.2f} {currency}"


def _dates(**times: datetime | None) -> dict[str, str]:
    return {name: time.date().isoformat() for name, time in times.items() if time}
