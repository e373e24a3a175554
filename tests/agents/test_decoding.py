"""Decoding never raises: bytes become an event, a withdrawal, or poison with its reason."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.decoding import MAX_CLOCK_AHEAD_MS, EventDecoder, Poison, event_time_ms
from schemas import events
from tests.doubles import NOW_MS, as_bytes, click, envelope, purchase, record

decode_click: EventDecoder[events.Click] = EventDecoder(events.Click)
decode_purchase: EventDecoder[events.PurchaseEvent] = EventDecoder(events.PurchaseEvent)


def without(event: dict[str, Any], *path: str) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(event))
    target = copy
    for name in path[:-1]:
        target = target[name]
    del target[path[-1]]
    return copy


BAD_CLICKS = {
    "not JSON": b"hello",
    "empty": b"",
    "cut short": as_bytes(click())[:-10],
    "UTF-16": json.dumps(click()).encode("utf-16"),
    "900 kB": as_bytes(click(search_term="x" * 900_000)),
    "900 kB of an unknown field": as_bytes(click(unknown="x" * 900_000)),
    "a user that is a number": as_bytes(click() | {"data": {"user_id": 17, "items": []}}),
    "items that are no list": as_bytes(envelope("view_item", {"user_id": "17", "items": {}})),
    "no user": as_bytes(envelope("view_item", {"items": []})),
    "a user that poses as a visitor": as_bytes(click(user="v:81")),
    "no id": as_bytes(without(click(), "id")),
    "no source": as_bytes(without(click(), "source")),
    "no data": as_bytes(without(click(), "data")),
    "no type": as_bytes(without(click(), "type")),
    "no time": as_bytes(without(click(), "time")),
    "a time that is none": as_bytes(click() | {"time": "yesterday"}),
    "a time without a zone": as_bytes(click() | {"time": "2026-11-23T10:00:00"}),
    "a time of month 13": as_bytes(click() | {"time": "2026-13-01T10:00:00Z"}),
    "another specversion": as_bytes(click() | {"specversion": "0.3"}),
    "an unknown type": as_bytes(click(kind="dance")),
    "data that is not JSON": as_bytes(click() | {"datacontenttype": "application/xml"}),
    "data of a type that begins like JSON": as_bytes(click() | {"datacontenttype": "application/jsonp"}),
    "a purchase on the clickstream": as_bytes(purchase(["1"])),
    "deep nesting": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
    "deep nesting in an unknown field": as_bytes(click())[:-1] + b',"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "NaN": as_bytes(click()).replace(b'"1044078"}', b'"1044078","price":NaN}'),
    "a price of 1e999": as_bytes(click()).replace(b'"1044078"}', b'"1044078","price":1e999}'),
    "a price of 1e300": as_bytes(click()).replace(b'"1044078"}', b'"1044078","price":1e300}'),
    "a quantity of 10**30": as_bytes(click()).replace(b'"1044078"}', b'"1044078","quantity":' + b"1" * 30 + b"}"),
    "a negative price": as_bytes(click()).replace(b'"1044078"}', b'"1044078","price":-1}'),
    "no value on a topic that is not compacted": None,
}


@pytest.mark.parametrize("media_type", ["application/json", "application/json; charset=utf-8", "application/json;v=1"])
def test_json_is_read_whatever_parameters_its_media_type_has(media_type: str) -> None:
    assert isinstance(decode_click(record(as_bytes(click() | {"datacontenttype": media_type}))), events.ViewItem)


@pytest.mark.parametrize("name", BAD_CLICKS)
def test_a_bad_record_is_poison_with_a_reason(name: str) -> None:
    decoded = decode_click(record(BAD_CLICKS[name]))
    assert isinstance(decoded, Poison), name
    assert str(decoded.error)
    assert decoded.stacktrace


@given(st.binary(max_size=200))
def test_no_bytes_make_decoding_raise(value: bytes) -> None:
    assert isinstance(decode_click(record(value)), Poison)


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "source", "type", "time", "data", "specversion", "items", "user_id", "item_id"]), inner,
    ), max_leaves=20,
))
def test_no_json_makes_decoding_raise(value: object) -> None:
    decode_click(record(json.dumps(value).encode()))


def test_the_contracts_click_is_an_event() -> None:
    event = decode_click(record(as_bytes(click(visitor_id="v-81", session_id="s-9", consent=True, impressions=[]))))
    assert isinstance(event, events.ViewItem)
    assert event.data.user == "17"


def test_unknown_fields_are_ignored() -> None:
    event = decode_click(record(as_bytes(click(surprise={"a": [1]}) | {"traceparent": "00-1"})))
    assert isinstance(event, events.ViewItem)


def test_a_visitor_without_a_login_is_a_user() -> None:
    event = decode_click(record(as_bytes(envelope("search", {"visitor_id": "81", "items": []}))))
    assert isinstance(event, events.Search)
    assert event.data.user == "v:81"


def test_binary_mode_reads_the_same_event_as_structured_mode() -> None:
    structured = purchase(["1", "2"], value=3.5, currency="EUR")
    headers = [
        (f"ce_{name}", structured[name].encode()) for name in ("specversion", "id", "source", "type", "time")
    ] + [("content-type", b"application/json"), ("traceparent", b"00-1")]
    binary = decode_purchase(record(as_bytes(structured["data"]), headers=headers))
    assert binary == decode_purchase(record(as_bytes(structured)))
    assert isinstance(binary, events.Purchase)


@pytest.mark.parametrize("value", [b"", b"nope", b"[]", b'{"user_id":"17","items":"x"}'])
def test_bad_data_in_binary_mode_is_poison(value: bytes) -> None:
    headers = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"s"), ("ce_time", b"2026-11-23T10:00:00Z"),
               ("ce_type", b"retail.view_item.v1")]
    assert isinstance(decode_click(record(value, headers=headers)), Poison)


def test_headers_that_are_not_utf8_are_poison() -> None:
    assert isinstance(decode_click(record(b"{}", headers=[("ce_type", b"\xff\xfe")])), Poison)


def test_a_clock_that_runs_ahead_is_not_believed() -> None:
    assert event_time_ms((NOW_MS + MAX_CLOCK_AHEAD_MS) / 1000, NOW_MS) == NOW_MS + MAX_CLOCK_AHEAD_MS
    assert event_time_ms((NOW_MS + MAX_CLOCK_AHEAD_MS + 1000) / 1000, NOW_MS) == NOW_MS
    assert event_time_ms(1_000.0, NOW_MS) == 1_000_000


def test_a_record_without_a_timestamp_keeps_the_events_time() -> None:
    assert event_time_ms(NOW_MS / 1000, -1) == NOW_MS
