"""The users' state in plain Python: what apply.lua and `UserStore`'s logins leave behind, slow and easy to read.

For tests and benchmarks, which compare Redis with the state that follows from the input alone. Knows no Redis, no
results and no time to live: here nothing expires.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from msgspec import Struct

from agents.state.backfill import FAST_DAYS, HISTORY, ITEMS, SEEN, SLOW_DAYS
from agents.state.changes import Change, change_of, changes_of_history, event_id
from agents.state.store import UserChanges
from schemas.events import VISITOR_PREFIX, CustomerEvent

CART = 128
DAY_MS = 86_400_000

Value = TypeVar("Value")


class Counter(NamedTuple):
    """Purchases less refunds of an item, decayed to `as_of_ms` with the fast and with the slow half-life."""

    fast: float
    slow: float
    as_of_ms: int

    def plus(self, sign: int, time_ms: int) -> "Counter":
        """Count one more, at whatever time."""
        to_ms = max(time_ms, self.as_of_ms)
        kept_ms, added_ms = to_ms - self.as_of_ms, to_ms - time_ms
        return Counter(
            self.fast * _decay(kept_ms, FAST_DAYS) + sign * _decay(added_ms, FAST_DAYS),
            self.slow * _decay(kept_ms, SLOW_DAYS) + sign * _decay(added_ms, SLOW_DAYS),
            to_ms,
        )


class StateDigest(Struct, frozen=True):
    """One user's kept state in comparable form; the default is that of a user of whom nothing is known.

    `history`: member and event time in ms, newest first. `cart`: item to event time in ms, negative once it is out.
    The same whatever the order of a user's events, the counters up to rounding, as long as none was forgotten: counters
    of more than 512 items and events behind the newest 1,024 depend on the order, and so does what a login finds.
    """

    version: int = 0
    event_time_ms: int = 0
    history: tuple[tuple[str, int], ...] = ()
    counters: Mapping[str, Counter] = {}
    cart: Mapping[str, int] = {}


class ReferenceState(StateDigest, frozen=True, kw_only=True):
    """What `ReferenceStore.apply` returns. `seen`: the remembered event ids, 8 bytes each, oldest first."""

    new_events: int
    linked: str
    seen: bytes


def digest(state: ReferenceState) -> StateDigest:
    """The part of a state that is compared: seen ids keep the order of arrival, and links only save work."""
    return StateDigest(state.version, state.event_time_ms, state.history, state.counters, state.cart)


class _Meta(Struct):
    version: int = 0
    event_time_ms: int = 0
    linked: str = ""


class _Kept(Struct):
    """What is kept of a user, or of one session without consent. `history` is in order, newest first."""

    history: dict[str, int] = {}
    counters: dict[str, Counter] = {}
    cart: dict[str, int] = {}
    seen: list[bytes] = []

    def take(self, change: Change) -> None:
        time_ms = change.time_ms
        self.history.update(dict.fromkeys(change.members, time_ms))
        for items, sign in ((change.bought, 1), (change.refunded, -1)):
            for item in items:
                self.counters[item] = self.counters.get(item, Counter(0.0, 0.0, time_ms)).plus(sign, time_ms)
        for item in change.into_cart:
            if abs(self.cart.get(item, 0)) < time_ms:
                self.cart[item] = time_ms
        for item in change.out_of_cart:  # at the same time, out wins
            if abs(self.cart.get(item, 0)) <= time_ms:
                self.cart[item] = -time_ms

    def forget(self, now_ms: int) -> None:
        """Keep what fits."""
        newest = sorted(self.history.items(), key=lambda line: (line[1], line[0]), reverse=True)
        self.history = dict(newest[:HISTORY])
        self.counters = _first(
            self.counters, ITEMS, lambda counter: counter.slow * _decay(now_ms - counter.as_of_ms, SLOW_DAYS)
        )
        self.cart = _first(self.cart, CART, abs)
        self.seen = self.seen[-SEEN:]


class ReferenceStore:
    """Every user's state, in memory. The methods that `UserStore` has too do what they do there."""

    def __init__(self) -> None:
        self._meta: dict[str, _Meta] = {}
        self._kept: dict[tuple[str, str | None], _Kept] = {}

    def take(self, event: CustomerEvent, time_ms: int) -> None:
        """Apply one event as the agents do, logins included. `time_ms`: of `agents.decoding.event_time_ms`."""
        data = event.data
        session = None if data.consent else data.session_id or data.visitor_id or "-"
        seen_as = event_id(event.source, event.id)
        state = self.apply(UserChanges(data.user, (change_of(event, seen_as, time_ms),), seen_as, session))
        if data.user_id is None:
            if state.linked:
                self.unlink(state.linked, data.user)
        elif data.visitor_id is not None and data.consent:
            visitor = f"{VISITOR_PREFIX}{data.visitor_id}"
            if state.linked != visitor:
                self.link(data.user, visitor)

    def apply(self, user: UserChanges) -> ReferenceState:
        """Apply the user's events; without any, return the state as it is."""
        meta = self._meta.setdefault(user.user, _Meta())
        kept = self._kept.setdefault((user.user, user.session), _Kept())
        new_events = 0
        for number, change in enumerate(user.changes):
            seen_as = user.ids[8 * number : 8 * number + 8]
            if seen_as not in kept.seen:
                new_events += 1
                kept.seen.append(seen_as)
                kept.take(change)
                meta.event_time_ms = max(meta.event_time_ms, change.time_ms)
        if user.linking:
            meta.linked = user.linking
        if new_events:
            meta.version += new_events
            kept.forget(meta.event_time_ms)
        return ReferenceState(
            meta.version, meta.event_time_ms, tuple(kept.history.items()), dict(kept.counters), dict(kept.cart),
            new_events=new_events, linked=meta.linked, seen=b"".join(kept.seen),
        )

    def link(self, user: str, visitor: str) -> ReferenceState:
        """Give the visitor's history to the user; of the visitor, the version and the seen ids stay."""
        last = self._meta.setdefault(visitor, _Meta()).linked
        if last and last != user:
            self.unlink(last, visitor)
        before = self.apply(UserChanges(visitor, linking=user))
        lines = tuple(text for member, time_ms in before.history for text in (member, str(time_ms)))
        moved = changes_of_history(lines)
        after = self.apply(UserChanges(
            user, tuple(change for _, change in moved), b"".join(seen_as for seen_as, _ in moved), linking=visitor
        ))
        self._kept[visitor, None] = _Kept(seen=self._kept[visitor, None].seen)
        return after

    def unlink(self, user: str, visitor: str) -> None:
        """Have the next login link again."""
        for name in (user, visitor):
            self._meta.setdefault(name, _Meta()).linked = ""

    def digests(self) -> dict[str, StateDigest]:
        """The digest of every user and visitor that was ever named."""
        return {user: digest(self.apply(UserChanges(user))) for user in list(self._meta)}


def _decay(passed_ms: int, half_life_days: float) -> float:
    return math.pow(2.0, -passed_ms / (half_life_days * DAY_MS))


def _first(entries: dict[str, Value], limit: int, rank: Callable[[Value], float]) -> dict[str, Value]:
    """The entries that rank highest; of equals, those whose items come first."""
    if len(entries) <= limit:
        return entries
    return dict(sorted(entries.items(), key=lambda entry: (-rank(entry[1]), entry[0]))[:limit])
