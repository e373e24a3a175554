"""Stand-ins that tests share: records as a fetch would give them, and events in the contract's shape."""

import json
from collections.abc import Sequence
from typing import Any

from aiokafka import ConsumerRecord

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
