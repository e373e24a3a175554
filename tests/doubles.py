"""Stand-ins that tests share: records as a fetch would give them, and events in the contract's shape."""

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any

from aiokafka import ConsumerRecord
from aiokafka.errors import KafkaError, KafkaTimeoutError

from agents.publisher import Batch, Headers

NOW_MS = 1_763_892_000_000  # 2025-11-23T10:00:00Z
NOW = "2025-11-23T10:00:00.000Z"


def record(
    value: bytes | None,
    *,
    topic: str = "retail.clickstream.v1",
    partition: int = 0,
    offset: int = 0,
    key: bytes | None = b"17",
    headers: Sequence[tuple[str, bytes]] = (),
    timestamp_ms: int = NOW_MS,
) -> ConsumerRecord:
    return ConsumerRecord(
        topic, partition, offset, timestamp_ms, 0, key, value, None, len(key or b""), len(value or b""), headers
    )


def envelope(kind: str, data: dict[str, Any], *, id: str = "e1", time: str = NOW, **extra: Any) -> dict[str, Any]:  # noqa: A002
    return {
        "specversion": "1.0", "id": id, "source": "storefront/web", "type": f"retail.{kind}.v1", "time": time,
        "datacontenttype": "application/json", "data": data, **extra,
    }


def click(
    item: str = "1044078", *, user: str = "17", kind: str = "view_item", id: str = "e1", **data: Any  # noqa: A002
) -> dict[str, Any]:
    return envelope(kind, {"user_id": user, "items": [{"item_id": item}], **data}, id=id)


def purchase(items: Sequence[str], *, user: str = "17", id: str = "p1", time: str = NOW, **data: Any) -> dict[str, Any]:  # noqa: A002
    return envelope(
        "purchase",
        {"user_id": user, "transaction_id": f"t-{id}", "items": [{"item_id": item} for item in items], **data},
        id=id, time=time,
    )


def as_bytes(event: dict[str, Any]) -> bytes:
    return json.dumps(event).encode()


class RecordedBatch:
    """Takes `capacity` records and then is full, as aiokafka's `BatchBuilder` at its size."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.records: list[tuple[bytes, bytes]] = []
        self.closed = False

    def append(self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: Headers) -> object:
        if len(self.records) == self.capacity:
            return None
        assert value is not None
        self.records.append((key or b"", value))
        return self

    def close(self) -> None:
        self.closed = True


class RecordingProducer:
    """Takes batches as aiokafka's producer does; the test decides when, and whether, they arrive."""

    def __init__(self, partitions: int = 1, capacity: int = 1000) -> None:
        self.partitions, self.capacity = partitions, capacity
        self.records: list[tuple[str, bytes, bytes]] = []  # those that arrived
        self.sizes: list[int] = []  # of the batches that were sent
        self.used: set[int] = set()  # partitions
        self.pending: list[asyncio.Future[None]] = []
        self.failures: list[KafkaError] = []  # of the next batches
        self.hold = False
        self.arrived = asyncio.Condition()

    async def partitions_for(self, topic: str) -> Collection[int]:
        return set(range(self.partitions))

    def create_batch(self) -> RecordedBatch:
        return RecordedBatch(self.capacity)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> "asyncio.Future[Any]":
        assert isinstance(batch, RecordedBatch)
        assert batch.closed
        assert partition < self.partitions
        self.sizes.append(len(batch.records))
        self.used.add(partition)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, KafkaTimeoutError):  # as when the metadata are not to be had
                raise failure
            future.set_exception(failure)
        elif self.hold:
            self.pending.append(future)
        else:
            future.set_result(None)
            async with self.arrived:
                self.records += [(topic, key, value) for key, value in batch.records]
                self.arrived.notify_all()
        return future

    async def until(self, count: int) -> list[bytes]:
        """The values of the first `count` records that arrive."""
        async with asyncio.timeout(5), self.arrived:
            await self.arrived.wait_for(lambda: len(self.records) >= count)
        return [value for _, _, value in self.records]
