"""States of recent users as this process last saw them, so that Redis need not pack them again for each event.

The truth stays in Redis: a snapshot says of which version it is and which event was the last; apply.lua uses it only
while both are true. Whatever else happened to the user, in whatever process, the whole state comes instead.
New lines are spliced into the packed bytes that the worker gets: mostly, nothing of the history is decoded.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from itertools import chain

import msgspec
from msgspec import Raw, Struct

from agents.state.backfill import HISTORY

MAX_BYTES = 256 << 20  # some 35,000 users with full histories, 100,000 with 35 lines
ENTRY_BYTES = 500  # of a snapshot, besides its packed bytes
COUNTER_BYTES = 24  # of one item: three float64

_encode = msgspec.msgpack.Encoder().encode
_decode_lines = msgspec.msgpack.Decoder(tuple[str, ...]).decode


class Changed(Struct, frozen=True, array_like=True, gc=False):
    """Counters and parts of the cart with their new values, as in `UserState`."""

    counter_items: tuple[str, ...]
    counter_values: bytes
    cart: tuple[str, ...]


class _Parts(Struct, frozen=True, array_like=True, gc=False):
    """A `schemas.inference.UserState` whose history stays packed."""

    history: Raw
    counter_items: tuple[str, ...]
    counter_values: bytes
    cart: tuple[str, ...]


class Snapshot(Struct, frozen=True, gc=False):
    """A user's state when `last_event` (8 bytes) was applied as the last. Redis keeps it at least until `until_s`."""

    version: int
    last_event: bytes
    until_s: float
    state: Raw  # a packed UserState
    size: int  # about how many bytes it takes


NOTHING = Changed((), b"", ())
_decode_parts = msgspec.msgpack.Decoder(_Parts).decode


def after(state: Raw, lines: Raw, changed: Changed | None) -> Raw:
    """What becomes of a packed `UserState` by packed lines, newer than all that it has, newest first, and the rest."""
    kept, body = _array(state, at=1)
    new, new_body = _array(lines)
    fits = kept + new <= 2 * HISTORY
    if fits and changed is None:
        return Raw(b"".join((b"\x94", _array_head(kept + new), new_body, body)))
    before = _decode_parts(state)
    if fits:
        history = b"".join((_array_head(kept + new), new_body, _array(before.history)[1]))
    else:
        history = _encode((*_decode_lines(lines), *_decode_lines(before.history))[: 2 * HISTORY])
    return Raw(_encode(_merged(Raw(history), before, changed or NOTHING)))


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
        key, size = (user, session), ENTRY_BYTES + len(memoryview(state))
        before = self._snapshots.get(key)
        self._bytes += size if before is None else size - before.size
        # half: answers take time
        self._snapshots[key] = Snapshot(version, last_event, self._clock() + ttl_s / 2, state, size)
        self._snapshots.move_to_end(key)
        while self._bytes > self._max_bytes:
            _, oldest = self._snapshots.popitem(last=False)
            self._bytes -= oldest.size

    def drop(self, user: str, session: str | None) -> None:
        """Forget the one that is there, if any."""
        before = self._snapshots.pop((user, session), None)
        if before is not None:
            self._bytes -= before.size


def _array(packed: Raw, at: int = 0) -> tuple[int, memoryview]:
    """How many elements the array there has, and what follows its head: a byte for up to 15 of them, three for more."""
    view = memoryview(packed)
    head = view[at]
    return (head & 0x0F, view[at + 1 :]) if head < 0xDC else (view[at + 1] << 8 | view[at + 2], view[at + 3 :])


def _array_head(length: int) -> bytes:
    return bytes((0x90 | length,)) if length < 16 else b"\xdc" + length.to_bytes(2)


def _merged(history: Raw, before: _Parts, changed: Changed) -> _Parts:
    counters = _counters(before) | _counters(changed)
    cart = _dict(before.cart) | _dict(changed.cart)
    return _Parts(history, tuple(counters), b"".join(counters.values()), tuple(chain.from_iterable(cart.items())))


def _dict(flat: Sequence[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _counters(state: _Parts | Changed) -> dict[str, bytes]:
    values = state.counter_values
    return {item: values[n * COUNTER_BYTES : (n + 1) * COUNTER_BYTES] for n, item in enumerate(state.counter_items)}
