"""Facts about items in Redis: the catalogue, the stock, and which items cannot be bought."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from msgspec import Struct
from redis.asyncio import Redis

from agents.state.scripts import Script, while_away
from schemas import keys

NO_LOCATION = "-"


class Fact(Struct, frozen=True):
    """One record about one item. `json` is the value's data, empty for a withdrawal; "look" says nothing new."""

    kind: Literal["item", "stock", "look"]
    item_id: str
    location: str
    json: bytes
    timestamp_ms: int


class FactsStore:
    """The only writer of items and stock. Writing a fact again, or an older one, changes nothing."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._script = Script(redis, Path(__file__).parent / "facts.lua")

    async def write(self, facts: Sequence[Fact]) -> None:
        """Write facts in order, then what of it can be bought."""
        if not facts:
            return
        changed = await self._call(facts)
        while changed:
            await self._mark(changed)
            # an item's catalogue and stock may be two processes': who marks last looks whether that is still true
            now = await self._call([Fact("look", item_id, "", b"", 0) for item_id in changed])
            changed = {item_id: can for item_id, can in now.items() if can != changed[item_id]}

    async def _call(self, facts: Sequence[Fact]) -> dict[str, bool]:
        """Write the facts; whether each item can be bought after it."""
        answers = await self._script.call_each([
            (3, keys.item(fact.item_id), keys.stock(fact.item_id), f"{keys.stock(fact.item_id)}:as_of",
             fact.kind, fact.timestamp_ms, fact.location, fact.json)
            for fact in facts
        ])
        return {fact.item_id: answer == 1 for fact, answer in zip(facts, answers, strict=True)}

    async def _mark(self, can_buy: Mapping[str, bool]) -> None:
        gone = [item_id for item_id, can in can_buy.items() if not can]
        back = [item_id for item_id, can in can_buy.items() if can]

        async def mark() -> None:
            pipeline = self._redis.pipeline(transaction=False)
            if gone:
                pipeline.sadd(keys.UNAVAILABLE_ITEMS, *gone)
            if back:
                pipeline.srem(keys.UNAVAILABLE_ITEMS, *back)
            await pipeline.execute()

        await while_away(mark)

    async def unavailable(self) -> frozenset[str]:
        """The items that cannot be bought now."""
        async def read() -> frozenset[str]:
            members: set[bytes] = await self._redis.smembers(keys.UNAVAILABLE_ITEMS)  # type: ignore[assignment]
            return frozenset(member.decode() for member in members)

        return await while_away(read)

    async def popular(self) -> tuple[str, ...]:
        """The last model's popular items, for the time when there is no worker."""
        async def read() -> tuple[str, ...]:
            items: list[bytes] = await self._redis.lrange(keys.POPULAR_ITEMS, 0, -1)  # type: ignore[assignment]
            return tuple(item.decode() for item in items)

        return await while_away(read)

    async def save_popular(self, items: Sequence[str]) -> None:
        async def save() -> None:
            pipeline = self._redis.pipeline(transaction=True)
            pipeline.delete(keys.POPULAR_ITEMS)
            if items:
                pipeline.rpush(keys.POPULAR_ITEMS, *items)
            await pipeline.execute()

        await while_away(save)
