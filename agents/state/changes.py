"""What one event changes in a user's state. Pure: no Redis, no clock."""

from hashlib import sha256
from typing import NamedTuple

from msgspec import Struct

from schemas import events
from schemas.events import CustomerEvent


class Effect(NamedTuple):
    """What a type of event does with its items."""

    history: str = ""  # the kind of their history lines
    buys: bool = False
    refunds: bool = False
    fills_cart: bool = False
    empties_cart: bool = False
    looks: bool = False  # the user has them before the eyes


NO_EFFECT = Effect()
EFFECTS: dict[type[CustomerEvent], Effect] = {
    events.ViewItem: Effect("view", looks=True),
    events.SelectItem: Effect("select", looks=True),
    events.AddToCart: Effect("cart", fills_cart=True),
    events.AddToWishlist: Effect("wishlist"),
    events.RemoveFromCart: Effect(empties_cart=True),
    events.Purchase: Effect("purchase", buys=True, empties_cart=True),
    events.Refund: Effect(refunds=True),
}


class Change(Struct, frozen=True, array_like=True, gc=False):
    """The msgpack argument of apply.lua for one event."""

    time_ms: int
    members: tuple[str, ...]  # for the history
    bought: tuple[str, ...]  # raise the counters
    refunded: tuple[str, ...]  # lower them
    into_cart: tuple[str, ...]
    out_of_cart: tuple[str, ...]


def event_id(source: str, id: str) -> bytes:  # noqa: A002 - the CloudEvents name
    """The 8 bytes by which an event is known to have been seen; `source` and `id` identify it."""
    return sha256(f"{source}\n{id}".encode()).digest()[:8]


def change_of(event: CustomerEvent, seen_as: bytes, time_ms: int) -> Change:
    """What the event does to the state of its user. `seen_as` is its `event_id`."""
    effect = EFFECTS.get(type(event), NO_EFFECT)
    if effect is NO_EFFECT:
        return Change(time_ms, (), (), (), (), ())
    items = _items(event)
    suffix = seen_as.hex()
    members = tuple([f"{effect.history}:{item}:{suffix}" for item in items]) if effect.history else ()
    return Change(
        time_ms,
        members,
        items if effect.buys else (),
        items if effect.refunds else (),
        items if effect.fills_cart else (),
        items if effect.empties_cart else (),
    )


def looked_at(event: CustomerEvent) -> tuple[str, ...]:
    """The items that the user has before the eyes after this event."""
    return _items(event) if EFFECTS.get(type(event), NO_EFFECT).looks else ()


def _items(event: CustomerEvent) -> tuple[str, ...]:
    lines = event.data.items
    return (lines[0].item_id,) if len(lines) == 1 else tuple(dict.fromkeys([line.item_id for line in lines]))


def changes_of_history(history: tuple[str, ...]) -> list[tuple[bytes, Change]]:
    """The events behind a stored history (member, time in ms, …), to give a visitor's to the user who logged in."""
    by_event: dict[str, tuple[int, list[str]]] = {}
    for member, text in zip(history[::2], history[1::2], strict=True):
        suffix = member[-16:]
        by_event.setdefault(suffix, (int(text), []))[1].append(member)
    changes = []
    for suffix, (time_ms, members) in by_event.items():
        parts = [member.split(":", 1) for member in members]
        of_kind = {kind: tuple(rest[:-17] for k, rest in parts if k == kind) for kind in ("purchase", "cart")}
        change = Change(time_ms, tuple(members), of_kind["purchase"], (), of_kind["cart"], of_kind["purchase"])
        changes.append((bytes.fromhex(suffix), change))
    return changes
