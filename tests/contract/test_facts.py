"""Catalogue and stock reach Redis, and what cannot be bought, or should not be shown now, is in no result."""

import json

import pytest

from tests.contract.storefront import (
    Json,
    Result,
    Sent,
    Storefront,
    catalogue,
    click,
    order,
    purchase,
    stock_level,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

UNAVAILABLE = "items:unavailable"
STUB_ITEMS = 1000  # the stub's n-th answer is the items n, n+1, … n+63, modulo this


def next_items(result: Result, count: int) -> list[str]:
    """The items that the stub names from some answers later on."""
    first = int(result.item_ids[0])
    return [str((first + step) % STUB_ITEMS) for step in range(1, count + 1)]


async def test_an_item_of_the_catalogue_is_a_hash_in_redis(shop: Storefront, item: str) -> None:
    data: Json = {"title": "Grüner Tee", "category": "Tea", "brand": "T", "price": 2.99, "cost": 1.25, "moq": 12,
            "shelf_life_days": 365, "attributes": {"organic": True, "sizes": [1, 2]}, "unknown": "ignored"}

    await shop.send(catalogue(item, **data))
    stored = await shop.until(lambda: shop.redis.hgetall(f"item:{{{item}}}"), "the item in Redis")

    assert stored["item_id"] == item
    assert (stored["title"], stored["category"], stored["brand"]) == ("Grüner Tee", "Tea", "T")
    assert [float(stored[name]) for name in ("price", "cost", "moq", "shelf_life_days")] == [2.99, 1.25, 12, 365]
    assert json.loads(stored["attributes"]) == data["attributes"]
    assert "unknown" not in stored
    assert not await shop.redis.sismember(UNAVAILABLE, item)


async def test_a_later_item_replaces_the_earlier_one_as_a_whole(shop: Storefront, item: str) -> None:
    await shop.send(catalogue(item, title="Old", cost=1.0))
    await shop.send(catalogue(item, title="New"))

    async def new() -> bool:
        return bool(await shop.redis.hget(f"item:{{{item}}}", "title") == "New")

    await shop.until(new, "the newer title")
    assert await shop.redis.hget(f"item:{{{item}}}", "cost") is None


async def test_attributes_of_any_depth_are_stored_or_dead_letters(shop: Storefront) -> None:
    for depth in (10, 500, 900, *range(940, 1010, 5), 5000):
        item = unique("deep")
        text = json.dumps(catalogue(item, attributes="DEEP")).replace('"DEEP"', '{"a":' * depth + "1" + "}" * depth)
        sent = await shop.put("catalog", item.encode(), text.encode())

        async def settled(sent: Sent = sent, item: str = item) -> bool:
            return sent.at in shop.dead_letters or await shop.redis.exists(f"item:{{{item}}}") == 1

        await shop.until(settled, f"attributes {depth} deep")
    assert sent.at in shop.dead_letters


async def test_a_withdrawn_item_is_unavailable_until_it_is_back(shop: Storefront, item: str) -> None:
    await shop.send(catalogue(item))
    await shop.put("catalog", item.encode(), None)
    await shop.until(lambda: shop.redis.sismember(UNAVAILABLE, item), "the withdrawal")
    assert await shop.redis.hget(f"item:{{{item}}}", "title") is None

    await shop.send(stock_level(item, 5))  # stock alone does not bring it back
    await shop.until(lambda: shop.redis.hget(f"stock:{{{item}}}", "-"), "the stock level")
    assert await shop.redis.sismember(UNAVAILABLE, item)

    await shop.send(catalogue(item, title="Back"))
    await _until_available(shop, item)
    assert await shop.redis.hget(f"item:{{{item}}}", "title") == "Back"


async def test_an_item_without_stock_is_unavailable_until_it_is_restocked(shop: Storefront, item: str) -> None:
    await shop.send(stock_level(item, 0, on_order=10))
    await shop.until(lambda: shop.redis.sismember(UNAVAILABLE, item), "no stock")

    level = stock_level(item, 3, on_order=7, pack_size=6, service_level=0.95, review_period_days=7)
    await shop.send(level)
    await _until_available(shop, item)

    stored = json.loads(await shop.redis.hget(f"stock:{{{item}}}", "-") or "")
    assert {name: stored[name] for name in level["data"]} == level["data"]


async def test_stock_at_any_location_will_do(shop: Storefront, item: str) -> None:
    async def locations() -> Json:
        return {place: json.loads(text)["on_hand"]
                for place, text in (await shop.redis.hgetall(f"stock:{{{item}}}")).items()}

    await shop.send(stock_level(item, 0, location_id="north"))
    await shop.until(lambda: shop.redis.sismember(UNAVAILABLE, item), "no stock in the north")
    await shop.send(stock_level(item, 4, location_id="south"))
    await _until_available(shop, item)
    assert await locations() == {"north": 0, "south": 4}

    await shop.put("inventory", f"{item}|south".encode(), None)
    await shop.until(lambda: shop.redis.sismember(UNAVAILABLE, item), "the south withdrawn")
    assert await locations() == {"north": 0}

    await shop.put("inventory", f"{item}|north".encode(), None)  # no location is left: nothing is known of its stock
    await _until_available(shop, item)
    assert await locations() == {}


async def test_stock_below_zero_at_one_location_takes_nothing_from_another(shop: Storefront, item: str) -> None:
    await shop.send(stock_level(item, -5, location_id="north"))
    await shop.until(lambda: shop.redis.sismember(UNAVAILABLE, item), "no stock")
    await shop.send(stock_level(item, 2, location_id="south"))
    await _until_available(shop, item)


@pytest.mark.parametrize("gone", ["withdrawn", "sold out"])
async def test_unavailable_items_leave_new_results_within_two_seconds_and_come_back(
    shop: Storefront, user: str, gone: str
) -> None:
    first = await shop.answer(click(user, unique("i")))
    out = next_items(first, 900)[::9]  # each answer moves on by an item, on a fast machine hundreds in 2.5 s
    assert set(out) & set(first.item_ids)
    for item in out:
        if gone == "withdrawn":
            await shop.put("catalog", item.encode(), None)
        else:
            await shop.send(stock_level(item, 0))

    async def result(*, without: bool) -> Result | None:
        got = await shop.answer(click(user, unique("i")))
        within = range(int(got.item_ids[0]), int(got.item_ids[-1]) + 1)
        there = [item for item in out if int(item) in within]
        return got if there and bool(set(there) & set(got.item_ids)) != without else None

    # 2 s from the moment when Redis says so; the first look may be later on a busy machine
    await shop.until(lambda: shop.redis.smismember(UNAVAILABLE, out[-1:]), "all of them in Redis")
    without = await shop.until(lambda: result(without=True), "a result without them", within_s=2.5)
    assert len(without.item_ids) == 20

    for item in out:
        await shop.send(catalogue(item) if gone == "withdrawn" else stock_level(item, 1))
    await _until_available(shop, out[-1])
    await shop.until(lambda: result(without=False), "a result with them again", within_s=2.5)


@pytest.mark.parametrize("reason", ["just bought", "in the cart", "looked at"])
async def test_items_that_the_user_has_or_sees_are_not_recommended(shop: Storefront, user: str, reason: str) -> None:
    before = await shop.answer(click(user, unique("i")))
    known = next_items(before, 120)[::2]  # of any 64 in a row, half: enough are left for 20

    match reason:
        case "just bought":
            result = await shop.answer(purchase(user, *known))
        case "in the cart":
            result = await shop.answer(click(user, *known, kind="add_to_cart"))
        case _:
            result = await shop.answer(click(user, *known))

    assert len(result.item_ids) == 20
    assert not set(result.item_ids) & set(known)


async def test_items_taken_out_of_the_cart_are_recommended_again(shop: Storefront, user: str) -> None:
    before = await shop.answer(click(user, unique("i")))
    known = next_items(before, 120)[::2]
    await shop.answer(click(user, *known, kind="add_to_cart"))

    result = await shop.answer(click(user, *known, kind="remove_from_cart"))

    assert set(result.item_ids) & set(known)


async def _until_available(shop: Storefront, item: str) -> None:
    async def back() -> bool:
        return not await shop.redis.sismember(UNAVAILABLE, item)

    await shop.until(back, f"{item} available")


async def test_an_order_and_whose_it_is_are_known_until_it_is_withdrawn(shop: Storefront) -> None:
    order_id, user = unique("o"), unique("u")
    await shop.send(order(order_id, user, "placed"))
    shipment = {"carrier": "DHL", "expected_at": "2026-12-01T10:00:00Z"}
    await shop.send(order(order_id, user, "shipped", shipment=shipment))

    async def shipped() -> bool:
        data = await shop.redis.hget(f"order:{{{order_id}}}", "data")
        return data is not None and json.loads(data)["status"] == "shipped"

    async def listed(by: str, count: int) -> bool:
        return bool(await shop.redis.zcount(f"user:{{{by}}}:orders", "-inf", "+inf") == count)

    await shop.until(shipped, "the newer order")
    await shop.until(lambda: listed(user, 1), "the user's order")
    other = unique("u")
    await shop.send(order(order_id, other))
    await shop.until(lambda: listed(other, 1), "its new owner's order")
    await shop.until(lambda: listed(user, 0), "the old owner's list without it")
    await shop.put("orders", order_id.encode(), None)
    await shop.until(lambda: listed(other, 0), "no order")
    assert await shop.redis.hget(f"order:{{{order_id}}}", "data") is None


async def test_what_is_no_order_goes_to_the_dead_letters_of_its_topic(shop: Storefront, item: str) -> None:
    wrong_type = await shop.put("orders", b"o-1", json.dumps(order("o-1", "17", "vanished")).encode())
    wrong_topic = await shop.put("orders", b"o-1", json.dumps(catalogue(item)).encode())
    assert "vanished" in str((await shop.dead_letter_of(wrong_type)).headers["__streams.errors.message"])
    assert b"do not belong" in ((await shop.dead_letter_of(wrong_topic)).headers["__streams.errors.message"] or b"")
