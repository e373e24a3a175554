"""Hop 7a: the retailer's rules over the model's candidates. Pure: scores are the model's, rules are ours."""

from collections.abc import Collection, Iterable, Sequence

import msgspec
from msgspec import Raw, Struct

ITEMS = 20  # readers show the first that are still available
JUST_BOUGHT_MS = 12 * 3600 * 1000
IN_CART_MS = 24 * 3600 * 1000  # an abandoned cart is a reason to show an item again


class Recent(Struct, frozen=True, array_like=True, gc=False):
    """The part of a `schemas.inference.UserState` that the rules read; the rest stays packed."""

    history: tuple[str, ...]
    counter_items: Raw
    counter_values: Raw
    cart: tuple[str, ...]


recent_decoder = msgspec.msgpack.Decoder(Recent)


def excluded(state: Recent, event_time_ms: int, looked_at: Iterable[str]) -> set[str]:
    """Items not to recommend to this user now: just bought, in the cart, or being looked at."""
    out = set(looked_at)
    history, cart = iter(state.history), iter(state.cart)
    for member, time in zip(history, history, strict=True):  # newest first
        if int(time) < event_time_ms - JUST_BOUGHT_MS:
            break
        if member.startswith("purchase:"):
            out.add(member[9:-17])
    out.update([item for item, time in zip(cart, cart, strict=True) if int(time) > event_time_ms - IN_CART_MS])
    return out


def choose(item_ids: Sequence[str], excluded_items: Collection[str], unavailable: Collection[str]) -> list[int]:
    """The positions of the first `ITEMS` that may be shown."""
    chosen: list[int] = []
    for position, item_id in enumerate(item_ids):
        if item_id not in excluded_items and item_id not in unavailable:
            chosen.append(position)
            if len(chosen) == ITEMS:
                break
    return chosen
