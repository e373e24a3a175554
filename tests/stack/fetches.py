"""A consumer for tests: gives what the test has laid out, a fetch at a time."""

import asyncio
from collections.abc import Iterable

from aiokafka import ConsumerRecord, TopicPartition

from footfall.topic_reader import TopicReader
from tests.doubles import record

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


def at(partition: TopicPartition, offset: int, time_ms: int = 0) -> ConsumerRecord:
    return record(b"x", topic=partition.topic, partition=partition.partition, offset=offset, timestamp_ms=time_ms)


class Fetches:
    """A fetch tells the end of a partition only where it has a record of it. When there are no more, it is silent."""

    def __init__(self, *fetches: Iterable[ConsumerRecord], ends: dict[TopicPartition, int]) -> None:
        self._fetches = list(fetches)
        self.ends = ends
        self._positions: dict[TopicPartition, int] = {}

    def assign(self, partitions: list[TopicPartition]) -> None:
        assert partitions == list(self.ends)

    def seek(self, partition: TopicPartition, offset: int) -> None:
        assert offset == 0

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        assert timeout_ms * max_records > 0
        await asyncio.sleep(0)
        given: dict[TopicPartition, list[ConsumerRecord]] = {}
        for one in self._fetches.pop(0) if self._fetches else []:
            partition = TopicPartition(one.topic, one.partition)
            assert partition in partitions
            given.setdefault(partition, []).append(one)
            self._positions[partition] = one.offset + 1
        return given

    def highwater(self, partition: TopicPartition) -> int | None:
        return self.ends[partition] if partition in self._positions else None

    async def position(self, partition: TopicPartition) -> int:
        return self._positions[partition]

    def reader(self, silence_s: float = 60.0) -> TopicReader:
        return TopicReader(self, silence_s)
