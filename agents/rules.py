"""Hop 7a: the retailer's rules over the model's candidates. Pure: scores are the model's, rules are ours."""

from collections.abc import Collection, Iterable
from itertools import islice
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

ITEMS = 20  # readers show the first that are still available
JUST_BOUGHT_MS = 12 * 3600 * 1000
IN_CART_MS = 24 * 3600 * 1000  # an abandoned cart is a reason to show an item again


Candidate = TypeVar("Candidate")


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
    history = state.history
    for member, time in zip(history[::2], history[1::2], strict=True):  # newest first
        if int(time) < event_time_ms - JUST_BOUGHT_MS:
            break
        if member.startswith("purchase:"):
            out.add(member[9:-17])
    cart = state.cart
    out.update(item for item, time in zip(cart[::2], cart[1::2], strict=True)
               if int(time) > event_time_ms - IN_CART_MS)
    return out


def choose(
    candidates: Iterable[tuple[str, Candidate]], excluded_items: Collection[str], unavailable: Collection[str]
) -> list[Candidate]:
    """The first `ITEMS` candidates, given with their item ids, that may be shown."""
    shown = (
        candidate for item_id, candidate in candidates if item_id not in excluded_items and item_id not in unavailable
    )
    return list(islice(shown, ITEMS))
