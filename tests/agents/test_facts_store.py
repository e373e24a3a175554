"""Which items can be bought, with more than one process that writes."""

from collections.abc import Awaitable, Callable, Mapping

import pytest
from redis.asyncio import Redis

from agents.state.facts_store import NO_LOCATION, Fact, FactsStore
from schemas import keys

pytestmark = pytest.mark.stack


class Interrupted(FactsStore):
    """Another process does something between this one's facts and its marks, once."""

    def __init__(self, redis: Redis, meanwhile: Callable[[], Awaitable[None]]) -> None:
        super().__init__(redis)
        self._meanwhile = [meanwhile]

    async def _mark(self, can_buy: Mapping[str, bool]) -> None:
        for once in self._meanwhile:
            self._meanwhile = []
            await once()
        await super()._mark(can_buy)


def stock(item_id: str, on_hand: int, timestamp_ms: int) -> Fact:
    return Fact("stock", item_id, NO_LOCATION, b'{"on_hand": %d}' % on_hand, timestamp_ms)


async def test_an_item_that_sold_out_while_it_was_written_to_the_catalogue_is_unavailable(
    redis: Redis, prefix: str
) -> None:
    other = FactsStore(redis)
    store = Interrupted(redis, lambda: other.write([stock(prefix, 0, 2)]))
    await store.write([Fact("item", prefix, "", b'{"title": "lamp"}', 1)])
    assert prefix in await store.unavailable()


async def test_an_item_that_came_back_while_it_was_marked_as_gone_is_available(redis: Redis, prefix: str) -> None:
    other = FactsStore(redis)
    store = Interrupted(redis, lambda: other.write([stock(prefix, 5, 2)]))
    await store.write([stock(prefix, 0, 1)])
    assert prefix not in await store.unavailable()


async def test_facts_that_come_again_or_late_change_nothing(redis: Redis, prefix: str) -> None:
    store = FactsStore(redis)
    await store.write([stock(prefix, 0, 2)])
    await store.write([stock(prefix, 5, 1), stock(prefix, 0, 2)])
    assert prefix in await store.unavailable()


async def test_of_facts_in_one_millisecond_the_later_record_decides(redis: Redis, prefix: str) -> None:
    store = FactsStore(redis)
    await store.write([Fact("item", prefix, "", b'{"title":"%s"}' % title, 1) for title in (b"lamp", b"rug")])
    await store.write([stock(prefix, 0, 1), stock(prefix, 5, 1)])
    assert await redis.hget(keys.item(prefix), "title") == b"rug"
    assert prefix not in await store.unavailable()
