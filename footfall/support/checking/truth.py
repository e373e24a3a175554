"""What a reply is held against: the facts around one case, and what follows from them. Knows no language."""

from collections.abc import Mapping
from datetime import date

from msgspec import Struct

from schemas.events import OrderData

WITH_US = frozenset({"placed", "paid", "packed"})
ON_ITS_WAY = frozenset({"shipped", "out_for_delivery"})
CLOSED = frozenset({"delivered", "cancelled", "returned"})
HANDED_OVER = ON_ITS_WAY | {"delivered", "returned"}


class Item(Struct, frozen=True):
    """An item of the catalogue; None is what the shop does not know."""

    item_id: str
    title: str
    price: float | None
    on_hand: float | None


class Truth(Struct, frozen=True, kw_only=True):
    """Everything that is so. What is not in here is unfounded, and what is in `foreign` is nobody's business.

    `orders`: the customer's own, all of them. `foreign`: orders of others in the same shop. `items`: the catalogue
    around this case. `recommended`: titles. `policies`: the texts of all passages, in the reply's language.
    `message`: what the customer wrote. `currency`: of prices, and of orders that name none.
    """

    orders: tuple[OrderData, ...] = ()
    foreign: tuple[OrderData, ...] = ()
    items: tuple[Item, ...] = ()
    recommended: tuple[str, ...] = ()
    policies: tuple[str, ...] = ()
    message: str = ""
    currency: str
    today: date


class Finding(Struct, frozen=True):
    """`kind`: what is wrong, in a word. `statement`: the sentence of the reply. `why`: what speaks against it."""

    kind: str
    statement: str
    why: str


def stands(order: OrderData, today: date) -> Mapping[str, bool]:
    """What is so of an order, and what is not; of what is in neither way in here, the shop does not know."""
    status = order.status
    known = {
        f"status:{name}": name == status
        for name in ("placed", "paid", "packed", "shipped", "out_for_delivery", "delivered", "cancelled", "returned")
    } | {
        "with_us": status in WITH_US,
        "changeable": status in WITH_US,
        "cancellable": status in WITH_US,
        "in_transit": status in ON_ITS_WAY,
        "out_for_delivery": status == "out_for_delivery",
        "coming": status in WITH_US or status in ON_ITS_WAY,
        "closed": status in CLOSED,
        "delivered": status in {"delivered", "returned"},
        "cancelled": status == "cancelled",
        "returned": status == "returned",
    }
    if status != "cancelled":  # of a cancelled order nobody knows how far it had come
        known |= {"paid": status != "placed", "packed": status not in {"placed", "paid"}}
    known["shipped"] = status in HANDED_OVER or _has(order, "shipped_at")
    shipment = order.shipment
    expected = shipment.expected_at if shipment else None
    arrived = shipment.delivered_at if shipment else None
    if expected is not None and (arrived is not None or status not in CLOSED):
        known["late"] = expected.date() < (arrived.date() if arrived else today)
    return known | _refund(order)


def _has(order: OrderData, name: str) -> bool:
    return order.shipment is not None and getattr(order.shipment, name) is not None


def _refund(order: OrderData) -> dict[str, bool]:
    status = order.refund.status if order.refund else None
    return {
        "refund": status is not None,
        "refund_pending": status == "requested",
        "refund_approved": status in {"approved", "paid"},
        "refund_coming": status == "approved",
        "refund_paid": status == "paid",
        "refund_declined": status == "declined",
    } | {f"refund:{name}": name == status for name in ("requested", "approved", "paid", "declined")}


def days(order: OrderData) -> Mapping[str, date]:
    """The days that are known of an order, by what happened on them."""
    shipment, refund = order.shipment, order.refund
    times = {
        "placed": order.placed_at,
        "shipped": shipment.shipped_at if shipment else None,
        "expected": shipment.expected_at if shipment else None,
        "delivered": shipment.delivered_at if shipment else None,
        "refund": refund.updated_at if refund else None,
    }
    return {name: time.date() for name, time in times.items() if time is not None}
