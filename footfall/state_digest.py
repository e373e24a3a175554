"""Compares users' states in Redis with what they should be. Reads the keys themselves, no script of the agents."""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isclose
from operator import eq
from typing import TYPE_CHECKING, TypeVar

from agents.state.reference import Counter, StateDigest
from schemas import keys

if TYPE_CHECKING:
    from redis.asyncio import Redis

USERS_PER_READ = 200  # up to 25 kB each
ROUNDING = 1e-9  # relative, and absolute where purchases and refunds cancel out
Value = TypeVar("Value")
_unpack = struct.Struct("<ddd").unpack


async def read_states(redis: "Redis", users: Sequence[str]) -> dict[str, StateDigest]:
    """What Redis keeps of each user; of sessions without consent, only what they did to the version."""
    found: dict[str, StateDigest] = {}
    for start in range(0, len(users), USERS_PER_READ):
        chunk = users[start : start + USERS_PER_READ]
        pipeline = redis.pipeline(transaction=False)
        for user in chunk:
            prefix = keys.user(user)
            pipeline.hmget(f"{prefix}:meta", "version", "event_time")
            pipeline.zrevrange(keys.history(user), 0, -1, withscores=True)
            pipeline.hgetall(f"{prefix}:counters")
            pipeline.hgetall(f"{prefix}:cart")
        answers = await pipeline.execute()
        for number, user in enumerate(chunk):
            found[user] = _digest(*answers[4 * number : 4 * number + 4])
    return found


def differences(expected: Mapping[str, StateDigest], found: Mapping[str, StateDigest]) -> list[str]:
    """A line for each user and part that differ, or none; a user who is missing in one of them counts as unknown.

    The lines name users and count the rest: they hold no items.
    """
    unknown = StateDigest()
    return [
        f"user {user}: {line}"
        for user in sorted(expected.keys() | found.keys())
        for line in _lines(expected.get(user, unknown), found.get(user, unknown))
    ]


def _digest(
    meta: list[bytes | None], history: list[tuple[bytes, float]], counters: dict[bytes, bytes], cart: dict[bytes, bytes]
) -> StateDigest:
    version, event_time_ms = meta
    return StateDigest(
        int(version or 0),
        int(event_time_ms or 0),
        tuple((member.decode(), int(time_ms)) for member, time_ms in history),
        {item.decode(): _counter(packed) for item, packed in counters.items()},
        {item.decode(): int(time_ms) for item, time_ms in cart.items()},
    )


def _counter(packed: bytes) -> Counter:
    fast, slow, as_of_ms = _unpack(packed)
    return Counter(fast, slow, int(as_of_ms))


def _lines(expected: StateDigest, found: StateDigest) -> Iterator[str]:
    if found.version != expected.version:
        yield f"version {found.version} instead of {expected.version}"
    if found.event_time_ms != expected.event_time_ms:
        yield f"newest event of {found.event_time_ms} ms instead of {expected.event_time_ms} ms"
    yield from _compared("history lines", dict(expected.history), dict(found.history), eq)
    yield from _compared("counters", expected.counters, found.counters, _agree)
    yield from _compared("cart entries", expected.cart, found.cart, eq)


def _compared(
    part: str, expected: Mapping[str, Value], found: Mapping[str, Value], agree: Callable[[Value, Value], bool]
) -> Iterator[str]:
    missing, more = expected.keys() - found.keys(), found.keys() - expected.keys()
    other = [name for name in expected.keys() & found.keys() if not agree(expected[name], found[name])]
    if missing or more or other:
        yield f"{part}: {len(missing)} missing, {len(more)} too many, {len(other)} different, of {len(expected)}"


def _agree(expected: Counter, found: Counter) -> bool:
    return expected.as_of_ms == found.as_of_ms and all(
        isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)
        for one, other in zip(expected[:2], found[:2], strict=True)
    )
