"""The ledger: what was sent, what was answered, and the contract's counts of what went wrong. Pure: no clock, no Kafka.

It is told of every input record that was sent and of every record on the results and dead-letter topics, in any
interleaving (a result may be read before the sender has heard of its own acknowledgement). Each costs O(1), for a
result O(offsets covered); memory is 9 bytes per input offset, one hash per result and one small row per user.
A record is answered by results of its own user only: one whose `covers` reach too far hides no loss.
What the counts mean: docs/contract.md.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec
from msgspec import Struct

TopicPartition = tuple[str, int]
_SENT, _ANSWERED, _DEAD = 1, 2, 4
NO_EVENT = -(2**62)


class Latency(Struct, frozen=True):
    """Percentiles in ms. NaN-free: all zero when nothing was answered yet."""

    p50: float
    p90: float
    p99: float


class Counts(Struct, frozen=True, kw_only=True):
    """The counts of the contract, plus what is still under way."""

    events_in: int
    events_acked: int
    results_out: int  # distinct result ids
    lost: int
    lost_offsets: int
    stale_users: int
    duplicated: int
    repeated: int
    older_over_newer: int
    dead_letters: int
    fallback_share: float
    latency_ms: Latency
    throughput_eps: float


class Answered(Struct):
    """What the model, or the fallback, answered.

    `results` were the first to answer something: not those that replace a fallback, nor what is sent again.
    `latency_counts`: how many events were answered after so many ms, `record_sent` to the result record's timestamp.
    """

    results: int = 0
    latency_counts: Counter[int] = msgspec.field(default_factory=Counter)

    @property
    def events(self) -> int:
        return self.latency_counts.total()


class StoredResult(Struct, frozen=True, gc=False):
    """What Redis holds for a user at the end."""

    history_version: int
    event_time_ms: int


class _User(Struct, gc=False):
    newest_event_ms: int = NO_EVENT
    newest_version: int = -1


class _Partition:
    """Flags and user per offset from `begin` on, and when those that still wait for their answer were sent."""

    def __init__(self, begin: int) -> None:
        self.begin = begin
        self.flags = bytearray()
        self.users = array("q")  # hashes
        self.sent_ms: dict[int, int] = {}
        # covered before the sender knew the offset, by hash of the user
        self.early: dict[int, dict[int, tuple[int, Answered]]] = {}
        self.answered = 0  # dead letters too

    def index(self, offset: int) -> int:
        at = offset - self.begin
        if at >= len(self.flags):
            more = at + 1 - len(self.flags)
            self.flags.extend(bytes(more))
            self.users.frombytes(bytes(8 * more))
        return at


class Ledger:
    """`begin`: the end offset of every input partition before the first send; older offsets belong to others.

    `once`: an input has one answer, as a support message has: a second one, of another id, counts as duplicated.
    """

    def __init__(self, begin: Mapping[TopicPartition, int], *, once: bool = False) -> None:
        self._begin = dict(begin)
        self._once = once
        self._partitions: dict[TopicPartition, _Partition] = {}
        self._users: dict[str, _User] = {}
        self._bodies: dict[int, int] = {}  # hash of the result id -> hash of the record's bytes
        self.by_model, self.by_fallback = Answered(), Answered()
        self._committed: dict[TopicPartition, int] = {}
        self._sent = self._waiting = self._dead = 0
        self._fallbacks = self._repeated = self._duplicated = self._fell = 0
        self._older_in_store = self._stale_users = 0
        self._first_sent_ms = self._last_answer_ms = 0

    @property
    def sent(self) -> int:
        """Input records sent."""
        return self._sent

    @property
    def waiting(self) -> int:
        """Input records sent that nothing has answered yet."""
        return self._waiting

    @property
    def results(self) -> int:
        return len(self._bodies)

    @property
    def dead_letters(self) -> int:
        return self._dead

    @property
    def answered(self) -> int:
        """Input records that a result answers."""
        return self.by_model.events + self.by_fallback.events

    @property
    def fallbacks(self) -> int:
        """Results that were not the model's."""
        return self._fallbacks

    @property
    def fallback_share(self) -> float:
        return self._fallbacks / max(1, len(self._bodies))

    @property
    def acked(self) -> int:
        """Input records that the consumer group has committed."""
        return sum(
            max(0, min(self._committed.get(place, 0) - part.begin, len(part.flags)))
            for place, part in self._partitions.items()
        )

    def is_answered(self, topic: str, partition: int, offset: int) -> bool:
        """Whether a result covers this input record, or it is a dead letter."""
        part = self._partitions.get((topic, partition))
        at = -1 if part is None else offset - part.begin
        return part is not None and 0 <= at < len(part.flags) and bool(part.flags[at] & (_ANSWERED | _DEAD))

    def answered_in(self, topic: str, partition: int) -> int:
        """How many input records of a partition are answered or dead letters."""
        part = self._partitions.get((topic, partition))
        return 0 if part is None else part.answered

    @property
    def latency_counts(self) -> Mapping[int, int]:
        """How many events were answered after so many ms: `record_sent` to the result record's timestamp."""
        return self.by_model.latency_counts + self.by_fallback.latency_counts

    @property
    def users(self) -> Iterable[str]:
        """Everybody whose stored result must be as new as their newest event."""
        return self._users.keys()

    def record_sent(
        self, topic: str, partition: int, offset: int, *, sent_ms: int, user: str, event_ms: int,
        visitor: str | None = None, result_free: bool = False,
    ) -> None:
        """One input record was acknowledged by the broker.

        `sent_ms` is the wall clock when it was handed to the producer. `visitor`: the user whose history the event
        links to `user`; that visitor has no result of its own any more. `result_free`: its kind calls for no result.
        `user` is empty for a record that is no event: a dead letter must answer it.
        """
        part = self._partition(topic, partition)
        at = part.index(offset)
        self._sent += 1
        self._first_sent_ms = min(self._first_sent_ms or sent_ms, sent_ms)
        already, part.users[at] = part.flags[at], hash(user)
        part.flags[at] = already | _SENT | (_ANSWERED if result_free else 0)
        early = part.early.pop(offset, {}).get(hash(user))
        if result_free:
            return
        if early is not None:
            at_ms, by = early
            part.flags[at] |= _ANSWERED
            part.answered += not already & _DEAD
            _took(by, at_ms - sent_ms)
        elif not already & _DEAD:
            part.sent_ms[offset] = sent_ms
            self._waiting += 1
        if not user:
            return
        row = self._user(user)
        row.newest_event_ms = max(row.newest_event_ms, event_ms)
        if visitor is not None and visitor != user and visitor in self._users:
            linked = self._users[visitor]
            row.newest_event_ms = max(row.newest_event_ms, linked.newest_event_ms)
            linked.newest_event_ms = NO_EVENT

    def record_result(
        self, result_id: str, body: bytes, *, user: str, history_version: int,
        covers: Iterable[tuple[str, int, int, int]], fallback: bool, at_ms: int,
    ) -> None:
        """One record of the results topic, in the order of its partition. `covers`: topic, partition, first, last.

        `at_ms` is the record's timestamp: it is made right after Redis accepted the result.
        """
        key, digest, covers = hash(result_id), hash(body), tuple(covers)
        known = self._bodies.get(key)
        if known is None:
            self._bodies[key] = digest
            self._fallbacks += fallback
            self._duplicated += self._once and any(self._has_answer(hash(user), cover) for cover in covers)
        elif known == digest:
            self._repeated += 1
        else:
            self._duplicated += 1
        row = self._user(user)
        self._fell += history_version < row.newest_version
        row.newest_version = max(row.newest_version, history_version)
        self._last_answer_ms = max(self._last_answer_ms, at_ms)
        by = self.by_fallback if fallback else self.by_model
        fresh = [self._cover(self._partition(topic, partition), hash(user), first, last, at_ms, by)
                 for topic, partition, first, last in covers]
        by.results += any(fresh)

    def record_dead_letter(self, topic: str, partition: int, offset: int) -> None:
        """One record of a dead-letter topic; the place is that of its source record."""
        part = self._partition(topic, partition)
        if offset < part.begin:
            return
        at = part.index(offset)
        if part.flags[at] & _DEAD:
            return  # the same record, dead-lettered again after a redelivery
        self._dead += 1
        part.answered += not part.flags[at] & _ANSWERED
        part.flags[at] |= _DEAD
        if part.sent_ms.pop(offset, None) is not None:
            self._waiting -= 1

    def record_committed(self, committed: Mapping[TopicPartition, int]) -> None:
        """The consumer group's committed offsets, now."""
        self._committed.update(committed)

    def record_stored(self, user: str, stored: StoredResult | None) -> None:
        """What Redis holds for one of `users`; call it once per user, after everything was drained."""
        row = self._users[user]
        if row.newest_event_ms != NO_EVENT:
            self._stale_users += stored is None or stored.event_time_ms < row.newest_event_ms
        self._older_in_store += stored is not None and stored.history_version < row.newest_version

    def counts(self) -> Counts:
        """Everything so far. Before a drain, `lost_offsets` includes what is merely under way."""
        seconds = (self._last_answer_ms - self._first_sent_ms) / 1000
        return Counts(
            events_in=self._sent, events_acked=self.acked, results_out=len(self._bodies),
            lost=self._waiting + self._stale_users, lost_offsets=self._waiting, stale_users=self._stale_users,
            duplicated=self._duplicated, repeated=self._repeated, older_over_newer=self._fell + self._older_in_store,
            dead_letters=self._dead, fallback_share=self.fallback_share, latency_ms=percentiles(self.latency_counts),
            throughput_eps=self.answered / seconds if seconds > 0 else 0.0,
        )

    def _user(self, user: str) -> _User:
        row = self._users.get(user)
        if row is None:
            row = self._users[user] = _User()
        return row

    def _partition(self, topic: str, partition: int) -> _Partition:
        part = self._partitions.get((topic, partition))
        if part is None:
            begin = self._begin.get((topic, partition), 0)
            part = self._partitions[topic, partition] = _Partition(begin)
        return part

    def _has_answer(self, user: int, cover: tuple[str, int, int, int]) -> bool:
        """Whether any of these was answered before."""
        topic, partition, first, last = cover
        part = self._partition(topic, partition)
        return any(
            self.is_answered(topic, partition, offset) or user in part.early.get(offset, {})
            for offset in range(first, last + 1)
        )

    def _cover(self, part: _Partition, user: int, first: int, last: int, at_ms: int, by: Answered) -> bool:
        """Whether it is the first to answer one of these."""
        is_first = False
        for offset in range(max(first, part.begin), last + 1):
            at = part.index(offset)
            flags = part.flags[at]
            if not flags & _SENT:
                if not flags & _DEAD and user not in (early := part.early.setdefault(offset, {})):
                    early[user], is_first = (at_ms, by), True
                continue
            if flags & _ANSWERED or part.users[at] != user:
                continue
            part.answered += not flags & _DEAD
            part.flags[at] = flags | _ANSWERED
            is_first = True
            if (sent_ms := part.sent_ms.pop(offset, None)) is not None:
                self._waiting -= 1
                _took(by, at_ms - sent_ms)
        return is_first


def _took(by: Answered, ms: int) -> None:
    by.latency_counts[max(0, ms)] += 1


def percentiles(counts: Mapping[int, int]) -> Latency:
    """Nearest-rank percentiles of ms -> how many."""
    total = sum(counts.values())
    ranked = sorted(counts.items())

    def at(share: float) -> float:
        rank, seen = share * total, 0
        for ms, count in ranked:
            seen += count
            if seen >= rank:
                return float(ms)
        return 0.0

    return Latency(at(0.5), at(0.9), at(0.99))
