"""`python -m benchmarks.user_state --json FILE`: what a user's state costs Redis, by how long the user is known.

CPU of Redis per call of apply.lua with one event, with the state packed whole and told as a difference to who remembers
it (`agents/state/snapshots.py`), and what either costs the agent; CPU per call of finish.lua; memory per user. Calls
come as agents make them: by `UserStore`, many in one pipeline. Both ways take turns, round after round.
"""

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from msgspec import Raw, Struct
from redis.asyncio import Redis

from agents.ack_window import OffsetRun, Partition
from agents.coalescer import Work
from agents.results import make_result
from agents.state.changes import Change
from agents.state.connection import connect
from agents.state.snapshots import Snapshots
from agents.state.store import StoredResult, UserChanges, UserStore
from benchmarks import reports
from benchmarks.clicks import ITEM_IDS
from benchmarks.reports import say
from footfall.stack import Stack
from schemas import keys
from schemas.results import Reason, RecommendedItem, Trigger
from schemas.settings import Settings

LENGTHS = (25, 65, 125, 205, 405)  # events of a user so far; a history keeps 128 of them
MEMORY_AT = (128, 300)
MEMORY_TARGET_BYTES = 8000  # of the state after 128 events
KINDS = ("view", "select", "cart", "wishlist", "purchase")
WEIGHTS = (60, 15, 12, 3, 10)
AT_ONCE = 50  # users in one pipeline
CALLS = 4  # of each user in one round
SHOWN = 20
PARTS = ("history", "seen", "counters", "cart", "meta", "recommendations")  # of a user's keys
MINUTE_MS = 60_000
PARTITION = Partition("clickstream", 3)

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


class Cost(Struct, frozen=True):
    """CPU microseconds per call, of Redis and of the process that calls it."""

    redis_us: float
    caller_us: float


class Crowd:
    """Users who do what customers do, one event a minute each."""

    def __init__(self, name: str, count: int, seed: int) -> None:
        self.users = [f"{name}-{number}" for number in range(count)]
        self._chance = random.Random(seed)
        self._time_ms = int(time.time() * 1000) - 1000 * MINUTE_MS

    def events(self, count: int) -> list[UserChanges]:
        """The next `count` events of each user, in one call each."""
        return [self._events(user, count) for user in self.users]

    def _events(self, user: str, count: int) -> UserChanges:
        ids = self._chance.randbytes(8 * count)
        self._time_ms += MINUTE_MS
        changes = tuple(self._change(ids[n * 8 : n * 8 + 8], self._time_ms - (count - n) * 10) for n in range(count))
        return UserChanges(user, changes, ids)

    def _change(self, seen_as: bytes, time_ms: int) -> Change:
        kind, item = self._chance.choices(KINDS, WEIGHTS)[0], self._chance.choice(ITEM_IDS)
        bought = (item,) if kind == "purchase" else ()
        return Change(
            time_ms, (f"{kind}:{item}:{seen_as.hex()}",), bought, (), (item,) if kind == "cart" else (), bought
        )


class Measured:
    """One stack's Redis, and the costs of calls to it."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._whole = UserStore(redis, settings, Snapshots(max_bytes=0))
        self._told = UserStore(redis, settings)

    async def introduce(self, crowd: Crowd, length: int) -> None:
        """Bring users to one event less than `length`, and let the second store know them by their next."""
        for part in _parts(crowd.events(length - 2)):
            await self._whole.apply(part)
        for part in _parts(crowd.events(1)):
            await self._told.apply(part)

    async def whole(self, crowd: Crowd) -> Cost:
        """Events of users whom nobody remembers."""
        return await self._events(self._whole, crowd)

    async def told(self, crowd: Crowd) -> Cost:
        """Events of users whom the caller remembers."""
        return await self._events(self._told, crowd)

    async def finish(self, crowd: Crowd) -> Cost:
        """Newer and newer results."""
        calls = [
            [StoredResult(user, version, stored_result(user, version), None) for user in crowd.users]
            for version in range(1000, 1000 + CALLS)
        ]
        return await self._cost(self._whole.store_results, calls)

    async def memory(self, user: str) -> dict[str, int]:
        """Bytes of each of a user's keys, with what Redis needs around them."""
        return {part: await self._redis.memory_usage(f"{keys.user(user)}:{part}", samples=0) or 0 for part in PARTS}

    async def _events(self, store: UserStore, crowd: Crowd) -> Cost:
        return await self._cost(store.apply, [crowd.events(1) for _ in range(CALLS)])

    async def _cost(self, call: Callable[[Sequence[T]], Awaitable[object]], of_rounds: Sequence[Sequence[T]]) -> Cost:
        pipelines = [part for of_round in of_rounds for part in _parts(of_round)]
        redis_s, caller_s = await self._redis_cpu_s(), time.process_time()
        for pipeline in pipelines:
            await call(pipeline)
        caller_s, calls = time.process_time() - caller_s, sum(map(len, pipelines))
        return Cost((await self._redis_cpu_s() - redis_s) / calls * 1e6, caller_s / calls * 1e6)

    async def _redis_cpu_s(self) -> float:
        used = await self._redis.info("cpu")
        return float(used["used_cpu_user"]) + float(used["used_cpu_sys"])


def stored_result(user: str, version: int) -> bytes:
    """A result of 20 items with reasons, as it is stored."""
    work = Work(
        user, None, version, 0, Raw(b""), Trigger("storefront/web", f"{user}-{version}"), 0, (), PARTITION,
        answered=False, deadline_s=0.0,
    )
    items = [
        _encode(RecommendedItem(item, 0.012345, Reason("related", ITEM_IDS[-2:]))) for item in ITEM_IDS[:SHOWN]
    ]
    return make_result(
        work, items, (OffsetRun(*PARTITION, version, version),), origin="model", model=("recommender", "2026-01-01"),
        now_ms=0,
    ).data


async def measure(settings: Settings, users: int, rounds: int) -> dict[str, Any]:
    """All rounds: figures by the events of a user, `{"whole": {"25": {"redis_us": …}}}`, and the memory."""
    costs: dict[str, dict[int, list[Cost]]] = {name: {n: [] for n in LENGTHS} for name in ("whole", "told", "finish")}
    async with connect(settings.redis_url) as redis:
        measured = Measured(redis, settings)
        for number in range(rounds + 1):  # the first one warms up
            for length in LENGTHS:
                crowd = Crowd(f"bench-{time.time_ns()}", users, seed=length)
                await measured.introduce(crowd, length)
                round_costs = {
                    "told": await measured.told(crowd), "whole": await measured.whole(crowd),
                    "finish": await measured.finish(crowd),
                }
                for name, cost in round_costs.items():
                    costs[name][length] += [cost] if number else []
                await _forget(redis, crowd)
            say(f"round {number} of {rounds}" if number else "warmed up")
        memory = {str(length): await _memory(redis, measured, length) for length in MEMORY_AT}
    return {
        **{name: {str(length): _spread(of) for length, of in by_length.items()} for name, by_length in costs.items()},
        "memory_bytes": memory,
        "state_bytes": {length: sum(of.values()) - of["recommendations"] for length, of in memory.items()},
        "memory_target_bytes": MEMORY_TARGET_BYTES,
        "users": users, "rounds": rounds, "users_per_pipeline": AT_ONCE,
    }


async def _memory(redis: Redis, measured: Measured, length: int) -> dict[str, int]:
    """Of users with so many events, on average."""
    crowd = Crowd(f"bench-{time.time_ns()}", AT_ONCE, seed=length)
    await measured.introduce(crowd, length)
    await measured.finish(crowd)
    of = [await measured.memory(user) for user in crowd.users]
    await _forget(redis, crowd)
    return {name: round(sum(one[name] for one in of) / len(of)) for name in of[0]}


async def _forget(redis: Redis, crowd: Crowd) -> None:
    for users in _parts(crowd.users):
        await redis.unlink(*(f"{keys.user(user)}:{part}" for user in users for part in PARTS))


def _parts(of: Sequence[T]) -> list[Sequence[T]]:
    return [of[start : start + AT_ONCE] for start in range(0, len(of), AT_ONCE)]


def _spread(of: Sequence[Cost]) -> dict[str, dict[str, float]]:
    return {
        "redis_us": reports.spread([cost.redis_us for cost in of]),
        "caller_us": reports.spread([cost.caller_us for cost in of]),
    }


def table(measured: dict[str, Any]) -> str:
    """The figures for people: medians of the rounds."""
    lines = [f"{'events of the user':42}" + "".join(f"{length:>8}" for length in LENGTHS)]
    for name, title in (("whole", "apply.lua, state packed whole"), ("told", "apply.lua, a difference told"),
                        ("finish", "finish.lua")):
        for field, who in (("redis_us", "Redis"), ("caller_us", "caller")):
            values = (measured[name][str(length)][field]["median"] for length in LENGTHS)
            lines.append(f"{title + ': ' + who:42}" + "".join(f"{value:8.0f}" for value in values))
    for length, of in measured["memory_bytes"].items():
        parts = ", ".join(f"{name} {count:,}" for name, count in of.items())
        lines.append(f"bytes after {length} events: state {measured['state_bytes'][length]:,} ({parts})")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.user_state", description="What a user costs Redis.")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--users", type=int, default=500, metavar="N", help="of each length")
    parser.add_argument("--rounds", type=int, default=5, metavar="N")
    options = parser.parse_args(arguments)
    with Stack(Settings.from_environment()) as stack:
        measured = asyncio.run(measure(stack.settings, options.users, options.rounds)) | {
            **reports.surroundings(stack), **reports.origin(),
        }
    print(table(measured))
    reports.write(measured, options.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
