"""Hop 4: at most one request in flight per user; newer events ride along on the next one.

Pure: no clock, no I/O. Merging loses nothing, since the state that a request carries holds every event applied so far
and its result covers the records of all that were merged. It is the first valve under overload.
"""

from collections.abc import Iterable, Sequence

from aiokafka import ConsumerRecord
from msgspec import Raw, Struct

from agents.ack_window import AckWindow, OffsetRun, Partition
from schemas.results import Trigger


class Held(Struct, frozen=True, gc=False):
    """A record that is not acknowledged yet, and the window that waits for it."""

    record: ConsumerRecord
    partition: Partition
    window: AckWindow

    def done(self) -> None:
        """Nothing needs the record any more."""
        self.window.done(self.partition, self.record.offset)


class Work(Struct, eq=False):
    """One user's next result: the newest state, and every record that the result will answer."""

    user: str
    session: str | None
    version: int
    event_time_ms: int
    state: Raw
    trigger: Trigger
    trigger_time_ms: int
    looked_at: tuple[str, ...]
    partition: Partition  # of the newest record
    answered: bool  # the stored result already reflects everything: send that again, ask no model
    deadline_s: float  # of the event that has waited longest
    open_covers: tuple[OffsetRun, ...] = ()  # what else the next result must cover, as of when the state was read
    held: list[Held] = []  # a new one for each
    outcome_s: float = 0.0  # when it was known what comes of it

    def absorb(self, newer: "Work") -> None:
        """Merge later work of the same user into this."""
        self.deadline_s = min(self.deadline_s, newer.deadline_s)
        self.held.extend(newer.held)
        self.answered = self.answered and newer.answered
        if newer.version >= self.version:
            self.session, self.version = newer.session, newer.version
            self.event_time_ms, self.state = newer.event_time_ms, newer.state
            self.open_covers = newer.open_covers
        if newer.trigger_time_ms >= self.trigger_time_ms:
            self.trigger, self.trigger_time_ms = newer.trigger, newer.trigger_time_ms
            self.looked_at, self.partition = newer.looked_at, newer.partition


class Coalescer:
    """Which users have a request in flight, and what waits behind it."""

    def __init__(self) -> None:
        self._in_flight: set[str] = set()
        self._next: dict[str, Work] = {}
        self.coalesced = 0

    def __len__(self) -> int:
        return len(self._in_flight)

    def __contains__(self, user: object) -> bool:
        return user in self._in_flight

    def offer(self, work: Work) -> Work | None:
        """Return the work to start now, or None when it rides along behind what is in flight."""
        if work.user not in self._in_flight:
            self._in_flight.add(work.user)
            return work
        self.coalesced += 1
        waiting = self._next.get(work.user)
        if waiting is None:
            self._next[work.user] = work
        else:
            waiting.absorb(work)
        return None

    def finished(self, user: str) -> Work | None:
        """Note that the user's request is over; return the next one to start, if any."""
        following = self._next.pop(user, None)
        if following is None:
            self._in_flight.discard(user)
        return following


def covers(work: Work) -> tuple[OffsetRun, ...]:
    """What a result of this work answers: its own records, and those that nothing else is known to answer.

    The stored result may be the last word of a process that was killed before it sent it; another process may have been
    killed after it applied events and before it had a result. This one reflects and replaces all that, so their records
    are covered here too, unless they are done: then they were answered.
    """
    own = offset_runs(work.held)
    window = work.held[-1].window if work.held else None
    others = [run for run in work.open_covers if window is None or not window.settled(run)]
    return _merged([*own, *others]) if others else own


def offset_runs(held: Sequence[Held]) -> tuple[OffsetRun, ...]:
    """The records' offsets, as few runs."""
    if len(held) == 1:  # as mostly, and called twice for each event
        (one,) = held
        topic, partition = one.partition
        offset = one.record.offset
        return (OffsetRun(topic, partition, offset, offset),)
    runs = [OffsetRun(*one.partition, one.record.offset, one.record.offset) for one in held]
    return _merged(runs)


def _merged(runs: Iterable[OffsetRun]) -> tuple[OffsetRun, ...]:
    """The same offsets, in order, without overlap."""
    merged: list[OffsetRun] = []
    for run in sorted(runs):
        last = merged[-1] if merged else None
        if last is not None and last[:2] == run[:2] and run.first <= last.last + 1:
            merged[-1] = last._replace(last=max(last.last, run.last))
        else:
            merged.append(run)
    return tuple(merged)
