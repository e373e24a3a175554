"""Hop 7a: the retailer's rules over the model's candidates. Pure: scores are the model's, rules are ours."""

from collections.abc import Collection, Iterable, Sequence
from typing import Protocol, TypeVar

from schemas.inference import UserState

ITEMS = 20  # readers show the first that are still available
JUST_BOUGHT_MS = 12 * 3600 * 1000
IN_CART_MS = 24 * 3600 * 1000  # an abandoned cart is a reason to show an item again


class HasItem(Protocol):
    @property
    def item_id(self) -> str: ...


Candidate = TypeVar("Candidate", bound=HasItem)


def excluded(state: UserState, event_time_ms: int, looked_at: Iterable[str]) -> set[str]:
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
    candidates: Iterable[Candidate], excluded_items: Collection[str], unavailable: Collection[str]
) -> Sequence[Candidate]:
    """The first `ITEMS` candidates that may be shown."""
    chosen = []
    for candidate in candidates:
        if candidate.item_id not in excluded_items and candidate.item_id not in unavailable:
            chosen.append(candidate)
            if len(chosen) == ITEMS:
                break
    return chosen
