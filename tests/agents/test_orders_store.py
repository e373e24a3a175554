"""Orders in Redis: the newest record of each, and each customer's own, newest first."""

from datetime import UTC, datetime

import pytest
from redis.asyncio import Redis

from agents.state.orders_store import KEPT_ORDERS, OrderRecord, OrdersStore
from footfall.stack import Stack
from schemas import keys
from schemas.events import OrderData, OrderStatus

pytestmark = pytest.mark.stack


@pytest.fixture
def store(redis: Redis, stack: Stack) -> OrdersStore:
    return OrdersStore(redis, stack.settings)


def order(order_id: str, user: str, status: OrderStatus = "placed", placed_s: int = 0) -> OrderData:
    return OrderData(order_id=order_id, user_id=user, status=status, placed_at=datetime.fromtimestamp(placed_s, UTC))


def told(order: OrderData, timestamp_ms: int) -> OrderRecord:
    return OrderRecord(order.order_id, order, timestamp_ms)


async def test_records_that_come_again_or_late_change_nothing(store: OrdersStore, prefix: str) -> None:
    records = [told(order(prefix, prefix, "placed"), 1), told(order(prefix, prefix, "shipped"), 2)]
    await store.write(records)
    await store.write(records)
    await store.write(records[:1])
    known = await store.order(prefix)
    assert known is not None
    assert (known.order.status, known.as_of_ms) == ("shipped", 2)
    assert [found.order.order_id for found in await store.orders_of(prefix, 9)] == [prefix]


async def test_a_customers_orders_come_newest_first_and_are_bounded(
    store: OrdersStore, redis: Redis, prefix: str
) -> None:
    orders = [order(f"{prefix}-{number}", prefix, placed_s=number) for number in range(KEPT_ORDERS + 5)]
    await store.write([told(one, 1) for one in reversed(orders)])
    newest = [known.order.order_id for known in await store.orders_of(prefix, 3)]
    assert newest == [f"{prefix}-{KEPT_ORDERS + 4 - number}" for number in range(3)]
    assert await redis.zcard(keys.orders_of(prefix)) == KEPT_ORDERS
    assert await store.order(f"{prefix}-0") is not None


async def test_a_withdrawn_order_is_gone_and_an_older_record_does_not_bring_it_back(
    store: OrdersStore, redis: Redis, prefix: str
) -> None:
    await store.write([told(order(prefix, prefix), 2), OrderRecord(prefix, None, 3)])
    await store.write([told(order(prefix, prefix, "shipped"), 1)])
    assert await store.order(prefix) is None
    assert await store.orders_of(prefix, 9) == []
    assert not await redis.exists(keys.orders_of(prefix))


async def test_what_was_written_to_another_user_is_in_nobody_elses_list(store: OrdersStore, prefix: str) -> None:
    first, second = f"{prefix}-1", f"{prefix}-2"
    await store.write([told(order(prefix, first), 1)])
    await store.write([told(order(prefix, second), 2)])
    assert await store.orders_of(first, 9) == []
    assert [known.order.user_id for known in await store.orders_of(second, 9)] == [second]


async def test_every_key_has_a_time_to_live(store: OrdersStore, redis: Redis, prefix: str) -> None:
    await store.write([told(order(prefix, prefix), 1)])
    for key in (keys.order(prefix), keys.orders_of(prefix)):
        assert await redis.ttl(key) > 0
