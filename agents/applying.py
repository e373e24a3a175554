"""Hop 3, between records and the store: which events are applied together, and what a login sets off.

Knows users, sessions and visitors; of Kafka and of results nothing. `recommend` and `footfall rebuild` share it, and so
leave the same state. However a stream is cut into batches, it is the state that event by event would leave.
"""

from collections.abc import Sequence

from msgspec import Struct

from agents.coalescer import Held, offset_runs
from agents.decoding import event_time_ms
from agents.state.changes import Change, change_of, event_id
from agents.state.store import Applied, UserChanges, UserStore
from schemas.events import VISITOR_PREFIX, CustomerEvent


class Group(Struct, eq=False):
    """The events of one user (and session, without consent) that are applied in one call."""

    user: str
    session: str | None
    newest: CustomerEvent
    newest_ms: int
    changes: list[Change] = []
    ids: bytes = b""
    held: list[Held] = []  # the caller's: the records that wait for the result

    def add(self, event: CustomerEvent, time_ms: int) -> None:
        seen_as = event_id(event.source, event.id)
        self.changes.append(change_of(event, seen_as, time_ms))
        self.ids += seen_as
        if time_ms >= self.newest_ms:
            self.newest, self.newest_ms = event, time_ms


class _Step(Struct, eq=False):
    """Events that one pipeline applies.

    `turns`: in the order of events, a user and the visitor who logged in; of a visitor who browsed, "" and the visitor.
    """

    groups: dict[tuple[str, str | None], Group] = {}
    turns: list[tuple[str, str]] = []
    logged_in: set[str] = set()  # visitors


class EventBatch:
    """Events in the order of their records, applied with few calls. Bounded by who fills it."""

    def __init__(self) -> None:
        self._steps = [_Step()]

    def add(self, event: CustomerEvent, record_timestamp_ms: int) -> Group:
        """Put an event behind those that are there; returns the group that it went to."""
        data = event.data
        user = data.user
        session = None if data.consent else data.session_id or data.visitor_id or "-"
        step = self._steps[-1]
        if user in step.logged_in:  # browsed on after the login, which gave away only what came before
            step = _Step()
            self._steps.append(step)
        time_ms = event_time_ms(event.time.timestamp(), record_timestamp_ms)
        group = step.groups.get((user, session))
        if group is None:
            group = step.groups[user, session] = Group(user, session, event, time_ms)
        group.add(event, time_ms)
        if data.user_id is None:
            step.turns.append(("", user))
        elif data.visitor_id is not None and data.consent:
            visitor = f"{VISITOR_PREFIX}{data.visitor_id}"
            step.turns.append((user, visitor))
            step.logged_in.add(visitor)
        return group

    async def apply(self, store: UserStore) -> list[tuple[Group, Applied]]:
        """Apply all events; returns each group with its user's state after it. May be repeated without harm.

        A user has two groups where a visitor's events followed a login, which is rare.
        """
        return [pair for step in self._steps for pair in await _apply(step, store)]


async def _apply(step: _Step, store: UserStore) -> Sequence[tuple[Group, Applied]]:
    groups = list(step.groups.values())
    states = await store.apply([
        UserChanges(group.user, group.changes, group.ids, group.session, offset_runs(group.held)) for group in groups
    ])
    linked = {group.user: state.linked for group, state in zip(groups, states, strict=True)}
    places = {(group.user, group.session): place for place, group in enumerate(groups)}
    # whoever applied these before may have been killed inside `link`, which is safe to repeat
    again = {group.user for group, state in zip(groups, states, strict=True) if state.new_events < len(group.changes)}
    for user, visitor in step.turns:
        if user and (linked[user] != visitor or user in again):
            states[places[user, None]] = await store.link(user, visitor)
            linked[user] = visitor
        elif not user and (owner := linked[visitor]):
            await store.unlink(owner, visitor)
            linked[owner] = ""
            linked[visitor] = ""
    return list(zip(groups, states, strict=True))
