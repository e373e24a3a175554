"""Rules over the model's candidates."""

import msgspec
from msgspec import Raw

from agents.rules import ITEMS, choose, excluded
from schemas.inference import SEPARATOR, UserState

HOUR = 3_600_000
NOW = 1_000 * HOUR


def state(history: dict[str, int] | None = None, cart: dict[str, int] | None = None) -> Raw:
    lines = sorted((history or {}).items(), key=lambda entry: -entry[1])
    return Raw(msgspec.msgpack.encode(UserState(
        history=tuple(text for member, time in lines for text in (f"{member}:{'0' * 16}", str(time))),
        counter_items=(), counter_values=b"",
        cart=tuple(text for item, time in (cart or {}).items() for text in (item, str(time))),
    )))


def test_items_just_bought_are_left_out_and_items_bought_long_ago_are_not() -> None:
    user = state({
        "purchase:milk": NOW - HOUR, "purchase:rice": NOW - 2 * HOUR, "purchase:tea": NOW - 24 * HOUR,
        "view:bread": NOW, "cart:purchase:jam": NOW, "view:salt": NOW - 30 * HOUR,
    })
    assert excluded(user, NOW, ()) == {"milk", "rice"}


def test_items_in_the_cart_are_left_out_until_they_are_taken_out_or_forgotten() -> None:
    user = state(cart={"in": NOW - HOUR, "taken-out": -(NOW - HOUR), "forgotten": NOW - 48 * HOUR})
    assert excluded(user, NOW, ()) == {"in"}


def test_the_item_being_looked_at_is_left_out() -> None:
    assert excluded(state(), NOW, ("lamp",)) == {"lamp"}


def test_an_item_id_may_hold_colons() -> None:
    assert excluded(state({"purchase:a:b:c": NOW}), NOW, ()) == {"a:b:c"}


def test_the_best_twenty_that_may_be_shown_are_chosen_in_order() -> None:
    ids = SEPARATOR.join(map(str, range(64)))
    assert choose(ids, {"0", "2"}, frozenset({"1"})) == list(range(3, 3 + ITEMS))
    assert choose(ids, {"0", "19", "63"}, ()) == [*range(1, 19), *range(20, 22)]
