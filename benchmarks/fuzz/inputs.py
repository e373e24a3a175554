"""What one fuzzed input is: a Kafka record, or one message between an agent and a worker, packed into bytes.

Every sequence of bytes can be unpacked, so no mutation is wasted; what `pack` wrote comes back as it was. Knows the
layout only: not what a good input looks like, nor what is done with it.
"""

import struct
from enum import StrEnum, auto

from aiokafka import ConsumerRecord
from msgspec import Struct

from schemas.inference import PROTOCOL


class Route(StrEnum):
    """Where an input arrives."""

    CLICKSTREAM = auto()
    PURCHASES = auto()
    CATALOG = auto()
    INVENTORY = auto()
    ORDERS = auto()
    DEAD_LETTERS = auto()
    TO_WORKER = auto()
    TO_AGENT = auto()
    CONTROL = auto()


NOW_MS = 1_795_428_000_000  # 2026-11-23T10:00:00Z, the time of the contract's example
TIMESTAMPS_MS = (NOW_MS, -1, 0, (1 << 63) - 1)  # of a record; -1: it has none
MAX_HEADERS = 32
NONE_BYTES = 0xFFFF  # as the length of a header's value: it has none

_ROUTES = tuple(Route)
_HEAD = struct.Struct(">BBBBH")  # route, time, which of key and value are None, headers, length of the key
_HEADER = struct.Struct(">HH")  # lengths of name and value
_NO_VALUE, _NO_KEY = 1, 2

Header = tuple[str, bytes | None]


class Input(Struct, frozen=True):
    """One record; of a message, `key` is the first frame, the headers' values the next ones, and `value` the last."""

    route: Route
    value: bytes | None
    key: bytes | None = b"17"
    headers: tuple[Header, ...] = ()
    time: int = 0  # which of TIMESTAMPS_MS

    @property
    def frames(self) -> list[bytes]:
        parts = (self.key, *(value for _, value in self.headers), self.value)
        return [part for part in parts if part is not None]

    def record(self, topic: str) -> ConsumerRecord:
        return ConsumerRecord(
            topic, 0, 0, TIMESTAMPS_MS[self.time], 0, self.key, self.value, None, len(self.key or b""),
            len(self.value or b""), self.headers,
        )


def message(route: Route, payload: bytes) -> Input:
    """A message as both sides send it."""
    return Input(route, payload, PROTOCOL)


def pack(one: Input) -> bytes:
    """Raises ValueError where a header or the key is longer than the layout can say."""
    key, headers = one.key or b"", one.headers[:MAX_HEADERS]
    absent = _NO_VALUE * (one.value is None) + _NO_KEY * (one.key is None)
    try:
        parts = [_HEAD.pack(_ROUTES.index(one.route), one.time, absent, len(headers), len(key)), key]
        for name, value in headers:
            encoded = name.encode()
            parts += (_HEADER.pack(len(encoded), NONE_BYTES if value is None else len(value)), encoded, value or b"")
    except struct.error as error:
        raise ValueError(f"too long: {error}") from None
    return b"".join((*parts, one.value or b""))


def unpack(data: bytes) -> Input:
    """The input that these bytes are; what is cut short is read as far as it goes."""
    route, time, absent, header_count, key_bytes = _HEAD.unpack(data[: _HEAD.size].ljust(_HEAD.size, b"\0"))
    at = _HEAD.size + key_bytes
    key, headers = data[_HEAD.size : at], []
    for _ in range(header_count % (MAX_HEADERS + 1)):
        if at + _HEADER.size > len(data):
            break
        name_bytes, value_bytes = _HEADER.unpack_from(data, at)
        at += _HEADER.size
        # aiokafka gives names as str, and takes none that is not UTF-8
        name = data[at : at + name_bytes].decode(errors="replace")
        at += name_bytes
        headers.append((name, None if value_bytes == NONE_BYTES else data[at : at + value_bytes]))
        at += value_bytes if value_bytes != NONE_BYTES else 0
    return Input(
        _ROUTES[route % len(_ROUTES)], None if absent & _NO_VALUE else data[at:], None if absent & _NO_KEY else key,
        tuple(headers), time % len(TIMESTAMPS_MS),
    )
