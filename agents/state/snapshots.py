"""States of recent users as this process last saw them, so that Redis need not pack them again for each event.

The truth stays in Redis: a snapshot says of which version it is and which event was the last; apply.lua uses it only
while both are true. Whatever else happened to the user, in whatever process, the whole state comes instead.
A new line is spliced into the packed bytes that the worker gets: mostly, nothing of the state is decoded.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec
from msgspec import Raw, Struct

from agents.state.backfill import HISTORY
from schemas.inference import UserState, history_lines, user_state_decoder

MAX_BYTES = 256 << 20  # some 35,000 users with full histories, 100,000 with 35 lines
ENTRY_BYTES = 500  # of a snapshot, besides its packed bytes
COUNTER_BYTES = 24  # of one item: three float64

_encode = msgspec.msgpack.Encoder().encode


class Snapshot(Struct, frozen=True, gc=False):
    """A user's state when `last_event` (8 bytes) was applied as the last. Redis keeps it at least until `until_s`."""

    version: int
    last_event: bytes
    until_s: float
    state: Raw  # a packed UserState

    @property
    def size(self) -> int:
        """About how many bytes it takes."""
        return ENTRY_BYTES + memoryview(self.state).nbytes


def after(state: Raw, changed: UserState) -> Raw:
    """What becomes of a packed `UserState` by a difference, as apply.lua tells it."""
    lines = _newest_first(_pairs(changed.history))
    count = history_lines(state) + len(lines)
    if count > HISTORY or changed.counter_items or changed.cart:
        return Raw(_encode(_merged(user_state_decoder.decode(state), lines, changed)))
    head = len(_array_head(2 * history_lines(state)))
    start = b"".join((b"\x94", _array_head(2 * count), *map(_packed, lines)))
    return Raw(b"".join((start, memoryview(state)[1 + head :])))


class Snapshots:
    """Of recent users, and of their sessions without consent; the least recently used go first."""

    def __init__(self, max_bytes: int = MAX_BYTES, clock: Callable[[], float] = time.monotonic) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._snapshots: OrderedDict[tuple[str, str | None], Snapshot] = OrderedDict()

    def __len__(self) -> int:
        return len(self._snapshots)

    def get(self, user: str, session: str | None) -> Snapshot | None:
        """None where there is none, or Redis may have let the state expire."""
        snapshot = self._snapshots.get((user, session))
        return snapshot if snapshot is not None and snapshot.until_s > self._clock() else None

    def put(
        self, user: str, session: str | None, version: int, last_event: bytes, ttl_s: float, state: Raw
    ) -> None:
        """Remember a state that Redis just renewed for `ttl_s`, in place of the one before."""
        self.drop(user, session)
        snapshot = Snapshot(version, last_event, self._clock() + ttl_s / 2, state)  # half: answers take time
        self._snapshots[user, session] = snapshot
        self._bytes += snapshot.size
        while self._bytes > self._max_bytes:
            _, oldest = self._snapshots.popitem(last=False)
            self._bytes -= oldest.size

    def drop(self, user: str, session: str | None) -> None:
        """Forget the one that is there, if any."""
        before = self._snapshots.pop((user, session), None)
        if before is not None:
            self._bytes -= before.size


def _pairs(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _newest_first(lines: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """As ZREVRANGE orders: by time, of one time by member (UTF-8 keeps the order of code points)."""
    return sorted(lines, key=lambda line: (int(line[1]), line[0]), reverse=True) if len(lines) > 1 else lines


def _packed(line: tuple[str, str]) -> bytes:
    return _encode(line)[1:]


def _array_head(length: int) -> bytes:
    return bytes((0x90 | length,)) if length < 16 else b"\xdc" + length.to_bytes(2)


def _merged(before: UserState, lines: list[tuple[str, str]], changed: UserState) -> UserState:
    counters = _counters(before) | _counters(changed)
    cart = dict(_pairs(before.cart)) | dict(_pairs(changed.cart))
    history = (*chain.from_iterable(lines), *before.history)[: 2 * HISTORY]
    return UserState(history, tuple(counters), b"".join(counters.values()), tuple(chain.from_iterable(cart.items())))


def _counters(state: UserState) -> dict[str, bytes]:
    values = state.counter_values
    return {item: values[n * COUNTER_BYTES : (n + 1) * COUNTER_BYTES] for n, item in enumerate(state.counter_items)}
