"""A small shop, one customer in many situations, and the truth of each of them."""

from datetime import UTC, datetime

from agents.support.policies import read
from footfall.support.checking import Item, Truth
from schemas.events import ItemLine, OrderData, OrderRefund, OrderStatus, RefundStatus, Shipment

NOW = datetime(2026, 11, 25, 10, tzinfo=UTC)  # a Wednesday
POLICIES = {
    language: tuple(passage.text for passage in read() if passage.language == language) for language in ("en", "zh")
}
ITEMS = (
    Item("i1", "Espresso Cups Roma", 24.5, 12), Item("i2", "Kettle Nova 1.7 L", 39.9, 0),
    Item("i3", "Green Tea Sencha", 6.75, 140), Item("i4", "Desk Lamp Orion", 54.0, 3),
)  # fmt: skip
RECOMMENDED = ("Green Tea Sencha", "Desk Lamp Orion")
CARRIED = ("shipped", "out_for_delivery", "delivered", "returned")
STATUSES = {"out": "out_for_delivery", "late": "shipped"}
SHOP, SEVERAL, NOBODY, UNKNOWN = "shop", "several", "nobody", "unknown"


def day(month: int, number: int) -> datetime:
    return datetime(2026, month, number, 9, tzinfo=UTC)


def order(
    status: OrderStatus, *, late: bool = False, refund: RefundStatus | None = None, bare: bool = False
) -> OrderData:
    """The order 4411, which the cases are about. `bare`: with nothing known that need not be."""
    closed = status in {"delivered", "returned"}
    expected = day(11, 19) if late or closed else day(11, 27)
    shipment = Shipment(
        carrier="DHL", tracking_id="JD0146004411", shipped_at=day(11, 14), expected_at=expected,
        delivered_at=day(11, 20) if closed else None,
    )  # fmt: skip
    is_known = status in CARRIED and not bare
    shipment_known = shipment if is_known else Shipment(expected_at=expected) if late else None
    return OrderData(
        order_id="4411", user_id="17", status=status, currency="EUR", value=49.0,
        lines=(ItemLine(item_id="i1", item_name="Espresso Cups Roma", price=24.5, quantity=2),),
        placed_at=None if bare else day(11, 11), shipment=shipment_known,
        refund=OrderRefund(amount=31.9, status=refund, updated_at=None if bare else day(11, 22)) if refund else None,
    )  # fmt: skip


OLDER = OrderData(
    order_id="77120", user_id="17", status="delivered", currency="EUR", value=8.0, placed_at=day(8, 3),
    lines=(ItemLine(item_id="i9", item_name="Walnut Oil", price=8.0),),
    shipment=Shipment(
        carrier="UPS", tracking_id="1Z999AA1", shipped_at=day(8, 4), expected_at=day(8, 6), delivered_at=day(8, 7)
    ),
)  # fmt: skip
FOREIGN = (
    OrderData(
        order_id="90555", user_id="23", status="packed", currency="EUR", value=77.7, placed_at=day(10, 1),
        lines=(ItemLine(item_id="i7", item_name="Garden Hose Blue", price=77.7),),
    ),
    OrderData(
        order_id="90556", user_id="24", status="shipped", currency="EUR", value=313.0, placed_at=day(9, 1),
        shipment=Shipment(carrier="GLS", tracking_id="GL777123456", shipped_at=day(9, 2), expected_at=day(9, 5)),
    ),
)  # fmt: skip


def truth(language: str, *orders: OrderData, message: str = "Where is my order?") -> Truth:
    return Truth(
        orders=orders, foreign=FOREIGN, items=ITEMS, recommended=RECOMMENDED, policies=POLICIES[language],
        message=message, currency="EUR", today=NOW.date(),
    )  # fmt: skip


def case(name: str, language: str) -> Truth:
    """The truth of a case by its name: a status, `refund_` and its status, or one of the others."""
    if name == NOBODY:
        return truth(language)
    if name == UNKNOWN:
        return truth(language, OLDER, message="Where is order 90555? 订单90555在哪里？")
    if name == SHOP:
        return truth(language, OLDER, message="I have a question. 我想问一下。")
    if name == SEVERAL:
        return truth(language, order("shipped"), OLDER)
    if name.startswith("refund_"):
        status: RefundStatus = name.removeprefix("refund_")  # type: ignore[assignment]
        return truth(language, order("returned", refund=status), OLDER, message="4411?")
    plain: OrderStatus = STATUSES.get(name, name)  # type: ignore[assignment]
    return truth(language, order(plain, late=name == "late"), OLDER, message="4411?")
