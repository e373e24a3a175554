"""Catalogue, stock and orders in, Redis out: the facts that rules, replies and readers look up."""

from collections.abc import Sequence

import msgspec
from aiokafka import ConsumerRecord

from agents.dead_letters import DeadLetters
from agents.decoding import EventDecoder, Poison, RecordError
from agents.state.facts_store import NO_LOCATION, Fact, FactsStore
from agents.state.orders_store import OrderRecord, OrdersStore
from agents.transport.consumer import Chunk
from schemas import events
from schemas.topics import CATALOG, INVENTORY, ORDERS

TOPICS = (CATALOG, INVENTORY, ORDERS)
TYPES: dict[type[events.FactEvent], str] = {
    events.Item: CATALOG.name, events.StockLevel: INVENTORY.name, events.Order: ORDERS.name,
}

_encode = msgspec.json.Encoder().encode


class Facts:
    """One process's share of the capability."""

    def __init__(self, items: FactsStore, orders: OrdersStore, dead_letters: DeadLetters, prefix: str) -> None:
        self._items = items
        self._orders = orders
        self._dead_letters = dead_letters
        self._names = {topic.full_name(prefix): topic.name for topic in TOPICS}
        self._decoders: dict[str, EventDecoder[events.FactEvent]] = {
            # all types for each: msgspec does not ask for the `type` where only one is possible
            topic: EventDecoder(events.FactEvent) for topic in self._names
        }

    async def handle(self, taken: Sequence[Chunk]) -> None:
        """Write what the records say, in the order of each partition; acknowledge when Redis has it."""
        items: list[Fact] = []
        orders: list[OrderRecord] = []
        for chunk in taken:
            decode = self._decoders[chunk.partition.topic]
            for record in chunk.records:
                fact = self._withdrawal(record) if record.value is None else self._fact(record, decode(record))
                if isinstance(fact, Poison):
                    await self._dead_letters.send(record, fact)
                elif isinstance(fact, OrderRecord):
                    orders.append(fact)
                else:
                    items.append(fact)
        await self._items.write(items)
        await self._orders.write(orders)
        for chunk in taken:
            for record in chunk.records:
                chunk.window.done(chunk.partition, record.offset)

    def _fact(self, record: ConsumerRecord, event: events.FactEvent | Poison) -> Fact | OrderRecord | Poison:
        if isinstance(event, Poison):
            return event
        if TYPES[type(event)] != self._names[record.topic]:
            return Poison(RecordError(f"{type(event).__name__} events do not belong on this topic"))
        time_ms = max(0, record.timestamp)
        if isinstance(event, events.Order):
            return OrderRecord(event.data.order_id, event.data, time_ms)
        if isinstance(event, events.Item):
            return Fact("item", event.data.item_id, "", _encode(event.data), time_ms)
        return Fact("stock", event.data.item_id, event.data.location_id or NO_LOCATION, _encode(event.data), time_ms)

    def _withdrawal(self, record: ConsumerRecord) -> Fact | OrderRecord | Poison:
        try:
            key = (record.key or b"").decode()
        except UnicodeDecodeError as error:
            return Poison(error)
        if not key:
            return Poison(RecordError("a withdrawal needs the id of what is withdrawn as the record key"))
        time_ms = max(0, record.timestamp)
        name = self._names[record.topic]
        if name == ORDERS.name:
            return OrderRecord(key, None, time_ms)
        if name == INVENTORY.name:
            item_id, _, location = key.partition("|")
            return Fact("stock", item_id, location or NO_LOCATION, b"", time_ms)
        return Fact("item", key, "", b"", time_ms)
