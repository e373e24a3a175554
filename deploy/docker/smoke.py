"""Is a running system alive? One purchase goes in through Kafka, its recommendations must appear in Valkey.

Knows the public contract only (topic, event, key), not the code: plain aiokafka and redis.
"""

import asyncio
import json
import os
import sys
import time
import uuid
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer
from redis.asyncio import Redis

BUDGET_S = 120.0  # the first event may wait for a consumer group that is still forming


async def check(bootstrap_servers: str, redis_url: str, prefix: str) -> None:
    """Send the purchase, then wait for the result. Raises TimeoutError."""
    user = f"smoke-{uuid.uuid4()}"
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": "smoke",
        "type": "retail.purchase.v1",
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
        "data": {"user_id": user, "transaction_id": user, "items": [{"item_id": "1044078", "quantity": 1}]},
    }
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        await producer.send_and_wait(f"{prefix}.purchases.v1", json.dumps(event).encode(), key=user.encode())
    sent = time.monotonic()
    async with Redis.from_url(redis_url) as redis, asyncio.timeout(BUDGET_S):
        while (value := await redis.get(f"user:{{{user}}}:recommendations")) is None:  # noqa: ASYNC110 - another process writes it
            await asyncio.sleep(0.1)
    result = json.loads(value)
    print(f"{len(result['items'])} items by {result['origin']} after {time.monotonic() - sent:.1f} s")


if __name__ == "__main__":
    try:
        asyncio.run(
            check(
                os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "127.0.0.1:9092"),
                os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"),
                os.environ.get("FOOTFALL_PREFIX", "retail"),
            )
        )
    except TimeoutError:
        sys.exit(f"No recommendations within {BUDGET_S:.0f} s: look at the logs of `recommend`, `worker` and `kafka`.")
