"""Topics are read up to their ends, on Tansu and on Apache Kafka, and so do those who only ask where these are."""

from collections.abc import AsyncIterator, Iterable

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.errors import KafkaTimeoutError

from agents.dead_letters import HEADER
from footfall import topics
from footfall.ledger_reader import LedgerReader
from footfall.replay.kafka import total_records
from footfall.stack import Stack
from footfall.topic_reader import RECORDS_PER_FETCH, ends, partitions_of, reading
from footfall.topics import TopicsError, client_options
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES, RECOMMENDATIONS, RETRIES, Topic
from tests.stack.fetches import A, B, Fetches, at

Header = tuple[str, bytes]


class Clicks:
    """Puts batches on the topic as they are laid out."""

    def __init__(self, settings: Settings, producer: AIOKafkaProducer) -> None:
        self.settings = settings
        self.client = client_options(settings)
        self.name = CLICKSTREAM.full_name(settings.prefix)
        self.partitions = [TopicPartition(self.name, number) for number in range(CLICKSTREAM.partitions)]
        self._producer = producer

    async def put(
        self, partition: int, values: Iterable[int], topic: Topic = CLICKSTREAM, headers: Iterable[Header] = ()
    ) -> None:
        batch = self._producer.create_batch()
        for value in values:
            assert batch.append(timestamp=None, key=None, value=b"%d" % value, headers=list(headers)) is not None
        batch.close()
        name = topic.full_name(self.settings.prefix)
        await (await self._producer.send_batch(batch, name, partition=partition))

    async def read(self, starts: dict[TopicPartition, int]) -> dict[int, list[int]]:
        """Read on from there; return the values of each partition."""
        values: dict[int, list[int]] = {}
        async with reading(self.client) as reader:
            async for record in reader.records(starts):
                values.setdefault(record.partition, []).append(int(record.value))
            assert not reader.unread
        return values


@pytest.fixture
async def clicks(any_topics: Settings) -> AsyncIterator[Clicks]:
    producer = AIOKafkaProducer(**client_options(any_topics), acks="all")
    await producer.start()
    try:
        yield Clicks(any_topics, producer)
    finally:
        await producer.stop()


async def test_all_is_read_in_the_order_of_each_partition_and_empty_partitions_end_too(clicks: Clicks) -> None:
    many = list(range(RECORDS_PER_FETCH + 500))
    for first in range(0, len(many), 500):
        await clicks.put(0, many[first : first + 500])
    await clicks.put(3, [1])
    await clicks.put(3, [2, 3, 4])

    assert await clicks.read(dict.fromkeys(clicks.partitions, 0)) == {0: many, 3: [1, 2, 3, 4]}
    assert await clicks.read({clicks.partitions[1]: 0}) == {}
    assert await clicks.read({}) == {}


async def test_reading_begins_at_an_offset_though_it_is_inside_a_batch(clicks: Clicks) -> None:
    await clicks.put(0, range(5))
    await clicks.put(1, range(5))

    assert await clicks.read({clicks.partitions[0]: 3, clicks.partitions[1]: 5}) == {0: [3, 4]}


async def test_what_is_appended_while_it_is_read_is_left(clicks: Clicks) -> None:
    await clicks.put(0, range(3))
    async with reading(clicks.client) as reader:
        reader.begin(dict.fromkeys(clicks.partitions, 0))
        batches = [await reader.fetch(max_records=1)]
        await clicks.put(0, range(3, 6))
        while batches[-1]:
            batches.append(await reader.fetch(max_records=1))

    assert [int(one.value) for batch in batches for records in batch.values() for one in records] == [0, 1, 2]


async def test_the_end_is_behind_the_last_record_of_the_last_batch(clicks: Clicks) -> None:
    await clicks.put(0, range(3))
    await clicks.put(0, range(4))
    await clicks.put(5, range(2))

    found = await ends(clicks.client, clicks.partitions)

    assert [found[partition] for partition in clicks.partitions] == [7, 0, 0, 0, 0, 2, 0, 0]
    assert await total_records(clicks.client, (CLICKSTREAM, PURCHASES), clicks.settings.prefix) == 9


async def test_a_ledger_begins_behind_the_last_batches(clicks: Clicks) -> None:
    def about(offset: int) -> list[Header]:
        place = {"topic": clicks.name, "partition": "0", "offset": str(offset)}
        return [(HEADER + name, text.encode()) for name, text in place.items()]

    await clicks.put(0, range(2))
    await clicks.put(0, range(2), RECOMMENDATIONS)  # no result, so it must not be read
    await clicks.put(0, range(2), CLICKSTREAM.dead_letters, about(2))
    reader = LedgerReader(clicks.client, clicks.settings.prefix, fetch_wait_ms=20)
    try:
        await reader.connect()
        await reader.start()
        await clicks.put(0, [2], CLICKSTREAM.dead_letters, about(1))
        await clicks.put(0, [2], CLICKSTREAM.dead_letters, about(3))

        assert await reader.answered(clicks.name, 0, 3, timeout_s=20)
        assert reader.ledger.dead_letters == 1
    finally:
        await reader.stop()


async def test_a_topic_that_is_missing_is_named(clicks: Clicks) -> None:
    retries = TopicPartition(RETRIES.full_name(clicks.settings.prefix), 0)

    with pytest.raises(TopicsError, match=f"no topic {retries.topic}: is FOOTFALL_PREFIX right"):
        await ends(clicks.client, [*clicks.partitions, retries])
    with pytest.raises(TopicsError, match=f"no topic {retries.topic}: is FOOTFALL_PREFIX right"):
        await partitions_of(clicks.settings, (CLICKSTREAM, RETRIES))
    assert await partitions_of(clicks.settings, (CLICKSTREAM,), RETRIES) == clicks.partitions
    (state,) = await topics.listing(clicks.settings, [RETRIES])
    assert state.condition == "missing"  # asking has not created it


@pytest.mark.kafka
async def test_offsets_without_a_record_are_passed_over(kafka_stack: Stack, prefix: str) -> None:
    settings = msgspec.structs.replace(kafka_stack.settings, prefix=prefix)
    await topics.create(settings)
    producer = AIOKafkaProducer(**client_options(settings), transactional_id=prefix)
    admin = AIOKafkaAdminClient(**client_options(settings))
    await producer.start()
    await admin.start()
    try:
        clicks = Clicks(settings, producer)
        for value in range(3):
            async with producer.transaction():  # whose mark is a record that nobody gets
                await producer.send_and_wait(clicks.name, b"%d" % value, partition=0)
        partition = clicks.partitions[0]
        await admin.delete_records({partition: RecordsToDelete(2)})

        assert await clicks.read({partition: 0}) == {0: [1, 2]}
        assert await ends(clicks.client, [partition]) == {partition: 6}
    finally:
        await producer.stop()
        await admin.close()
        await topics.delete(settings)


async def test_an_end_is_what_the_first_fetch_told_though_a_later_one_tells_more() -> None:
    fetches = Fetches([at(A, 0)], [at(A, 1), at(A, 2), at(B, 0)], ends={A: 2, B: 1})
    read = []
    async for one in fetches.reader().records({A: 0, B: 0}):
        read.append(one)
        fetches.ends[A] = 3

    assert read == [at(A, 0), at(A, 1), at(B, 0)]


async def test_a_broker_that_is_away_for_a_moment_is_waited_for() -> None:
    reader = Fetches([], [], [at(A, 0)], [], [at(A, 1)], ends={A: 2}).reader()

    assert [one async for one in reader.records({A: 0})] == [at(A, 0), at(A, 1)]


async def test_a_broker_that_stays_away_is_an_error_that_names_the_topic() -> None:
    reader = Fetches([at(A, 0)], ends={A: 2, B: 1}).reader(silence_s=0.01)
    reader.begin({A: 0, B: 0})
    assert await reader.fetch() == {A: [at(A, 0)]}

    with pytest.raises(KafkaTimeoutError, match=r"nothing of t has come for 0\.01 s"):
        await reader.fetch()
