"""Users of the shipped model's shop, with pasts of realistic length, and clicks of theirs without end."""

import itertools
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from agents.state.connection import connect
from agents.state.store import UserChanges, UserStore
from benchmarks.clicks import click, history_lengths, past, remember
from benchmarks.faults.traffic import Input
from model_core.registry import DEMO_CHECKPOINT
from schemas.inference import RecommendRequest
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM

LONGEST = 128  # events of a history that Redis keeps, and that the model reads
BUDGET_MS = 60_000
USERS_AT_ONCE = 200


class _Description(Struct):
    item_ids: tuple[str, ...]


def item_ids(checkpoint: Path = DEMO_CHECKPOINT) -> tuple[str, ...]:
    """What the model knows. Read without torch."""
    return msgspec.json.decode((checkpoint / "config.json").read_bytes(), type=_Description).item_ids


class Crowd:
    """`run` begins the ids of its users and of its events. They have no past until `load`."""

    def __init__(self, run: str, items: Sequence[str], seed: int) -> None:
        self.users: list[str] = []
        self._run = run
        self._items = items
        self._chance = random.Random(seed)
        self._serial = itertools.count()
        self._turn = 0

    async def load(self, settings: Settings, count: int) -> None:
        """Grow to so many users, and put the pasts of the new ones into Redis."""
        new = [f"{self._run}-{number}" for number in range(len(self.users), count)]
        lengths = history_lengths(len(new), LONGEST, self._chance)
        now_ms = int(datetime.now(UTC).timestamp() * 1000)
        await remember(settings, (
            past(user, length, self._items, now_ms, self._chance) for user, length in zip(new, lengths, strict=True)
        ))
        self.users += new

    def in_turn(self) -> Iterator[Input]:
        """A click of each user, then of each again: two of one user are as far apart as they can be."""
        while True:
            yield self._click(self._next())

    def visits(self, at_once: int, clicks: int) -> Iterator[Input]:
        """Clicks of so many users in random order, so that those of one meet; after so many each, of the next users.

        So histories stay about as long as they were, as with `in_turn`.
        """
        while True:
            visitors = [self._next() for _ in range(at_once)]
            for _ in range(at_once * clicks):
                yield self._click(self._chance.choice(visitors))

    def _next(self) -> str:
        user = self.users[self._turn % len(self.users)]
        self._turn += 1
        return user

    async def requests(self, settings: Settings) -> list[RecommendRequest]:
        """What an agent sends for each user, as of the state that is in Redis now."""
        redis = connect(settings.redis_url)
        try:
            store = UserStore(redis, settings)
            requests: list[RecommendRequest] = []
            for start in range(0, len(self.users), USERS_AT_ONCE):
                part = self.users[start : start + USERS_AT_ONCE]
                for applied in await store.apply([UserChanges(user) for user in part]):
                    requests.append(RecommendRequest(len(requests), BUDGET_MS, applied.event_time_ms, applied.state))
        finally:
            await redis.aclose()
        return requests

    def _click(self, user: str) -> Input:
        now = datetime.now(UTC)
        now = now.replace(microsecond=now.microsecond // 1000 * 1000)
        value = click(f"{self._run}-{next(self._serial):012d}", user, self._chance.choice(self._items), now,
                      self._chance)
        return Input(CLICKSTREAM, user, value, user, int(now.timestamp() * 1000))
