"""Whatever stands in a record, it ends in the dead letters with its reason, and never stops the ones behind it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.contract.storefront import (
    ERRORS,
    DeadLetter,
    Json,
    Sent,
    Storefront,
    catalogue,
    click,
    key_of,
    purchase,
    stock_level,
    topic_of,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

REASONS = ("exception", "message", "stacktrace", "topic", "partition", "offset")


def as_bytes(sent: Json) -> bytes:
    return json.dumps(sent).encode()


def without(sent: Json, name: str) -> bytes:
    return as_bytes({field: value for field, value in sent.items() if field != name})


def with_data(sent: Json, **data: Any) -> bytes:
    return as_bytes(sent | {"data": sent["data"] | data})


def with_raw(sent: Json, name: str, json_text: str) -> bytes:
    """With a field of the data that `json` would not write like that."""
    return with_data(sent, **{name: "RAW"}).replace(b'"RAW"', json_text.encode())


def bad_of_any_kind(good: Json) -> dict[str, bytes]:
    envelope = as_bytes(good)
    return {
        "not JSON": b"hello",
        "empty": b"",
        "a list": b"[]",
        "a number": b"1",
        "null in words": b"null",
        "binary": bytes(range(256)),
        "cut short": envelope[:-10],
        "two events": envelope + envelope,
        "UTF-16": json.dumps(good).encode("utf-16"),
        "half a surrogate pair": with_raw(good, "store_id" if "purchase" in good["type"] else "item_id", r'"\ud800"'),
        "900 kB of an unknown field": with_data(good, unknown="x" * 900_000),
        "no id": without(good, "id"),
        "no source": without(good, "source"),
        "no type": without(good, "type"),
        "no time": without(good, "time"),
        "no specversion": without(good, "specversion"),
        "no data": without(good, "data"),
        "data of no fields": as_bytes(good | {"data": {}}),
        "data in words": as_bytes(good | {"data": "hello"}),
        "an empty id": as_bytes(good | {"id": ""}),
        "an id that is a number": as_bytes(good | {"id": 17}),
        "another specversion": as_bytes(good | {"specversion": "0.3"}),
        "a time that is none": as_bytes(good | {"time": "yesterday"}),
        "a time without a zone": as_bytes(good | {"time": "2026-11-23T10:00:00"}),
        "a time of month 13": as_bytes(good | {"time": "2026-13-01T10:00:00Z"}),
        "an unknown type": as_bytes(good | {"type": "retail.dance.v1"}),
        "another version": as_bytes(good | {"type": good["type"].replace(".v1", ".v2")}),
        "deep nesting": b'{"a":' * 50_000 + b"1" + b"}" * 50_000,
        "deep nesting in an unknown field": envelope[:-1] + b',"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    }


def bad_of_customers(good: Json, other: Json) -> dict[str, bytes | None]:
    (line, *_) = good["data"]["items"]
    return {
        **bad_of_any_kind(good),
        "no value": None,
        "an event of another topic": as_bytes(other),
        "no user": as_bytes(good | {"data": {k: v for k, v in good["data"].items() if k != "user_id"}}),
        "a user that is a number": with_data(good, user_id=17),
        "a user that poses as a visitor": with_data(good, user_id="v:81"),
        "consent in words": with_data(good, consent="yes"),
        "items that are no list": with_data(good, items={}),
        "an item without an id": with_data(good, items=[{"price": 1}]),
        "NaN": with_raw(good, "items", '[{"item_id":"1","price":NaN}]'),
        "a price of 1e999": with_raw(good, "items", '[{"item_id":"1","price":1e999}]'),
        "a price of 1e300": with_data(good, items=[line | {"price": 1e300}]),
        "a negative price": with_data(good, items=[line | {"price": -1}]),
        "a quantity of 10**30": with_data(good, items=[line | {"quantity": 10**30}]),
        "a quantity in words": with_data(good, items=[line | {"quantity": "two"}]),
    }


def bad_clicks(user: str) -> dict[str, bytes | None]:
    return bad_of_customers(click(user, "1"), purchase(user, "1")) | {
        "900 kB": with_data(click(user, "1"), search_term="x" * 900_000),
    }


def bad_purchases(user: str) -> dict[str, bytes | None]:
    good = purchase(user, "1")
    return bad_of_customers(good, click(user, "1")) | {
        "900 kB of lines": with_data(good, items=[{"item_id": str(number)} for number in range(40_000)]),
        "no lines": with_data(good, items=[]),
        "a value in words": with_data(good, value="2.99"),
        "a transaction that is a number": with_data(good, transaction_id=1),
    }


def bad_items(item: str) -> dict[str, bytes | None]:
    good = catalogue(item)
    return {
        **bad_of_any_kind(good),
        "a stock level": as_bytes(stock_level(item, 1)),
        "no title": as_bytes(good | {"data": {"item_id": item}}),
        "a title that is a number": with_data(good, title=17),
        "attributes that are a list": with_data(good, attributes=[]),
        "an attribute of 1e999": with_raw(good, "attributes", '{"size":1e999}'),
        "an attribute of NaN": with_raw(good, "attributes", '{"size":NaN}'),
        "a price of 1e300": with_data(good, price=1e300),
        "900 kB": with_data(good, title="x" * 900_000),
    }


def bad_levels(item: str) -> dict[str, bytes | None]:
    good = stock_level(item, 1)
    return {
        **bad_of_any_kind(good),
        "an item": as_bytes(catalogue(item)),
        "no level": as_bytes(good | {"data": {"item_id": item}}),
        "a level in words": with_data(good, on_hand="many"),
        "a level of NaN": with_raw(good, "on_hand", "NaN"),
        "a level of 1e999": with_raw(good, "on_hand", "1e999"),
        "a level of 1e300": with_data(good, on_hand=1e300),
        "a location that is a number": with_data(good, location_id=3),
    }


def check(letter: DeadLetter, name: str, key: bytes, sent: Sent) -> None:
    assert letter.topic == f"{sent.at.topic}.dlq", name
    assert letter.key == key, name
    assert (letter.value or b"") == (sent.value or b""), name
    assert all(letter.headers[ERRORS + reason] for reason in REASONS), name
    assert letter.source == sent.at, name


async def send_bad_between_good(
    shop: Storefront, bad: dict[str, bytes | None], good: Callable[[int], Json]
) -> tuple[list[Sent], list[Sent]]:
    """Send good events, each behind a bad record of the same key. Returns the good and the bad ones, all checked."""
    topic, key = topic_of(good(0)), key_of(good(0)).encode()
    good_ones, bad_ones = [], []
    for number, value in enumerate(bad.values()):
        bad_ones.append(await shop.put(topic, key, value, headers=[("traceparent", b"00-1"), ("nothing", None)]))
        good_ones.append(await shop.send(good(number)))
    for name, record in zip(bad, bad_ones, strict=True):
        letter = await shop.dead_letter_of(record)
        check(letter, name, key, record)
        assert letter.headers["traceparent"] == b"00-1"
    assert not {record.at for record in good_ones} & shop.dead_letters.keys()
    return good_ones, bad_ones


@pytest.mark.parametrize(
    ("bad", "event"), [(bad_clicks, click), (bad_purchases, purchase)], ids=["clicks", "purchases"]
)
async def test_bad_records_of_customers_are_dead_letters_and_the_others_are_answered(
    shop: Storefront, user: str, bad: Callable[[str], dict[str, bytes | None]], event: Callable[[str, str], Json]
) -> None:
    good, poison = await send_bad_between_good(shop, bad(user), lambda number: event(user, str(number)))

    await shop.results_for(good)

    stored = await shop.stored(user)
    assert stored is not None
    assert stored["history_version"] == len(good)
    assert not {record.at for record in poison} & shop.covered.keys()

    await shop.until(lambda: shop.all_committed("recommend", [*good, *poison]), "offsets committed to the end")


@pytest.mark.parametrize("topic", ["catalog", "inventory"])
async def test_bad_facts_are_dead_letters_and_the_others_are_written(shop: Storefront, item: str, topic: str) -> None:
    if topic == "catalog":
        good, poison = await send_bad_between_good(
            shop, bad_items(item), lambda number: catalogue(item, title=f"Tea {number}")
        )
        key, field, written = f"item:{{{item}}}", "title", f"Tea {len(good) - 1}"
    else:
        good, poison = await send_bad_between_good(shop, bad_levels(item), lambda number: stock_level(item, number))
        key, field, written = f"stock:{{{item}}}", "-", f'"on_hand":{len(good) - 1}.0'

    async def newest_is_written() -> bool:
        return written in (await shop.redis.hget(key, field) or "")

    await shop.until(newest_is_written, "the newest fact in Redis")
    await shop.until(lambda: shop.all_committed("facts", [*good, *poison]), "offsets committed to the end")


@pytest.mark.parametrize("topic", ["catalog", "inventory"])
async def test_a_withdrawal_whose_key_is_no_text_is_a_dead_letter(shop: Storefront, topic: str) -> None:
    key = unique("i").encode() + b"\xff"

    sent = await shop.put(topic, key, None)

    check(await shop.dead_letter_of(sent), "key", key, sent)


@pytest.mark.parametrize("header", [("ce_type", b"\xff\xfe"), ("ce_type", None), ("ce_type", b"retail.dance.v1")])
async def test_bad_headers_of_binary_mode_are_a_dead_letter(
    shop: Storefront, user: str, header: tuple[str, bytes | None]
) -> None:
    good = click(user, "a")
    headers = [(f"ce_{name}", good[name].encode()) for name in ("specversion", "id", "source", "time")]

    sent = await shop.put("clickstream", user.encode(), as_bytes(good["data"]), headers=[*headers, header])

    check(await shop.dead_letter_of(sent), "header", user.encode(), sent)


async def test_a_record_without_a_key_is_answered_by_its_data(shop: Storefront, user: str) -> None:
    sent = await shop.put("clickstream", None, as_bytes(click(user, "a")))

    assert (await shop.result_for(sent)).key == user.encode()
