"""Feeds the ledger from Kafka: reads the results and dead-letter topics from where they end now, and the commits.

Knows aiokafka and the record formats; counts nothing itself.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from msgspec import Struct

from footfall.ledger import Ledger, StoredResult
from footfall.topic_reader import ends
from schemas import keys
from schemas.topics import CLICKSTREAM, PURCHASES, RECOMMENDATIONS, SOURCES, Topic

if TYPE_CHECKING:
    from redis.asyncio import Redis

POLL_MS = 100
RECORDS_PER_POLL = 2000  # about 20 ms of decoding: the loop stays responsive
USERS_PER_READ = 500
_HEADER = "__streams.errors."


class _Cover(Struct, rename={"first": "from", "last": "to"}, gc=False):
    topic: str
    partition: int
    first: int
    last: int


class _ResultData(Struct, gc=False):
    """Of a recommendation; or of a reply, which has no version, and of which no newer one takes the place."""

    user_id: str
    origin: str
    covers: tuple[_Cover, ...] = ()
    history_version: int = 0


class _Stored(Struct, gc=False):
    history_version: int
    event_time: datetime


class _Result(Struct, gc=False):
    id: str
    data: _ResultData


_decode_result = msgspec.json.Decoder(_Result).decode
_decode_stored = msgspec.json.Decoder(_Stored).decode


class LedgerReader:
    """Reads one prefix's outputs into `ledger`.

    `client`: aiokafka's connection settings. `answered`: the inputs that call for results. The topics must exist.
    `fetch_min_bytes`: how much a broker gathers for up to `fetch_wait_ms`; much, where nobody waits for the ledger.
    `capability`: which consumer group answers. `once`: see `Ledger`. `seen` is told of every record of the results.
    """

    def __init__(
        self, client: Mapping[str, Any], prefix: str, *, fetch_wait_ms: int, fetch_min_bytes: int = 1,
        answered: Sequence[Topic] = (CLICKSTREAM, PURCHASES), inputs: Sequence[Topic] = SOURCES,
        results: Topic = RECOMMENDATIONS, capability: str = "recommend", once: bool = False,
        seen: Callable[[ConsumerRecord], None] = lambda _: None,
    ) -> None:
        self._answered = [topic.full_name(prefix) for topic in answered]
        self._results = results.full_name(prefix)
        self._dead_letters = [topic.dead_letters.full_name(prefix) for topic in inputs]
        self._group = f"{prefix}.{capability}"
        self._once = once
        self._seen = seen
        self._client = client
        self._consumer = AIOKafkaConsumer(
            **client, fetch_max_wait_ms=fetch_wait_ms, fetch_min_bytes=fetch_min_bytes, enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._admin = AIOKafkaAdminClient(**client)
        self._partitions: list[TopicPartition] = []  # of the inputs that call for results
        self._starts: dict[TopicPartition, int] = {}
        self._waiting: dict[tuple[str, int, int], asyncio.Future[None]] = {}
        self._stopping = False
        self._task: asyncio.Task[None] | None = None
        self.ledger = Ledger({}, once=once)

    async def connect(self) -> None:
        """Note where the dead letters end: those that come from now on count."""
        await self._consumer.start()
        await self._admin.start()
        self._starts = await ends(self._client, await self._partitions_of(self._dead_letters))

    async def start(self) -> None:
        """Note where inputs and results end: what is sent from now on counts. Read on from there."""
        self._partitions = await self._partitions_of(self._answered)
        begin = await ends(self._client, self._partitions + await self._partitions_of([self._results]))
        self.ledger = Ledger({(tp.topic, tp.partition): begin[tp] for tp in self._partitions}, once=self._once)
        self._starts.update({tp: offset for tp, offset in begin.items() if tp.topic == self._results})
        self._consumer.assign(list(self._starts))
        for tp, offset in self._starts.items():
            self._consumer.seek(tp, offset)
        self._task = asyncio.create_task(self._read())

    async def stop(self) -> None:
        """Stop reading. Raises what ended the reading before, if anything did."""
        self._stopping = True
        try:
            if self._task is not None:
                await self._task
        finally:
            await self._consumer.stop()
            await self._admin.close()

    async def answered(self, topic: str, partition: int, offset: int, timeout_s: float) -> bool:
        """Wait until something answers an input record; returns whether it came in time."""
        if self.ledger.is_answered(topic, partition, offset):
            return True
        self._raise_if_ended()
        future = self._waiting.setdefault((topic, partition, offset), asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout_s):
                await future
        except TimeoutError:
            return False
        finally:
            self._waiting.pop((topic, partition, offset), None)
        return True

    async def drained(self, timeout_s: float) -> bool:
        """Wait until every input record is answered; returns whether that came in time."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while self.ledger.waiting:
            self._raise_if_ended()
            if asyncio.get_running_loop().time() > deadline:
                return False
            await asyncio.sleep(0.05)
        return True

    async def read_commits(self) -> int:
        """Ask for the group's committed offsets; returns how many records of ours it has not acknowledged."""
        # the local broker breaks the connection unless the partitions are listed
        offsets = await self._admin.list_consumer_group_offsets(self._group, partitions=self._partitions)
        self.ledger.record_committed({(tp.topic, tp.partition): meta.offset for tp, meta in offsets.items()})
        return self.ledger.sent - self.ledger.acked

    async def check_stored(self, redis: "Redis") -> None:
        """Compare what Redis holds with the ledger, once, at the end."""
        users = list(self.ledger.users)
        for start in range(0, len(users), USERS_PER_READ):
            chunk = users[start : start + USERS_PER_READ]
            pipeline = redis.pipeline(transaction=False)
            for user in chunk:
                pipeline.get(keys.recommendations(user))
            for user, value in zip(chunk, await pipeline.execute(), strict=True):
                self.ledger.record_stored(user, _stored(value))

    async def _partitions_of(self, topics: Iterable[str]) -> list[TopicPartition]:
        described = await self._admin.describe_topics(list(topics))
        return [
            TopicPartition(topic["topic"], partition["partition"])
            for topic in described for partition in topic["partitions"]
        ]

    async def _read(self) -> None:
        while not self._stopping:
            for tp, records in (await self._consumer.getmany(timeout_ms=POLL_MS, max_records=RECORDS_PER_POLL)).items():
                for record in records:
                    if tp.topic == self._results:
                        self._take_result(record)
                        self._seen(record)
                    else:
                        self._take_dead_letter(record)
            for place, future in self._waiting.items():
                if not future.done() and self.ledger.is_answered(*place):
                    future.set_result(None)

    def _take_result(self, record: ConsumerRecord) -> None:
        result = _decode_result(record.value)
        data = result.data
        self.ledger.record_result(
            result.id, record.value, user=data.user_id, history_version=data.history_version,
            covers=[(cover.topic, cover.partition, cover.first, cover.last) for cover in data.covers],
            fallback=data.origin == "fallback", at_ms=record.timestamp,
        )

    def _take_dead_letter(self, record: ConsumerRecord) -> None:
        headers = {name: value.decode() for name, value in record.headers if name.startswith(_HEADER)}
        self.ledger.record_dead_letter(
            headers[_HEADER + "topic"], int(headers[_HEADER + "partition"]), int(headers[_HEADER + "offset"])
        )

    def _raise_if_ended(self) -> None:
        if self._task is not None and self._task.done():
            self._task.result()
            raise RuntimeError("the ledger's reader has been stopped; nothing more can be answered")


def _stored(value: bytes | None) -> StoredResult | None:
    if value is None:
        return None
    data = _decode_stored(value)
    return StoredResult(data.history_version, round(data.event_time.timestamp() * 1000))
