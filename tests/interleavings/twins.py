"""One user in Redis, and what lies on the topics, as values: what the scripts do to them, and what the records say."""

import struct
from collections.abc import Mapping, Sequence
from functools import cache
from typing import NamedTuple, cast

import msgspec
from aiokafka import ConsumerRecord

from agents.ack_window import OffsetRun, Partition
from agents.dead_letters import HEADER
from agents.decoding import Poison, customer_decoders, event_time_ms
from agents.state.reference import ReferenceStore, StateDigest
from agents.state.store import Applied, Debt, StoredResult, UserChanges
from schemas.inference import UserState
from schemas.results import Recommendations
from tests.interleavings.gated_process import TOPIC, Sent

Offset = tuple[Partition, int]
Log = Mapping[Partition, Sequence[ConsumerRecord]]

_decode_record = msgspec.json.Decoder(Recommendations).decode


class Kept(NamedTuple):
    """One user in Redis. `changes`: those that were new, one by one, in the order of their arrival.

    `open`: the version after each call with new events that no stored result reflects, and its records.
    """

    changes: tuple[UserChanges, ...] = ()
    result_version: int = -1
    covers: tuple[OffsetRun, ...] = ()
    data: bytes | None = None
    open: tuple[tuple[int, tuple[OffsetRun, ...]], ...] = ()
    debts: frozenset[tuple[str, Debt]] = frozenset()


class Redis:
    """The twin of apply.lua, finish.lua, GET and the debts; each returns what is kept from then on, and the answer."""

    def apply(self, kept: Kept, user: UserChanges) -> tuple[Kept, Applied]:
        fresh, state = _applied(kept.changes, user)
        unreflected = tuple(entry for entry in kept.open if entry[0] > kept.result_version)
        state = msgspec.structs.replace(
            state, new_events=len(fresh), result_version=kept.result_version,
            covers=(*kept.covers, *(run for _, runs in unreflected for run in runs)),
        )
        if fresh:
            unreflected = (*unreflected, (state.version, tuple(user.runs)))
        return kept._replace(changes=kept.changes + fresh, open=unreflected), state

    def finish(self, kept: Kept, result: StoredResult) -> tuple[Kept, bool]:
        if result.version < kept.result_version:
            return kept, False
        return kept._replace(result_version=result.version, covers=result.covers, data=result.data), True

    def read(self, kept: Kept, user: str) -> tuple[Kept, bytes | None]:
        return kept, kept.data

    def note(self, kept: Kept, noted: tuple[str, Partition, Debt | None]) -> tuple[Kept, None]:
        user, partition, debt = noted
        others = frozenset(other for other in kept.debts if (other[0], other[1].partition) != (user, partition))
        return kept._replace(debts=others if debt is None else others | {(user, debt)}), None

    def owed(self, kept: Kept, partition: Partition) -> tuple[Kept, tuple[tuple[str, Debt], ...]]:
        return kept, tuple(sorted(owed for owed in kept.debts if owed[1].partition == partition))


@cache
def _applied(before: tuple[UserChanges, ...], user: UserChanges) -> tuple[tuple[UserChanges, ...], Applied]:
    """Which of the changes are new, and the state after them."""
    store = ReferenceStore()
    for one in before:
        store.apply(one)
    fresh = []
    for number, change in enumerate(user.changes):
        one = UserChanges(user.user, (change,), user.ids[8 * number : 8 * number + 8], user.session)
        if store.apply(one).new_events:
            fresh.append(one)
    state = store.apply(UserChanges(user.user, session=user.session))
    packed = UserState(
        tuple([text for member, time_ms in state.history for text in (member, str(time_ms))]),
        tuple(state.counters),
        b"".join(struct.pack("<ddd", *counter) for counter in state.counters.values()),
        tuple([text for item, time_ms in state.cart.items() for text in (item, str(time_ms))]),
    )
    # bytes, which are equal and hashable; the process has them as Raw
    encoded = cast("msgspec.Raw", msgspec.msgpack.encode(packed))
    return tuple(fresh), Applied(state.version, state.event_time_ms, 0, 0, (), "", encoded)


@cache
def digests(kept: Kept) -> dict[str, StateDigest]:
    """The users' states, to be compared with `digests_of_input`."""
    store = ReferenceStore()
    for one in kept.changes:
        store.apply(one)
    return store.digests()


def digests_of_input(log: Log) -> dict[str, StateDigest]:
    store, decoders = ReferenceStore(), customer_decoders("retail")
    for partition, records in log.items():
        for record in records:
            event = decoders[partition.topic](record)
            assert not isinstance(event, Poison)
            store.take(event, event_time_ms(event.time.timestamp(), record.timestamp))
    return store.digests()


class Record(NamedTuple):
    id: str
    version: int
    covered: frozenset[Offset]
    data: bytes


class Topic(NamedTuple):
    """What was delivered, as far as it matters for what may still come."""

    bodies: frozenset[tuple[str, bytes]] = frozenset()  # by id
    covered: frozenset[Offset] = frozenset()  # dead letters included
    newest: int = -1
    last: bytes = b""  # of the newest version
    last_is_late: bool = False

    def plus(self, sent: Sent, *, late: bool) -> "Topic":
        """`late`: the sender was deposed before the delivery."""
        if sent.topic != TOPIC:
            headers = {name: value.decode() for name, value in sent.headers}
            topic, partition, offset = (headers[HEADER + name] for name in ("topic", "partition", "offset"))
            return self._replace(covered=self.covered | {(Partition(topic, int(partition)), int(offset))})
        record = read_record(sent.value)
        both = self._replace(
            bodies=self.bodies | {(record.id, record.data)}, covered=self.covered | record.covered
        )
        if record.version < self.newest:
            return both
        return both._replace(newest=record.version, last=record.data, last_is_late=late)


@cache
def read_record(value: bytes) -> Record:
    read = _decode_record(value)
    covered = frozenset(
        (Partition(run.topic, run.partition), offset)
        for run in read.data.covers for offset in range(run.first, run.last + 1)
    )
    return Record(read.id, read.data.history_version, covered, value[value.index(b'"data":') + 7 : -1])
