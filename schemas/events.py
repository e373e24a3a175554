"""Events in: CloudEvents 1.0 envelopes whose data uses GA4 ecommerce names (docs/contract.md).

One envelope class per event type, so that msgspec picks the type by its tag and validates the whole record in one
pass. Unknown fields are ignored, wrong types are errors. What a decoder must check besides: `Envelope.holds_json`.
"""

import re
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from msgspec import Meta, Struct

Id: TypeAlias = Annotated[str, Meta(min_length=1, max_length=256)]
Text: TypeAlias = Annotated[str, Meta(max_length=2048)]
MessageText: TypeAlias = Annotated[str, Meta(min_length=1, max_length=8192)]
Money: TypeAlias = Annotated[float, Meta(ge=0, le=1e9)]
Quantity: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Days: TypeAlias = Annotated[float, Meta(ge=0, le=36_500)]
Timestamp: TypeAlias = Annotated[datetime, Meta(tz=True)]

JSON_TYPE = "application/json"
JSON_TYPE_PATTERN = r"^application/json *(;.*)?$"  # SDKs add a charset
# of what has this type only the length is checked while decoding: a regular expression is a third of a click's CPU
JsonType: TypeAlias = Annotated[str, Meta(max_length=256, extra_json_schema={"pattern": JSON_TYPE_PATTERN})]

VISITOR_PREFIX = "v:"


class ItemLine(Struct, frozen=True, gc=False):
    """One item inside a click or a purchase."""

    item_id: Id
    item_name: Text | None = None
    item_category: Text | None = None
    price: Money | None = None
    quantity: Annotated[int, Meta(ge=1, le=1_000_000)] = 1


class Impression(Struct, frozen=True, gc=False):
    """An item that was shown, with the result that put it there."""

    item_id: Id
    position: Annotated[int, Meta(ge=0, le=10_000)] | None = None


class UserData(Struct, frozen=True, kw_only=True, gc=False):
    """Who did it. At least one of `user_id` and `visitor_id` is present; a logged-in user wins."""

    user_id: Id | None = None
    visitor_id: Id | None = None
    session_id: Id | None = None
    consent: bool = True

    def __post_init__(self) -> None:
        if self.user_id is None and self.visitor_id is None:
            raise ValueError("data has neither `user_id` nor `visitor_id`; one of the two is required")
        if self.user_id is not None and self.user_id.startswith(VISITOR_PREFIX):
            raise ValueError(f"`user_id` must not start with {VISITOR_PREFIX!r}, which marks visitors")

    @property
    def user(self) -> str:
        """The user that everything is keyed by: `user_id`, or `v:<visitor_id>` before a login."""
        return self.user_id if self.user_id is not None else f"{VISITOR_PREFIX}{self.visitor_id}"


class ClickData(UserData, frozen=True, kw_only=True, gc=False):
    items: Annotated[tuple[ItemLine, ...], Meta(max_length=200)] = ()
    recommendation_id: Id | None = None
    impressions: Annotated[tuple[Impression, ...], Meta(max_length=500)] = ()
    search_term: Text | None = None


class PurchaseData(UserData, frozen=True, kw_only=True, gc=False):
    items: Annotated[tuple[ItemLine, ...], Meta(min_length=1, max_length=2000)]
    transaction_id: Id
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    value: Money | None = None
    coupon: Text | None = None
    store_id: Id | None = None
    recommendation_id: Id | None = None


class SupportMessageData(UserData, frozen=True, kw_only=True, gc=False):
    """`order_id`: the order that the customer wrote about, where the channel knows it."""

    conversation_id: Id
    message_id: Id
    text: MessageText
    language: Text | None = None
    channel: Text | None = None
    order_id: Id | None = None


class ConversationResolvedData(UserData, frozen=True, kw_only=True, gc=False):
    conversation_id: Id


class ItemData(Struct, frozen=True, kw_only=True):
    item_id: Id
    title: Text
    category: Text | None = None
    brand: Text | None = None
    price: Money | None = None
    cost: Money | None = None
    moq: Quantity | None = None
    shelf_life_days: Days | None = None
    attributes: dict[str, Any] = {}


class StockLevelData(Struct, frozen=True, kw_only=True):
    item_id: Id
    on_hand: Annotated[float, Meta(ge=-1e9, le=1e9)]
    on_order: Annotated[float, Meta(ge=0, le=1e9)] = 0
    lead_time_days: Days | None = None
    review_period_days: Days | None = None
    pack_size: Annotated[float, Meta(gt=0, le=1e9)] | None = None
    service_level: Annotated[float, Meta(gt=0, lt=1)] | None = None
    location_id: Id | None = None


OrderStatus: TypeAlias = Literal[
    "placed", "paid", "packed", "shipped", "out_for_delivery", "delivered", "cancelled", "returned"
]
RefundStatus: TypeAlias = Literal["requested", "approved", "paid", "declined"]


class Shipment(Struct, frozen=True, kw_only=True):
    carrier: Text | None = None
    tracking_id: Text | None = None
    shipped_at: Timestamp | None = None
    expected_at: Timestamp | None = None
    delivered_at: Timestamp | None = None


class OrderRefund(Struct, frozen=True, kw_only=True):
    amount: Money
    status: RefundStatus
    updated_at: Timestamp | None = None


class OrderData(Struct, frozen=True, kw_only=True):
    """The whole order as it is now: the newest record of an `order_id` replaces the one before."""

    order_id: Id
    user_id: Id
    status: OrderStatus
    lines: Annotated[tuple[ItemLine, ...], Meta(max_length=2000)] = ()
    currency: Annotated[str, Meta(min_length=3, max_length=3)] | None = None
    value: Money | None = None
    placed_at: Timestamp | None = None
    shipment: Shipment | None = None
    refund: OrderRefund | None = None


class Envelope(Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """The CloudEvents attributes. `source` + `id` identify an event."""

    specversion: Literal["1.0"]
    id: Id
    source: Id
    time: Timestamp
    datacontenttype: JsonType = JSON_TYPE
    subject: Text | None = None

    @property
    def holds_json(self) -> bool:
        """Whether the data's media type is one that can be read."""
        return self.datacontenttype == JSON_TYPE or re.match(JSON_TYPE_PATTERN, self.datacontenttype) is not None


class ViewItemList(Envelope, frozen=True, kw_only=True, tag="retail.view_item_list.v1"):
    data: ClickData


class ViewItem(Envelope, frozen=True, kw_only=True, tag="retail.view_item.v1"):
    data: ClickData


class SelectItem(Envelope, frozen=True, kw_only=True, tag="retail.select_item.v1"):
    data: ClickData


class Search(Envelope, frozen=True, kw_only=True, tag="retail.search.v1"):
    data: ClickData


class AddToCart(Envelope, frozen=True, kw_only=True, tag="retail.add_to_cart.v1"):
    data: ClickData


class RemoveFromCart(Envelope, frozen=True, kw_only=True, tag="retail.remove_from_cart.v1"):
    data: ClickData


class ViewCart(Envelope, frozen=True, kw_only=True, tag="retail.view_cart.v1"):
    data: ClickData


class AddToWishlist(Envelope, frozen=True, kw_only=True, tag="retail.add_to_wishlist.v1"):
    data: ClickData


class BeginCheckout(Envelope, frozen=True, kw_only=True, tag="retail.begin_checkout.v1"):
    data: ClickData


class Purchase(Envelope, frozen=True, kw_only=True, tag="retail.purchase.v1"):
    data: PurchaseData


class Refund(Envelope, frozen=True, kw_only=True, tag="retail.refund.v1"):
    data: PurchaseData


class SupportMessage(Envelope, frozen=True, kw_only=True, tag="retail.support_message.v1"):
    data: SupportMessageData


class ConversationResolved(Envelope, frozen=True, kw_only=True, tag="retail.conversation_resolved.v1"):
    data: ConversationResolvedData


class Item(Envelope, frozen=True, kw_only=True, tag="retail.item.v1"):
    data: ItemData


class StockLevel(Envelope, frozen=True, kw_only=True, tag="retail.stock_level.v1"):
    data: StockLevelData


class Order(Envelope, frozen=True, kw_only=True, tag="retail.order.v1"):
    data: OrderData


Click: TypeAlias = (
    ViewItemList
    | ViewItem
    | SelectItem
    | Search
    | AddToCart
    | RemoveFromCart
    | ViewCart
    | AddToWishlist
    | BeginCheckout
)
PurchaseEvent: TypeAlias = Purchase | Refund
CustomerEvent: TypeAlias = Click | PurchaseEvent
SupportEvent: TypeAlias = SupportMessage | ConversationResolved
FactEvent: TypeAlias = Item | StockLevel | Order
