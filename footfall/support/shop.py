"""A simulated shop: customers with their orders, items and stock, all of it invented, all from one seed.

Knows what messages of a customer can name (`Customer.slots`), and nothing of how they are answered.
"""

import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, cast, get_args

from msgspec import Struct

from agents.support.language import Language
from agents.support.planning import Item
from schemas.events import ItemLine, OrderData, OrderRefund, OrderStatus, RefundStatus, Shipment

VALUES: Mapping[str, Any] = tomllib.loads((Path(__file__).parent / "values.toml").read_text(encoding="utf-8"))
STATUSES: tuple[OrderStatus, ...] = get_args(OrderStatus)
REFUNDS: tuple[RefundStatus, ...] = get_args(RefundStatus)
SENT = frozenset({"shipped", "out_for_delivery", "delivered", "returned"})
CURRENCY = "EUR"
ITEMS = 6  # that a customer has met
RECOMMENDED = 3


class Customer(Struct, frozen=True, kw_only=True):
    """Who writes, and what the shop knows. `items`: in this language, the recommended ones first."""

    user: str
    language: Language
    now: datetime
    orders: tuple[OrderData, ...]  # newest first
    items: tuple[Item, ...]

    @property
    def recommended(self) -> tuple[Item, ...]:
        """What is recommended to the customer, best first."""
        return self.items[:RECOMMENDED]

    @property
    def met(self) -> tuple[Item, ...]:
        """The items that this customer ordered or was recommended: of others the agents cannot know the titles."""
        ordered = {line.item_id for order in self.orders for line in order.lines}
        return tuple(item for item in self.items if item in self.recommended or item.item_id in ordered)

    def slots(self, order: OrderData | None = None, item: Item | None = None) -> dict[str, Callable[[Random], str]]:
        """Values for a message about this order and this item, as customers write them."""
        values = VALUES[self.language]

        def of(name: str) -> Callable[[Random], str]:
            return lambda rng: str(rng.choice(values[name]))

        return {
            "order_id": lambda rng: order.order_id if order else order_id(rng),
            "item": lambda rng: item.title if item else rng.choice(values["products"]),
            "item2": of("products"),
            "date": lambda rng: _day(rng, values),
            "amount": lambda rng: _amount(rng, values),
            "months": lambda rng: str(rng.choice((2, 3, 6, 12, 24))),
            "carrier": of("carriers"), "city": of("cities"), "size": of("sizes"), "colour": of("colours"),
        }


def customer(rng: Random, language: Language, now: datetime, statuses: tuple[OrderStatus, ...] = ()) -> Customer:
    """A customer with orders in these states, or in a few that chance chooses."""
    items = tuple(_item(rng, language, now) for _ in range(ITEMS))
    chosen = statuses or tuple(rng.choices(STATUSES, k=rng.choice((1, 1, 2, 3))))
    user = f"{rng.randrange(10**6, 10**7)}"
    days = sorted(rng.sample(range(60), k=len(chosen)))
    orders = tuple(
        _order(rng, language, user, status, items, now - timedelta(days=day, minutes=rng.randrange(1440)))
        for status, day in zip(chosen, days, strict=True)
    )
    return Customer(user=user, language=language, now=now, orders=orders, items=items)


def order_id(rng: Random) -> str:
    """In one of the forms that shops use."""
    digits = f"{rng.randrange(10**6, 10 ** rng.choice((7, 8, 9)))}"  # of so many that no two customers have the same
    form = rng.choice(("{}", "{}", "ORD-{}", "A{}", "2026-{}", "WX{}"))
    return form.format(digits)


def _order(
    rng: Random, language: str, user: str, status: OrderStatus, items: tuple[Item, ...], placed_at: datetime
) -> OrderData:
    lines = tuple(
        ItemLine(item_id=item.item_id, item_name=item.title, price=item.price, quantity=rng.choice((1, 1, 2)))
        for item in rng.sample(items, k=rng.choice((1, 2)))
    )
    value = round(sum((line.price or 0) * (line.quantity or 1) for line in lines), 2)
    refund, refunded = None, {"cancelled": 0.8, "returned": 0.8, "delivered": 0.3}
    if rng.random() < refunded.get(status, 0):
        updated = placed_at + timedelta(days=rng.randrange(8, 14))
        amount = value if rng.random() < 0.7 else round(value * rng.uniform(0.2, 0.9), 2)
        refund = OrderRefund(amount=amount, status=rng.choice(REFUNDS), updated_at=updated)
    return OrderData(
        order_id=order_id(rng), user_id=user, status=status, lines=lines, currency=CURRENCY, value=value,
        placed_at=placed_at, shipment=_shipment(rng, language, status, placed_at), refund=refund,
    )  # fmt: skip


def _shipment(rng: Random, language: str, status: OrderStatus, placed_at: datetime) -> Shipment | None:
    """What is known of it: now and then not everything."""
    if status not in SENT:
        return None
    shipped = placed_at + timedelta(days=rng.randrange(1, 4))
    expected = shipped + timedelta(days=rng.randrange(2, 60))  # some are late
    carrier = rng.choice(VALUES[language]["carriers"])
    letters = "".join(rng.choice("ABCDEFGHJKLMNPQRSTUVWXYZ") for _ in range(rng.choice((0, 2, 4))))
    tracking = letters + str(rng.randrange(10**8, 10**12))
    arrived = status in {"delivered", "returned"}
    return Shipment(
        carrier=carrier if rng.random() < 0.9 else None,
        tracking_id=tracking if rng.random() < 0.9 else None,
        shipped_at=shipped if rng.random() < 0.95 else None,
        expected_at=expected if rng.random() < 0.9 and not arrived else None,
        delivered_at=shipped + timedelta(days=rng.randrange(1, 6)) if arrived else None,
    )


def _item(rng: Random, language: str, now: datetime) -> Item:
    values = VALUES[language]
    brand = "".join(rng.sample(values["syllables"], k=2)).capitalize()
    title = values["title"].format(
        brand=brand, product=rng.choice(values["products"]), variant=rng.choice(values["variants"])
    )
    on_hand = rng.choice((0.0, float(rng.randrange(1, 20)), float(rng.randrange(20, 900))))
    price = round(rng.uniform(3, 400), 2)
    return Item(f"i{rng.randrange(10**7, 10**8)}", title, price, on_hand, int(now.timestamp() * 1000))


def _day(rng: Random, values: Mapping[str, Any]) -> str:
    number = rng.randrange(12)
    return cast("str", rng.choice(values["days"])).format(
        day=rng.randrange(4, 20), number=number + 1, month=values["months"][number],
        weekday=rng.choice(values["weekdays"]),
    )  # fmt: skip


def _amount(rng: Random, values: Mapping[str, Any]) -> str:
    return cast("str", rng.choice(values["amounts"])).format(n=rng.randrange(5, 95), c=rng.randrange(10, 99))


def moment(rng: Random) -> datetime:
    """A day of 2026, at some hour."""
    return datetime(2026, 2, 1, tzinfo=UTC) + timedelta(minutes=rng.randrange(300 * 1440))
