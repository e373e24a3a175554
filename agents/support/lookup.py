"""What the shop knows about a customer's question, from Redis: orders, the item that is meant, what is recommended.

Reads only, and of orders only the customer's own. Which item is meant is told by words: of the items that the customer
ordered, looked at lately or is recommended, the one whose title the message names; or one that it names by its id.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from redis.asyncio import Redis

from agents.results import decode_recommendations
from agents.state.connection import send_all
from agents.state.orders_store import KnownOrder, OrdersStore
from agents.state.scripts import while_away
from agents.support.planning import Item
from agents.support.policies import terms
from schemas import keys

OWN_ORDERS = 10
LOOKED_AT = 30  # lines of the history
ADVISED = 3  # more than a customer reads in a message
NAMED = 0.5  # of a title's words: below that it may be any item
MAX_WORDS = 200  # of a message that may be an item's id: each is two questions to Redis
MAX_IDS = 3  # that are looked up, of a message: more is an attempt to find some

ORDER_ID = re.compile(
    r"(?P<said>(?:(?<![a-z])(?:order|purchase|number|no\.?|nr\.?|id)|订单|訂單|单号|單號|#)(?:\sis\b)?[\s:：号是为#(]*)?"
    r"(?<![A-Za-z0-9.,:/-])(?!\d{4}-\d\d-\d\d(?!\d))(?P<id>[A-Za-z]{0,4}-?\d[\dA-Za-z-]{2,30})(?![A-Za-z0-9-]|[.,:/]\d)",
    re.IGNORECASE,
)

_decode_level = msgspec.json.Decoder(dict[str, Any]).decode


def order_ids(text: str) -> dict[str, bool]:
    """What may be an order's number, in the order of the text, and whether it is called one."""
    found: dict[str, bool] = {}
    for match in ORDER_ID.finditer(text):
        found[match["id"]] = found.get(match["id"], False) or match["said"] is not None
    return dict(list(found.items())[:MAX_IDS])


class Lookup:
    """Reads facts for one message at a time."""

    def __init__(self, redis: Redis, orders: OrdersStore) -> None:
        self._redis = redis
        self._orders = orders

    async def orders(self, user: str, named: Sequence[str]) -> tuple[KnownOrder, ...]:
        """The customer's newest orders, and those that were named, if they are the customer's."""
        newest = await self._orders.orders_of(user, OWN_ORDERS)
        have = {one.order.order_id for one in newest}
        others = [await self._orders.order(order_id) for order_id in named if order_id not in have]
        return (*newest, *(one for one in others if one is not None and one.order.user_id == user))

    async def advice(self, user: str) -> tuple[Item, ...]:
        """The best of what is recommended to the customer now, and can be bought."""
        ids = await self._recommended(user)
        items = await self._items(ids[: 4 * ADVISED])
        return tuple([item for item in items if item.on_hand is None or item.on_hand > 0][:ADVISED])

    async def item(self, user: str, text: str, orders: Sequence[KnownOrder]) -> Item | None:
        """The item that the message is about; None where that is not clear."""
        ordered = [line.item_id for one in orders for line in one.order.lines]
        (history,) = await while_away(
            lambda: send_all(self._redis, [("ZREVRANGE", keys.history(user), 0, LOOKED_AT - 1)])
        )
        seen = [line.decode().split(":", 1)[1].rsplit(":", 1)[0] for line in history]
        named = list(dict.fromkeys(re.findall(r"[\w-]+", text)))[:MAX_WORDS]
        ids = dict.fromkeys([*named, *ordered, *seen, *await self._recommended(user)])
        items = await self._items(list(ids))
        by_id = [item for item in items if item.item_id in named]
        return by_id[0] if by_id else _named(text, items)

    async def _recommended(self, user: str) -> list[str]:
        (stored,) = await while_away(lambda: send_all(self._redis, [("GET", keys.recommendations(user))]))
        return [item.item_id for item in decode_recommendations(stored).items] if stored else []

    async def _items(self, item_ids: Sequence[str]) -> list[Item]:
        """Those of them that the catalogue has."""
        if not item_ids:
            return []
        commands: list[tuple[Any, ...]] = []
        for item_id in item_ids:
            commands.append(("HMGET", keys.item(item_id), "title", "price", "as_of"))
            commands.append(("HVALS", keys.stock(item_id)))
        answers = await while_away(lambda: send_all(self._redis, commands))
        return [
            Item(item_id, title.decode(), float(price) if price else None, _on_hand(levels), int(as_of or 0))
            for item_id, (title, price, as_of), levels in zip(item_ids, answers[::2], answers[1::2], strict=True)
            if title
        ]


def _on_hand(levels: Iterable[bytes]) -> float | None:
    amounts = [max(0.0, float(_decode_level(level)["on_hand"])) for level in levels]
    return sum(amounts) if amounts else None


def _named(text: str, items: Sequence[Item]) -> Item | None:
    """The one whose title the text names best; None where none is named well, or two are named alike."""
    said = set(terms(text))
    scores = sorted(((_share(set(terms(item.title)), said), at) for at, item in enumerate(items)), reverse=True)
    if not scores or scores[0][0] < NAMED or (len(scores) > 1 and scores[1][0] == scores[0][0]):
        return None
    return items[scores[0][1]]


def _share(title: set[str], said: set[str]) -> float:
    return len(title & said) / len(title) if title else 0.0
