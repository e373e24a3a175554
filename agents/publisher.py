"""Sends records and does not give up: a record is either delivered or the process is on its way out."""

import asyncio
import logging
import random
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

from aiokafka.errors import KafkaError, MessageSizeTooLargeError
from aiokafka.partitioner import murmur2

logger = logging.getLogger(__name__)

RETRY_S = (0.1, 0.3, 1.0, 3.0, 5.0)  # the producer itself has retried for its request time-out before we do

Headers = Sequence[tuple[str, bytes]]


@lru_cache(maxsize=65_536)  # users: the hash is pure Python, 8 CPU us for a short key
def _hash(key: bytes) -> int:
    return int(murmur2(key)) & 0x7FFFFFFF


def partition_of(key: bytes | None, partitions: Sequence[int], available: Sequence[int]) -> int:
    """Choose as every Kafka client does by default, and remember the hashes."""
    if key is None:
        return random.choice(available or partitions)  # noqa: S311 - spreads load, hides nothing
    return partitions[_hash(key) % len(partitions)]


class Producer(Protocol):
    """The part of aiokafka's producer that is used."""

    async def send(
        self, topic: str, value: bytes | None, key: bytes | None, partition: int | None, timestamp_ms: int | None,
        headers: Headers | None,
    ) -> "asyncio.Future[Any]":
        """Append to the batch of a partition; the future resolves when the broker has it."""


class Publisher:
    """Output records, each awaited: what is acknowledged on the input has arrived on the output."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()
    ) -> "asyncio.Future[Any]":
        """Queue one record; the future resolves when the broker has it, or fails with a KafkaError."""
        return await self._producer.send(topic, value, key, None, None, headers)

    async def deliver(self, topic: str, key: bytes | None, value: bytes | None, headers: Headers = ()) -> None:
        """Send and wait, again and again while Kafka is away.

        Raises MessageSizeTooLargeError, which no retry can mend.
        """
        attempt = 0
        while True:
            try:
                await (await self.send(topic, key, value, headers))
            except MessageSizeTooLargeError:
                raise
            except KafkaError as error:
                wait_s = RETRY_S[min(attempt, len(RETRY_S) - 1)]
                logger.warning("sending to %s failed (%r); again in %.1f s", topic, error, wait_s)
                await asyncio.sleep(wait_s)
                attempt += 1
            else:
                return
