"""Reads topics up to where they end now, and says where that is.

Knows aiokafka, and nothing of what is in the records. A partition ends where its first fetch says, at the high
watermark, which empty partitions have too. Asked for end offsets, the local broker gives an answer that is too low
whenever the last batch holds more than one record. A partition was read when the position is there: offsets before it
may have no record (compaction, the mark of a transaction).
"""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from footfall.topics import TopicsError, listing
from schemas.settings import Settings
from schemas.topics import Topic

FETCH_WAIT_MS = 20  # a seek, and the end of a partition, wait for the fetch that is under way
POLL_MS = 100
RECORDS_PER_FETCH = 2000  # at most; of a partition 1 MB at a time
SILENCE_S = 60.0  # longer than one lost request takes to be noticed; after that the broker will not answer any more


class TopicReader:
    """Reads one set of partitions at a time, without a group. Use it from `reading`. All it raises are KafkaErrors.

    `unread`: those with something left. `ends`: of those that were fetched. `consumer`: to be asked, not to be moved.
    A broker that goes away is waited for, for `silence_s`.
    """

    def __init__(self, consumer: AIOKafkaConsumer, silence_s: float = SILENCE_S) -> None:
        self.consumer = consumer
        self._silence_s = silence_s
        self.unread: set[TopicPartition] = set()
        self.ends: dict[TopicPartition, int] = {}

    def begin(self, starts: Mapping[TopicPartition, int]) -> None:
        """Read these partitions next, from these offsets or the first that is kept."""
        if starts:  # or a stop may hang: aiokafka has to have fetched since the assignment changed
            self.consumer.assign(list(starts))
        for partition, offset in starts.items():
            self.consumer.seek(partition, offset)
        self.unread, self.ends = set(starts), {}

    async def fetch(
        self, partitions: Collection[TopicPartition] | None = None, max_records: int = RECORDS_PER_FETCH
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Return the next records of some or all partitions, in the order of each; none when these were read."""
        wanted = self.unread.intersection(self.unread if partitions is None else partitions)
        try:
            async with asyncio.timeout(self._silence_s):
                while wanted:
                    fetched = await self.consumer.getmany(*wanted, timeout_ms=POLL_MS, max_records=max_records)
                    for partition in wanted:
                        if (end := self.consumer.highwater(partition)) is not None:
                            self.ends.setdefault(partition, end)
                            if await self.consumer.position(partition) >= self.ends[partition]:
                                self.unread.discard(partition)
                    wanted &= self.unread
                    kept = {tp: [one for one in batch if one.offset < self.ends[tp]] for tp, batch in fetched.items()}
                    if any(kept.values()):
                        return kept
        except TimeoutError:
            raise KafkaTimeoutError(f"nothing of {min(wanted).topic} has come for {self._silence_s:g} s") from None
        return {}

    async def records(self, starts: Mapping[TopicPartition, int]) -> AsyncIterator[ConsumerRecord]:
        """Yield all there is from these offsets on, in the order of each partition."""
        self.begin(starts)
        while fetched := await self.fetch():
            for batch in fetched.values():
                for record in batch:
                    yield record


@asynccontextmanager
async def reading(client: Mapping[str, Any]) -> AsyncIterator[TopicReader]:
    """Connect. `client`: aiokafka's connection settings."""
    consumer = AIOKafkaConsumer(
        **client, enable_auto_commit=False, auto_offset_reset="earliest", fetch_max_wait_ms=FETCH_WAIT_MS
    )
    try:
        await consumer.start()
        await asyncio.sleep(0)  # a consumer that is stopped before its tasks have begun ends in a CancelledError
        yield TopicReader(consumer)
    finally:
        await consumer.stop()


async def ends(client: Mapping[str, Any], partitions: Collection[TopicPartition]) -> dict[TopicPartition, int]:
    """Return where they end; their last batches are read for it. Raises TopicsError when a topic is missing."""
    async with reading(client) as reader:
        _require({partition.topic for partition in partitions} - await reader.consumer.topics())
        async for _ in reader.records(await reader.consumer.end_offsets(partitions)):
            pass
        return reader.ends


async def partitions_of(settings: Settings, required: Sequence[Topic], *optional: Topic) -> list[TopicPartition]:
    """Return all partitions that the broker has. Raises TopicsError when a required topic is missing."""
    states = await listing(settings, (*required, *optional))
    _require(state.name for state in states if state.partitions is None and state.topic in required)
    return [TopicPartition(state.name, number) for state in states for number in range(state.partitions or 0)]


def _require(missing: Iterable[str]) -> None:
    if name := min(missing, default=""):
        raise TopicsError(f"there is no topic {name}: is FOOTFALL_PREFIX right? `footfall topics create` makes it")
