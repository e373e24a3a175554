"""What the decoder of the schemas accepts and refuses: the contract's own example, and what must not get in."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import CustomerEvent, FactEvent, Purchase, UserData, ViewItem

# contract.md, "Click (GA4 names)"
CLICK = """
{"specversion":"1.0","id":"01J…","source":"storefront/web","type":"retail.view_item.v1","time":"2026-11-23T10:00:00.000Z",
 "datacontenttype":"application/json",
 "data":{"user_id":"17","visitor_id":"v-81","session_id":"s-9","consent":true,
         "items":[{"item_id":"1044078","item_name":"…","item_category":"…","price":2.99,"quantity":1}],
         "recommendation_id":null,"impressions":[]}}
"""

decoder = msgspec.json.Decoder(CustomerEvent)
facts = msgspec.json.Decoder(FactEvent)


def changed(**attributes: Any) -> bytes:
    """Give the example with other attributes; `data__x` changes `data.x`; `...` removes."""
    event: dict[str, Any] = json.loads(CLICK)
    for name, value in attributes.items():
        target, key = (event["data"], name.removeprefix("data__")) if name.startswith("data__") else (event, name)
        if value is ...:
            del target[key]
        else:
            target[key] = value
    return json.dumps(event).encode()


def test_the_contracts_example_decodes() -> None:
    event = decoder.decode(CLICK)
    assert isinstance(event, ViewItem)
    assert event.data.user == "17"
    assert event.data.items[0].item_id == "1044078"
    assert event.time.timestamp() * 1000 == 1_795_428_000_000


def test_an_event_survives_the_way_through_the_encoder() -> None:
    event = decoder.decode(CLICK)
    assert decoder.decode(msgspec.json.encode(event)) == event


def test_unknown_fields_are_ignored_at_every_level() -> None:
    extra = {"nested": [1, {"a": None}]}
    line = {"item_id": "1044078", "item_brand": extra}
    event = decoder.decode(changed(traceparent="00-ab", data__experiment=extra, data__items=[line]))
    assert isinstance(event, ViewItem)
    assert event.data.items[0].item_id == "1044078"


@pytest.mark.parametrize(
    "value",
    [
        changed(specversion="0.3"),
        changed(id=""),
        changed(id=7),
        changed(id=...),
        changed(source=...),
        changed(type="retail.telepathy.v1"),
        changed(type=...),
        changed(time=...),
        changed(time="2026-11-23T10:00:00.000"),
        changed(time="yesterday"),
        changed(time="2026-13-45T10:00:00Z"),
        changed(time=1_795_428_000),
        changed(data=...),
        changed(data=[]),
        changed(data__user_id=17),
        changed(data__user_id="u" * 257),
        changed(data__consent="yes"),
        changed(data__items={"item_id": "1"}),
        changed(data__items=[{"item_name": "no id"}]),
        changed(data__items=[{"item_id": "1"}] * 201),
        changed(data__items=[{"item_id": "1", "quantity": 0}]),
        changed(data__items=[{"item_id": "1", "quantity": 1.5}]),
        changed(data__items=[{"item_id": "1", "quantity": 10**30}]),
        changed(data__items=[{"item_id": "1", "price": -1}]),
        changed(data__items=[{"item_id": "1", "price": "2.99"}]),
        changed(data__items=[{"item_id": "1", "price": 1e300}]),
        changed(data__items=[{"item_id": "1", "price": float("nan")}]),
        CLICK.replace("2.99", "1e999").encode(),
        CLICK.replace("2.99", "-Infinity").encode(),
        CLICK.encode("utf-16"),
        CLICK.encode()[:-20],
        b"",
        b"null",
        b"[]",
        b"not json",
        b"\xff\xfe",
    ],
)
def test_a_bad_click_is_refused(value: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decoder.decode(value)


@pytest.mark.parametrize("name", ["items", "unknown"])
def test_deep_nesting_is_an_ordinary_exception(name: str) -> None:
    """Neither a crash nor a hang; `except Exception` catches it."""
    depth = 100_000
    value = changed(**{f"data__{name}": "HERE"}).replace(b'"HERE"', b"[" * depth + b"]" * depth)
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        decoder.decode(value)


def test_a_purchase_needs_lines_and_a_transaction() -> None:
    purchase: dict[str, Any] = {"type": "retail.purchase.v1", "data__transaction_id": "t-1"}
    assert isinstance(decoder.decode(changed(**purchase)), Purchase)
    for name, bad in (("items", []), ("items", ...), ("transaction_id", None), ("currency", "EURO")):
        with pytest.raises(msgspec.ValidationError):
            decoder.decode(changed(**purchase | {f"data__{name}": bad}))


@pytest.mark.parametrize("change", [{"on_hand": "3"}, {"service_level": 1}, {"pack_size": 0}, {"on_order": -1}])
def test_a_bad_stock_level_is_refused(change: dict[str, Any]) -> None:
    good = {"item_id": "1044078", "on_hand": 3.5, "service_level": 0.95, "pack_size": 6}
    facts.decode(changed(type="retail.stock_level.v1", data=good))
    with pytest.raises(msgspec.ValidationError):
        facts.decode(changed(type="retail.stock_level.v1", data=good | change))


def test_a_login_wins_over_the_visitor() -> None:
    assert UserData(user_id="17", visitor_id="v-81").user == "17"


def test_a_visitor_is_a_user_with_a_prefix() -> None:
    assert UserData(visitor_id="v-81").user == "v:v-81"


@pytest.mark.parametrize("ids", [{"data__user_id": None, "data__visitor_id": None}, {"data__user_id": "v:81"}])
def test_no_user_or_one_that_looks_like_a_visitor_is_refused(ids: dict[str, str | None]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"user_id"):
        decoder.decode(changed(**ids))


@given(st.text(min_size=1, max_size=50), st.text(min_size=1, max_size=50))
def test_a_user_and_a_visitor_never_share_a_name(user_id: str, visitor_id: str) -> None:
    if not user_id.startswith("v:"):
        assert UserData(user_id=user_id).user != UserData(visitor_id=visitor_id).user
