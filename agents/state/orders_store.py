"""Orders in Redis: each by its id, and whose they are, newest first."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from agents.state.connection import send_all
from agents.state.scripts import Script, while_away
from schemas import keys
from schemas.events import OrderData
from schemas.settings import Settings

ORDER_TTL_S = 800 * 86_400  # customers ask for as long as the warranty of two years runs, and a little longer
KEPT_ORDERS = 50  # of a user; older ones are still found by their id

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(OrderData).decode


class OrderRecord(Struct, frozen=True):
    """One record of the `orders` topic. `order`: None for a withdrawal."""

    order_id: str
    order: OrderData | None
    timestamp_ms: int


class KnownOrder(Struct, frozen=True):
    """An order as it was at `as_of_ms`, the time of its record."""

    order: OrderData
    as_of_ms: int


class OrdersStore:
    """The only writer of orders. Writing a record again, or an older one, changes nothing."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._redis = redis
        self._user_ttl_s = settings.user_ttl_s
        self._script = Script(redis, Path(__file__).parent / "orders.lua")

    async def write(self, records: Sequence[OrderRecord]) -> None:
        """Write records in order. A customer's list may hold, for a moment, an order that is not there any more."""
        answers = await self._script.call_each(list(map(self._call, records))) if records else []
        commands: list[tuple[Any, ...]] = []
        for record, before in zip(records, answers, strict=True):
            if before is not None:
                commands += self._listing(record, before)
        if commands:
            await while_away(lambda: send_all(self._redis, commands))

    @staticmethod
    def _call(record: OrderRecord) -> tuple[Any, ...]:
        data = _encode(record.order) if record.order else b""
        return 1, keys.order(record.order_id), record.timestamp_ms, data, ORDER_TTL_S

    def _listing(self, record: OrderRecord, before: bytes) -> list[tuple[Any, ...]]:
        order, was_of = record.order, _decode(before).user_id if before else None
        is_of = order.user_id if order else None
        gone = [("ZREM", keys.orders_of(was_of), record.order_id)] if was_of not in {None, is_of} else []
        if order is None:
            return gone
        key = keys.orders_of(order.user_id)
        placed_ms = int(order.placed_at.timestamp() * 1000) if order.placed_at else record.timestamp_ms
        return [
            *gone, ("ZADD", key, placed_ms, record.order_id), ("ZREMRANGEBYRANK", key, 0, -KEPT_ORDERS - 1),
            ("EXPIRE", key, self._user_ttl_s),
        ]

    async def order(self, order_id: str) -> KnownOrder | None:
        """Whoever it belongs to: ask `order.user_id` before you tell anybody anything of it."""
        (found,) = await self._read([order_id])
        return found

    async def orders_of(self, user: str, count: int) -> list[KnownOrder]:
        """The user's newest orders, newest first."""
        newest = ("ZREVRANGE", keys.orders_of(user), 0, count - 1)
        (order_ids,) = await while_away(lambda: send_all(self._redis, [newest]))
        found = await self._read([order_id.decode() for order_id in order_ids])
        return [known for known in found if known is not None and known.order.user_id == user]

    async def _read(self, order_ids: Sequence[str]) -> list[KnownOrder | None]:
        if not order_ids:
            return []
        gets = [("HMGET", keys.order(order_id), "data", "as_of") for order_id in order_ids]
        answers = await while_away(lambda: send_all(self._redis, gets))
        return [KnownOrder(_decode(data), int(as_of)) if data else None for data, as_of in answers]
