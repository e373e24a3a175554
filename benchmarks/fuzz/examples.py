"""Inputs to start from: the contract's examples of every event in both modes, and every message of the protocol.

Also the words that the fuzzer may put anywhere. All of it is accepted by what is fuzzed, but for the withdrawals of
topics that are not compacted.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from benchmarks.fuzz.inputs import Input, Route, message, pack
from schemas import inference as protocol
from schemas.control import Reload, StatsQuery
from schemas.results import Reason, RecommendedItem

CLICKS = (
    "view_item_list", "view_item", "select_item", "search", "add_to_cart", "remove_from_cart", "view_cart",
    "add_to_wishlist", "begin_checkout",
)
ATTRIBUTES = ("specversion", "id", "source", "type", "time")
REASONS = {"exception": "ValidationError", "message": "Expected `str`, got `int` - at `$.id`", "stacktrace": "…",
           "topic": "retail.purchases.v1", "partition": "0", "offset": "0"}

_USER = {"user_id": "17", "visitor_id": "v-81", "session_id": "s-9", "consent": True}
_LINE = {"item_id": "1044078", "item_name": "…", "item_category": "dairy", "price": 2.99, "quantity": 1}
_CLICK = {**_USER, "items": [_LINE], "recommendation_id": None, "impressions": [{"item_id": "5", "position": 1}],
          "search_term": "milk"}
_PURCHASE = {**_USER, "items": [_LINE, {"item_id": "5"}], "transaction_id": "t-1", "currency": "EUR", "value": 7.5,
             "coupon": "C10", "store_id": "3", "recommendation_id": "r-1"}
_ITEM = {"item_id": "1044078", "title": "Milk", "category": "dairy", "brand": "own", "price": 1.09, "cost": 0.8,
         "moq": 6, "shelf_life_days": 12.5, "attributes": {"organic": True, "sizes": [1, 2.5, "l"]}}
_STOCK = {"item_id": "1044078", "on_hand": 12, "on_order": 24.0, "lead_time_days": 2, "review_period_days": 1,
          "pack_size": 6, "service_level": 0.95, "location_id": "3"}
_ORDER = {"order_id": "4411", "user_id": "17", "status": "delivered", "lines": [_LINE], "currency": "EUR",
          "value": 2.99, "placed_at": "2026-11-20T09:00:00Z",
          "shipment": {"carrier": "DHL", "tracking_id": "JD01", "shipped_at": "2026-11-21T08:00:00Z",
                       "expected_at": "2026-11-23T10:00:00Z", "delivered_at": "2026-11-23T09:00:00+01:00"},
          "refund": {"amount": 2.99, "status": "approved", "updated_at": "2026-11-24T10:00:00Z"}}
_STATE = protocol.UserState(
    ("view:5:00112233445566ff", "1795427999000"), ("5",), b"\0" * 24, ("5", "-1795427999000")
)


def event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    """An event in the contract's shape."""
    return {
        "specversion": "1.0", "id": "01JD", "source": "storefront/web", "type": f"retail.{kind}.v1",
        "time": "2026-11-23T10:00:00.000Z", "datacontenttype": "application/json", "data": data,
    }


def events() -> Iterator[tuple[Route, dict[str, Any]]]:
    """Every type, where it belongs; and what the contract says of users and of what may be left out."""
    for kind in CLICKS:
        yield Route.CLICKSTREAM, event(kind, _CLICK)
    yield Route.CLICKSTREAM, event("view_item", {"visitor_id": "81"})
    yield Route.CLICKSTREAM, event("view_item", {"user_id": "17", "consent": False, "items": [_LINE] * 40})
    for kind in ("purchase", "refund"):
        yield Route.PURCHASES, event(kind, _PURCHASE)
    yield Route.CATALOG, event("item", _ITEM)
    yield Route.INVENTORY, event("stock_level", _STOCK)
    yield Route.ORDERS, event("order", _ORDER)
    yield Route.ORDERS, event("order", {"order_id": "4412", "user_id": "17", "status": "placed"})


def binary_mode(route: Route, structured: dict[str, Any]) -> Input:
    """The same event with its attributes as headers."""
    headers = [(f"ce_{name}", str(structured[name]).encode()) for name in ATTRIBUTES if name in structured]
    content_type = ("content-type", b"application/json")
    return Input(route, msgspec.json.encode(structured.get("data")), headers=(*headers, content_type))


def inputs() -> Iterator[Input]:
    """All examples."""
    for route, structured in events():
        yield Input(route, msgspec.json.encode(structured))
        yield binary_mode(route, structured)
    for route in (Route.CLICKSTREAM, Route.CATALOG, Route.ORDERS):
        yield Input(route, None, b"1044078")
    yield Input(Route.INVENTORY, None, b"1044078|3")
    yield Input(Route.DEAD_LETTERS, b"retail.purchases.v1/0/12", headers=tuple(
        (f"__streams.errors.{name}", text.encode()) for name, text in REASONS.items()
    ))
    for to_worker in _TO_WORKER:
        yield message(Route.TO_WORKER, msgspec.msgpack.encode(to_worker))
    for to_agent in _TO_AGENT:
        yield message(Route.TO_AGENT, msgspec.msgpack.encode(to_agent))
    yield message(Route.CONTROL, msgspec.msgpack.encode(StatsQuery()))
    yield message(Route.CONTROL, msgspec.msgpack.encode(Reload(model="recommender", path="/checkpoint", sha256="1f")))


def packed() -> dict[str, bytes]:
    """All examples as files of a corpus."""
    return {f"example-{number:03d}": pack(one) for number, one in enumerate(inputs())}


def dictionary() -> str:
    """The words of the contract and of JSON's odd corners, as libFuzzer reads them: one per line, in quotes."""
    words = {f'"{name}":'.encode() for _, one in events() for name in (*one, *one["data"], *_LINE)}
    words |= {f"retail.{kind}.v1".encode() for kind in (*CLICKS, "purchase", "refund", "item", "stock_level")}
    words |= {f"ce_{name}".encode() for name in (*ATTRIBUTES, "data", "datacontenttype")}
    words |= {
        protocol.PROTOCOL, b"NaN", b"-Infinity", b"1e999", b"null", b"\\ud800", b"\\u0000", b"\xed\xa0\x80",
        b"\xef\xbb\xbf", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff", b"submit",
        b"replies", b"result", b"updated", b"reload",
    }
    return "".join('"' + "".join(rf"\x{byte:02x}" for byte in word) + '"\n' for word in sorted(words))


_TO_WORKER: tuple[protocol.ToWorker, ...] = (
    protocol.Hello("recommender@host:1:0011"),
    protocol.Submit("e1", "recommender", (
        protocol.RecommendRequest(1, 2000, 1795428000000, msgspec.Raw(msgspec.msgpack.encode(_STATE))),
        protocol.RecommendRequest(2, 100, 1795428000000, msgspec.Raw(msgspec.msgpack.encode(_STATE))),
        protocol.EncodeRequest(3, 2000, "Where is my order 4411?"),
        protocol.GenerateRequest(4, 20_000, (("system", "Answer."), ("user", "Where is my order 4411?")), 80),
    )),
    protocol.Cancel((1, 2, 3)),
    protocol.Ping(1),
)
_TO_AGENT: tuple[protocol.ToAgent, ...] = (
    protocol.Ready("e1", (protocol.ModelInfo("recommender", "1", ("5", "6")),), 256),
    protocol.Replies("e1", "1", (
        protocol.RecommendResult.of(1, [RecommendedItem("5", 0.5, Reason("related", ("6",)))]),
        protocol.EncodeResult(4, b"\0\0\0\0", (("order_status", 0.9),)),
        protocol.GenerateResult(5, "It is on its way.", 6, complete=True),
        protocol.Failure(2, "InvalidInput: no history"),
        protocol.Shed(3),
    )),
    protocol.Updated("e1", protocol.ModelInfo("recommender", "2", ("5", "6"))),
    protocol.Pong(1),
    protocol.Draining("e1"),
    protocol.Goodbye("e1"),
    protocol.Refused("not a message of footfall/2"),
)
