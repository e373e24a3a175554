"""Snapshots follow Redis without being told the whole state, and are bounded."""

from itertools import chain

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from agents.state.backfill import HISTORY
from agents.state.snapshots import Changed, Snapshots, after
from schemas.inference import UserState, user_state_decoder

EMPTY = UserState((), (), b"", ())


def packed(value: UserState | tuple[str, ...]) -> Raw:
    return Raw(msgspec.msgpack.encode(value))


def lines(first: int, count: int) -> tuple[str, ...]:
    """Newest first; members of several lengths, some beyond ASCII."""
    numbers = range(first + count - 1, first - 1, -1)
    return tuple(chain.from_iterable((f"view:{'ü' * (n % 40)}{n}:{n:016x}", str(n)) for n in numbers))


@given(kept=st.integers(0, HISTORY), new=st.lists(st.integers(1, 9), max_size=30))
def test_a_difference_leaves_the_newest_lines_byte_for_byte_as_the_whole_state_would(kept: int, new: list[int]) -> None:
    state = packed(UserState(lines(0, kept), ("a",), b"x" * 24, ("a", "1")))
    total = kept
    for count in new:
        state = after(state, packed(lines(total, count)), None)
        total += count
    first = max(0, total - HISTORY)
    whole = packed(UserState(lines(first, total - first), ("a",), b"x" * 24, ("a", "1")))
    assert bytes(state) == bytes(whole)


ITEM_IDS = st.sampled_from(["milk", "é" * 20, "x"])
COUNTERS = st.dictionaries(ITEM_IDS, st.binary(min_size=24, max_size=24))
CARTS = st.dictionaries(ITEM_IDS, st.integers(-9, 9).map(str))


@given(st.integers(0, HISTORY), st.integers(0, 20), COUNTERS, CARTS, COUNTERS, CARTS)
def test_what_is_spliced_is_what_decoding_merging_and_packing_would_give(
    kept: int, new: int, counters: dict[str, bytes], cart: dict[str, str], new_counters: dict[str, bytes],
    new_cart: dict[str, str],
) -> None:
    def state(history: tuple[str, ...], counters: dict[str, bytes], cart: dict[str, str]) -> UserState:
        flat = tuple(chain.from_iterable(cart.items()))
        return UserState(history[: 2 * HISTORY], tuple(counters), b"".join(counters.values()), flat)

    changed = Changed(*msgspec.structs.astuple(state((), new_counters, new_cart))[1:])
    merged = state((*lines(kept, new), *lines(0, kept)), counters | new_counters, cart | new_cart)
    before = packed(state(lines(0, kept), counters, cart))
    assert bytes(after(before, packed(lines(kept, new)), changed)) == msgspec.msgpack.encode(merged)


def test_counters_and_cart_take_their_new_values_and_keep_the_others() -> None:
    before = UserState(("view:a:0", "1"), ("a", "b"), b"A" * 24 + b"B" * 24, ("a", "1", "b", "2"))
    changed = Changed(("b", "c"), b"b" * 24 + b"c" * 24, ("b", "-3"))
    assert user_state_decoder.decode(after(packed(before), packed(("cart:b:0", "3")), changed)) == UserState(
        ("cart:b:0", "3", "view:a:0", "1"), ("a", "b", "c"), b"A" * 24 + b"b" * 24 + b"c" * 24, ("a", "1", "b", "-3")
    )


def test_the_least_recently_used_go_first_when_there_is_no_room() -> None:
    state = packed(UserState(lines(0, 128), (), b"", ()))
    snapshots = Snapshots(max_bytes=50_000)
    for user in map(str, range(100)):
        snapshots.put("often", None, 1, b"12345678", 60, state)
        snapshots.put(user, None, 1, b"12345678", 60, state)
    assert 2 < len(snapshots) < 20
    assert snapshots.get("often", None) is not None
    assert snapshots.get("99", None) is not None
    assert snapshots.get("0", None) is None


@pytest.mark.parametrize("ttl_s", [1800.0, 60.0])
def test_what_redis_may_have_let_expire_is_not_used(ttl_s: float) -> None:
    now_s = 0.0
    snapshots = Snapshots(clock=lambda: now_s)
    snapshots.put("17", "s", 1, b"12345678", ttl_s, packed(EMPTY))
    assert snapshots.get("17", "s") is not None
    assert snapshots.get("17", None) is None
    now_s = ttl_s - 1
    assert snapshots.get("17", "s") is None
