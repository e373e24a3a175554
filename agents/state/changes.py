"""What one event changes in a user's state. Pure: no Redis, no clock."""

from hashlib import sha256

from msgspec import Struct

from schemas import events
from schemas.events import CustomerEvent, PurchaseData

HISTORY_KINDS = {
    events.ViewItem: "view",
    events.SelectItem: "select",
    events.AddToCart: "cart",
    events.AddToWishlist: "wishlist",
    events.Purchase: "purchase",
}
LOOKED_AT = (events.ViewItem, events.SelectItem)


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
    kind = HISTORY_KINDS.get(type(event))
    items = tuple(dict.fromkeys([line.item_id for line in event.data.items]))
    suffix = seen_as.hex()
    members = tuple([f"{kind}:{item}:{suffix}" for item in items]) if kind else ()
    bought = items if kind == "purchase" else ()
    return Change(
        time_ms=time_ms,
        members=members,
        bought=bought,
        refunded=items if isinstance(event, events.Refund) else (),
        into_cart=items if kind == "cart" else (),
        out_of_cart=bought or (items if isinstance(event, events.RemoveFromCart) else ()),
    )


def looked_at(event: CustomerEvent) -> tuple[str, ...]:
    """The items that the user has before the eyes after this event."""
    if isinstance(event, LOOKED_AT) and not isinstance(event.data, PurchaseData):
        return tuple(line.item_id for line in event.data.items)
    return ()


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
