"""Catalogue and stock in, Redis out: the facts that rules, replies and readers look up."""

from collections.abc import Sequence

import msgspec
from aiokafka import ConsumerRecord

from agents.dead_letters import DeadLetters
from agents.decoding import EventDecoder, Poison, RecordError
from agents.state.facts_store import NO_LOCATION, Fact, FactsStore
from agents.transport.consumer import Chunk
from schemas import events
from schemas.topics import CATALOG, INVENTORY

TOPICS = (CATALOG, INVENTORY)

_encode = msgspec.json.Encoder().encode


class Facts:
    """One process's share of the capability."""

    def __init__(self, store: FactsStore, dead_letters: DeadLetters, prefix: str) -> None:
        self._store = store
        self._dead_letters = dead_letters
        self._inventory = INVENTORY.full_name(prefix)
        self._decoders: dict[str, EventDecoder[events.FactEvent]] = {
            # both types for both: msgspec does not ask for the `type` where only one is possible
            topic.full_name(prefix): EventDecoder(events.FactEvent) for topic in TOPICS
        }

    async def handle(self, taken: Sequence[Chunk]) -> None:
        """Write what the records say, in the order of each partition; acknowledge when Redis has it."""
        facts = []
        for chunk in taken:
            decode = self._decoders[chunk.partition.topic]
            for record in chunk.records:
                fact = self._withdrawal(record) if record.value is None else self._fact(record, decode(record))
                if isinstance(fact, Poison):
                    await self._dead_letters.send(record, fact)
                else:
                    facts.append(fact)
        await self._store.write(facts)
        for chunk in taken:
            for record in chunk.records:
                chunk.window.done(chunk.partition, record.offset)

    def _fact(self, record: ConsumerRecord, event: events.FactEvent | Poison) -> Fact | Poison:
        if isinstance(event, Poison):
            return event
        if isinstance(event, events.Item) == (record.topic == self._inventory):
            return Poison(RecordError(f"{type(event).__name__} events do not belong on this topic"))
        if isinstance(event, events.Item):
            return Fact("item", event.data.item_id, "", _encode(event.data), max(0, record.timestamp))
        location = event.data.location_id or NO_LOCATION
        return Fact("stock", event.data.item_id, location, _encode(event.data), max(0, record.timestamp))

    def _withdrawal(self, record: ConsumerRecord) -> Fact | Poison:
        try:
            key = (record.key or b"").decode()
        except UnicodeDecodeError as error:
            return Poison(error)
        if not key:
            return Poison(RecordError("a withdrawal needs the item's id as the record key"))
        if record.topic == self._inventory:
            item_id, _, location = key.partition("|")
            return Fact("stock", item_id, location or NO_LOCATION, b"", max(0, record.timestamp))
        return Fact("item", key, "", b"", max(0, record.timestamp))
