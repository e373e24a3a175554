"""Rules over the model's candidates."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agents.rules import ITEMS, choose, excluded
from schemas.inference import SEPARATOR, UserState

HOUR = 3_600_000
NOW = 1_000 * HOUR
# ids that look like what the rules search for, and one whose UTF-8 ends as the head of a packed string begins
IDS = st.lists(st.sampled_from(["purchase:", ":", "0" * 16, "é", "7", "tea"]), min_size=1, max_size=6).map("".join)


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


@given(st.lists(st.tuples(st.sampled_from(["view", "cart", "purchase"]), IDS, st.integers(0, 30)), max_size=12))
def test_whatever_the_ids_look_like_exactly_the_purchases_of_the_last_half_day_are_found(
    lines: list[tuple[str, str, int]]
) -> None:
    history = {f"{kind}:{item}": NOW - hours * HOUR for kind, item, hours in lines}
    bought = {item for kind, item, _ in lines if kind == "purchase" and history[f"purchase:{item}"] >= NOW - 12 * HOUR}
    assert excluded(state(history), NOW, ()) == bought


def test_an_item_id_may_hold_colons() -> None:
    assert excluded(state({"purchase:a:b:c": NOW}), NOW, ()) == {"a:b:c"}


def test_the_best_twenty_that_may_be_shown_are_chosen_in_order() -> None:
    ids = SEPARATOR.join(map(str, range(64)))
    assert choose(ids, {"0", "2"}, frozenset({"1"})) == list(range(3, 3 + ITEMS))
    assert choose(ids, {"0", "19", "63"}, ()) == [*range(1, 19), *range(20, 22)]
