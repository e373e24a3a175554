"""Hop 7a: the retailer's rules over the model's candidates. Pure: scores are the model's, rules are ours."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec
from msgspec import Raw, Struct

from schemas.inference import SEPARATOR

ITEMS = 20  # readers show the first that are still available
JUST_BOUGHT_MS = 12 * 3600 * 1000
PURCHASE = "purchase:"
PURCHASE_BYTES = PURCHASE.encode()
# How a packed history line ends: 16 hex digits, the head of a short string, the time. An id cannot look like that: in
# UTF-8 no such head follows a digit.
LINE_END = re.compile(rb":[0-9a-f]{16}[\xa0-\xbf]([0-9]+)")
IN_CART_MS = 24 * 3600 * 1000  # an abandoned cart is a reason to show an item again


class _Recent(Struct, frozen=True, array_like=True, gc=False):
    """The part of a `schemas.inference.UserState` that the rules read; the rest stays packed."""

    history: Raw
    counter_items: Raw
    counter_values: Raw
    cart: tuple[str, ...]


_decode = msgspec.msgpack.Decoder(_Recent).decode
_decode_history = msgspec.msgpack.Decoder(tuple[str, ...]).decode


def excluded(state: Raw, event_time_ms: int, looked_at: Iterable[str]) -> set[str]:
    """Items not to recommend to this user now: just bought, in the cart, or being looked at. `state`: packed."""
    recent = _decode(state)
    out = set(looked_at)
    since_ms = event_time_ms - JUST_BOUGHT_MS
    if _may_hold_purchase(bytes(recent.history), since_ms):  # else it need not be decoded: that is most of the cost
        out.update(_bought_since(since_ms, _decode_history(recent.history)))
    if recent.cart:
        cart = iter(recent.cart)
        out.update([item for item, time in zip(cart, cart, strict=True) if int(time) > event_time_ms - IN_CART_MS])
    return out


def _may_hold_purchase(history: bytes, since_ms: int) -> bool:
    """False where no purchase is that new: lines are newest first, and none before the first match is of a purchase."""
    match = LINE_END.search(history, at) if (at := history.find(PURCHASE_BYTES)) >= 0 else None
    return match is not None and int(match[1]) >= since_ms


def _bought_since(time_ms: int, history: Sequence[str]) -> Iterator[str]:
    for line, member in enumerate(history[::2]):  # newest first
        if member.startswith(PURCHASE):
            if int(history[2 * line + 1]) < time_ms:
                break
            yield member[len(PURCHASE) : -17]


def choose(ids: str, excluded_items: Collection[str], unavailable: Collection[str]) -> list[int]:
    """The positions of the first `ITEMS` that may be shown. `ids`: as in a `RecommendResult`."""
    if not ids:
        return []
    needed = -1 if unavailable else ITEMS + len(excluded_items)  # an id that is not split off is not made a string
    chosen: list[int] = []
    for position, item_id in enumerate(ids.split(SEPARATOR, needed)):
        if item_id not in excluded_items and item_id not in unavailable:
            chosen.append(position)
            if len(chosen) == ITEMS:
                break
    return chosen
