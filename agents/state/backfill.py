"""Gives users a past without streaming it: writes the state that apply.lua would have left, in a few commands a user.

For users that have no state yet, before their events are streamed; a user with state is left alone. apply.lua itself
needs 150 us of Redis per purchase, which is right for a stream and too long for a year of a whole shop.
"""

import struct
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from agents.state.scripts import while_away
from schemas import keys
from schemas.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import Redis

# as in apply.lua; tests/demo/test_history.py compares the two
HISTORY, SEEN, ITEMS = 128, 1024, 512
FAST_DAYS, SLOW_DAYS = 30.0, 200.0


class UserPast(Struct, frozen=True):
    """A user's purchases, summed up.

    `history`: member and event time (ms) of at most `HISTORY` lines. `counters`: item to the count decayed with the
    fast and the slow half-life, and the time (ms) both are decayed to; at most `ITEMS`. `seen`: the newest `SEEN` ids,
    8 bytes each. `version` counts all purchases, `event_time_ms` is the newest's.
    """

    user: str
    history: Mapping[str, int]
    counters: Mapping[str, tuple[float, float, float]]
    seen: bytes
    version: int
    event_time_ms: int


class Backfill:
    """Writes pasts. Not atomic against a running `recommend`: load first, then stream."""

    def __init__(self, redis: "Redis", settings: Settings) -> None:
        self._redis = redis
        self._ttl_s = settings.user_ttl_s

    async def load(self, pasts: Sequence[UserPast]) -> int:
        """Write those of users without state, in one pipeline; returns how many these were."""
        known = await while_away(lambda: self._known(pasts))
        fresh = [past for past, is_known in zip(pasts, known, strict=True) if not is_known]
        if fresh:
            await while_away(lambda: self._write(fresh))
        return len(fresh)

    async def _known(self, pasts: Sequence[UserPast]) -> list[int]:
        pipeline = self._redis.pipeline(transaction=False)
        for past in pasts:
            pipeline.exists(f"{keys.user(past.user)}:meta")
        known: list[int] = await pipeline.execute()
        return known

    async def _write(self, pasts: Sequence[UserPast]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        pack = struct.Struct("<ddd").pack
        for past in pasts:
            prefix = keys.user(past.user)
            pipeline.zadd(f"{prefix}:history", dict(past.history))
            pipeline.hset(f"{prefix}:counters", mapping={item: pack(*values) for item, values in past.counters.items()})
            pipeline.set(f"{prefix}:seen", past.seen)
            pipeline.hset(f"{prefix}:meta", mapping={"version": past.version, "event_time": past.event_time_ms})
            for part in ("history", "counters", "seen", "meta"):
                pipeline.expire(f"{prefix}:{part}", self._ttl_s)
        await pipeline.execute()
