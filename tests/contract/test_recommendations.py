"""A customer's events become results on the topic and in Redis, as contract.md says."""

import asyncio
import json
from collections import Counter
from hashlib import sha256
from typing import Any

import pytest

from tests.contract.storefront import (
    SOURCE,
    Json,
    Offset,
    Storefront,
    click,
    event,
    key_of,
    lines,
    now_ms,
    purchase,
    rfc3339,
    unique,
)

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOUR_MS = 3_600_000
DAY_S = 86_400
USER_TTL_S = 90 * DAY_S
SESSION_TTL_S = 1800
HISTORY = 128


def member(kind: str, item_id: str, sent: Json) -> str:
    digest = sha256(f"{sent['source']}\n{sent['id']}".encode()).hexdigest()
    return f"{kind}:{item_id}:{digest[:16]}"


async def test_a_click_becomes_a_result_on_the_topic_and_in_redis(shop: Storefront, user: str, item: str) -> None:
    sent = click(user, item, time_ms=now_ms() - HOUR_MS)

    record = await shop.send(sent)
    result = await shop.result_for(record)

    assert result.key == user.encode()
    envelope = result.event
    assert (envelope["specversion"], envelope["type"]) == ("1.0", "retail.recommendations.v1")
    assert envelope["datacontenttype"] == "application/json"
    assert dict(result.headers)["content-type"].startswith(b"application/cloudevents+json")  # structured mode
    assert all(isinstance(envelope[name], str) and envelope[name] for name in ("id", "source", "time"))
    data = result.data
    assert data["recommendation_id"]
    assert data["user_id"] == user
    assert data["history_version"] == 1
    assert data["event_time"] == sent["time"]
    assert rfc3339(now_ms() - 30_000) < data["generated_at"] <= rfc3339(now_ms())
    assert data["trigger"] == {"source": SOURCE, "id": sent["id"]}
    topic, partition, offset = record.at
    assert data["covers"] == [{"topic": topic, "partition": partition, "from": offset, "to": offset}]
    assert data["model"]["name"] == "recommender"
    assert isinstance(data["model"]["version"], str)
    assert data["origin"] == "model"
    assert len(set(result.item_ids)) == len(data["items"]) == 20
    for shown in data["items"]:
        assert isinstance(shown["item_id"], str)
        assert isinstance(shown["score"], float)
        assert shown["reason"]["kind"] in {"repeat", "related", "popular"}
        assert all(isinstance(evidence, str) for evidence in shown["reason"]["evidence"])
    assert await shop.stored(user) == data


async def test_every_further_event_raises_the_version(shop: Storefront, user: str, item: str) -> None:
    first = await shop.answer(click(user, item))
    second = await shop.answer(purchase(user, item))
    third = await shop.answer(event("search", {"user_id": user, "search_term": "tea", "items": []}))

    assert [result.data["history_version"] for result in (first, second, third)] == [1, 2, 3]
    assert len({result.event["id"] for result in (first, second, third)}) == 3
    assert await shop.stored(user) == third.data


async def test_event_time_is_that_of_the_newest_event_even_when_an_older_one_comes_late(
    shop: Storefront, user: str, item: str
) -> None:
    newer, older = click(user, item, time_ms=now_ms() - HOUR_MS), click(user, item, time_ms=now_ms() - 2 * HOUR_MS)

    await shop.answer(newer)
    late = await shop.answer(older)

    assert late.data["event_time"] == newer["time"]
    assert late.data["trigger"]["id"] == older["id"]
    assert late.data["history_version"] == 2


async def test_of_a_burst_every_event_is_answered_and_versions_never_fall(shop: Storefront) -> None:
    users = [unique("burst") for _ in range(10)]
    events = [(click if number % 7 else purchase)(users[number % 10], str(number)) for number in range(300)]

    sent = await shop.send_all(events)
    await shop.results_for(sent, within_s=30)

    assert not {record.at for record in sent} & shop.dead_letters.keys()
    for user in users:
        results = shop.results[user]
        versions = [result.data["history_version"] for result in results]
        assert versions == sorted(versions)
        assert {offset for result in results for offset in result.covers()} == {
            record.at for record, one in zip(sent, events, strict=True) if one["data"]["user_id"] == user
        }
        stored = await shop.stored(user)
        assert stored is not None
        assert stored["history_version"] == 30 == max(versions)


@pytest.mark.parametrize(("name", "kind"), [
    ("view_item", "view"), ("select_item", "select"), ("add_to_cart", "cart"), ("add_to_wishlist", "wishlist"),
])
async def test_clicks_on_items_are_in_the_history(shop: Storefront, user: str, name: str, kind: str) -> None:
    time_ms = now_ms() - HOUR_MS + 1
    sent = click(user, "a", "b:c", kind=name, time_ms=time_ms)

    await shop.answer(sent)

    assert await shop.history(user) == {member(kind, "a", sent): time_ms, member(kind, "b:c", sent): time_ms}


async def test_each_line_of_a_purchase_is_in_the_history(shop: Storefront, user: str) -> None:
    time_ms = now_ms() - HOUR_MS + 2
    sent = purchase(user, "a", "b", "c", "a", time_ms=time_ms)

    await shop.answer(sent)

    assert await shop.history(user) == {member("purchase", item, sent): time_ms for item in "abc"}


@pytest.mark.parametrize("name", ["view_item_list", "search", "remove_from_cart", "view_cart", "begin_checkout"])
async def test_other_clicks_get_a_result_and_leave_no_history(shop: Storefront, user: str, name: str) -> None:
    result = await shop.answer(click(user, "a", kind=name))

    assert result.data["history_version"] == 1
    assert await shop.history(user) == {}


async def test_a_refund_gets_a_result(shop: Storefront, user: str) -> None:
    bought = purchase(user, "a")
    await shop.answer(bought)

    result = await shop.answer(event("refund", bought["data"]))

    assert result.data["history_version"] == 2
    assert list(await shop.history(user)) == [member("purchase", "a", bought)]


async def test_the_newest_128_of_a_history_are_kept(shop: Storefront, user: str) -> None:
    begin_ms = now_ms() - HOUR_MS
    numbers = [(7 * number) % 150 for number in range(150)]  # not in the order of time
    events = [click(user, str(number), time_ms=begin_ms + number) for number in numbers]

    await shop.results_for(await shop.send_all(events))

    by_number = dict(zip(numbers, events, strict=True))
    assert await shop.history(user) == {
        member("view", str(number), by_number[number]): begin_ms + number for number in range(150 - HISTORY, 150)
    }


async def test_every_user_key_lives_for_90_days_from_the_last_event(shop: Storefront, user: str) -> None:
    await shop.answer(purchase(user, "a"))
    await shop.answer(click(user, "b", kind="add_to_cart"))
    keys = await shop.keys_of(user)
    for key in keys:
        await shop.redis.expire(key, 100)

    await shop.answer(click(user, "c"))

    assert {f"user:{{{user}}}:history", f"user:{{{user}}}:recommendations"} <= keys.keys()
    renewed = await shop.keys_of(user)
    assert renewed.keys() == keys.keys()
    assert all(USER_TTL_S - 60 < ttl <= USER_TTL_S for ttl in (*keys.values(), *renewed.values()))


async def test_the_same_event_again_is_answered_by_the_stored_bytes(shop: Storefront, user: str, item: str) -> None:
    first, second = click(user, item), purchase(user, item)
    await shop.answer(first)
    answer = await shop.answer(second)
    before = await shop.dump(user)

    for again in (second, first, {**first, "time": rfc3339(now_ms())}):
        seen = len(shop.results[user])
        await shop.send(again)
        await shop.until(lambda seen=seen: len(shop.results[user]) > seen, "an answer to the event sent again")  # type: ignore[misc]

        assert shop.results[user][-1].value == answer.value
    assert await shop.dump(user) == before


async def test_the_same_id_from_another_source_is_another_event(shop: Storefront, user: str, item: str) -> None:
    sent = click(user, item)
    await shop.answer(sent)

    result = await shop.answer({**sent, "source": "storefront/app"})

    assert result.data["history_version"] == 2
    assert len(await shop.history(user)) == 2


async def test_a_visitor_without_a_login_is_answered(shop: Storefront, item: str) -> None:
    visitor = unique("v")
    sent = event("view_item", {"visitor_id": visitor, "session_id": "s-9", "items": lines(item)})

    result = await shop.answer(sent)

    assert result.key.decode() == result.data["user_id"] == f"v:{visitor}"
    assert list(await shop.history(f"v:{visitor}")) == [member("view", item, sent)]
    assert await shop.stored(f"v:{visitor}") == result.data


async def test_a_login_gives_the_visitors_history_to_the_user(shop: Storefront, user: str) -> None:
    visitor = unique("v")
    begin_ms = now_ms() - HOUR_MS
    own = click(user, "own", time_ms=begin_ms)
    looks = [event("view_item", {"visitor_id": visitor, "items": lines(item)}, time_ms=begin_ms + 1) for item in "ab"]
    login = click(user, "c", visitor_id=visitor, time_ms=begin_ms + 2)
    await shop.answer(own)
    for look in looks:
        await shop.answer(look)

    result = await shop.answer(login)

    assert await shop.history(user) == {
        member("view", "own", own): begin_ms, member("view", "c", login): begin_ms + 2,
        **{member("view", look["data"]["items"][0]["item_id"], look): begin_ms + 1 for look in looks},
    }
    assert result.data["history_version"] == 4
    assert result.data["user_id"] == user


async def test_what_a_visitor_looked_at_between_two_logins_is_linked_too(shop: Storefront, user: str) -> None:
    visitor = unique("v")
    await shop.answer(click(user, "before", visitor_id=visitor))
    look = event("view_item", {"visitor_id": visitor, "items": lines("between")})
    await shop.answer(look)

    await shop.answer(click(user, "after", visitor_id=visitor))

    assert member("view", "between", look) in await shop.history(user)


async def test_without_consent_nothing_is_kept_beyond_the_session(shop: Storefront, user: str) -> None:
    sent = [click(user, "a", consent=False), purchase(user, "b", consent=False),
            click(user, "c", kind="add_to_cart", consent=False)]

    results = [await shop.answer(one) for one in sent]

    assert [result.data["origin"] for result in results] == ["model"] * 3
    keys = await shop.keys_of(user)
    assert keys
    assert f"user:{{{user}}}:history" not in keys
    assert all(0 < ttl <= SESSION_TTL_S for ttl in keys.values()), keys


async def test_refused_consent_adds_nothing_to_what_was_kept_before(shop: Storefront, user: str) -> None:
    kept = click(user, "a")
    await shop.answer(kept)

    result = await shop.answer(click(user, "b", consent=False))

    assert result.data["history_version"] == 2
    assert list(await shop.history(user)) == [member("view", "a", kept)]


@pytest.mark.parametrize("kind", ["click", "purchase"])
async def test_binary_mode_is_read(shop: Storefront, user: str, kind: str) -> None:
    sent = (click if kind == "click" else purchase)(user, "a", "b", time_ms=now_ms() - HOUR_MS)
    topic = "clickstream" if kind == "click" else "purchases"
    headers = [(f"ce_{name}", sent[name].encode()) for name in ("specversion", "id", "source", "type", "time")]

    record = await shop.put(
        topic, user.encode(), json.dumps(sent["data"]).encode(),
        headers=[*headers, ("content-type", b"application/json"), ("ce_traceparent", b"00-1"), ("other", None)],
    )
    result = await shop.result_for(record)

    assert result.data["trigger"] == {"source": SOURCE, "id": sent["id"]}
    assert result.data["event_time"] == sent["time"]
    history_kind = "view" if kind == "click" else "purchase"
    assert set(await shop.history(user)) == {member(history_kind, item, sent) for item in "ab"}


@pytest.mark.parametrize(("ahead_ms", "believed"), [(4 * 60_000, True), (HOUR_MS, False)])
async def test_an_event_time_far_ahead_is_taken_as_the_records_timestamp(
    shop: Storefront, user: str, ahead_ms: int, believed: bool  # noqa: FBT001
) -> None:
    stamp_ms = now_ms() - 500
    sent = click(user, "a", time_ms=stamp_ms + ahead_ms)

    result = await shop.answer(sent, timestamp_ms=stamp_ms)

    taken_ms = stamp_ms + ahead_ms if believed else stamp_ms
    assert await shop.history(user) == {member("view", "a", sent): taken_ms}
    assert result.data["event_time"] == rfc3339(taken_ms)


@pytest.mark.parametrize("time", [
    "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "1969-12-31T23:59:59.999Z", "9999-12-31T23:59:59.999999-14:00",
])
async def test_event_times_at_the_ends_of_the_calendar_are_answered(shop: Storefront, user: str, time: str) -> None:
    result = await shop.answer(click(user, "a") | {"time": time})

    assert result.data["history_version"] == 1
    assert len(await shop.history(user)) == 1


async def test_unknown_items_and_fields_are_no_error(shop: Storefront, user: str) -> None:
    sent = click(user, unique("nobody-sells"), surprise={"deep": [1, None]}) | {"traceparent": "00-1"}

    record = await shop.send(sent)
    result = await shop.result_for(record)

    assert result.data["origin"] == "model"
    assert record.at not in shop.dead_letters


@pytest.mark.parametrize("name", ["żółć-💙", "a{b}c", "x:y z\n", "0"])
async def test_users_may_have_any_name(shop: Storefront, name: str) -> None:
    user = unique(name)

    result = await shop.answer(click(user, "a"))

    assert result.key.decode() == user == result.data["user_id"]
    assert await shop.stored(user) == result.data


async def test_results_of_many_users_hold_only_their_own_records(shop: Storefront) -> None:
    events = [click(unique("mix"), str(number)) for number in range(60)]

    sent = await asyncio.gather(*(shop.send(one) for one in events))
    await shop.results_for(sent)

    owner: dict[Offset, Any] = {record.at: key_of(one) for record, one in zip(sent, events, strict=True)}
    for record in sent:
        result = shop.covered[record.at]
        assert {owner[offset] for offset in result.covers()} == {result.data["user_id"]}
    assert Counter(len(shop.results[user]) for user in owner.values()) == {1: 60}
