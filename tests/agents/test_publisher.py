"""Where a record goes, in which order, and what happens to it when Kafka does not take it."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, MessageSizeTooLargeError
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from agents import publisher as module
from agents.publisher import Publisher, partition_of
from tests.doubles import RecordingProducer
from tests.waiting import until

PARTITIONS = list(range(8))


@given(st.binary(max_size=40))
def test_a_key_goes_to_the_partition_where_other_clients_put_it(key: bytes) -> None:
    assert partition_of(key, 8) == DefaultPartitioner()(key, PARTITIONS, PARTITIONS)


def test_a_record_without_a_key_goes_to_any_partition() -> None:
    assert {partition_of(None, 3) for _ in range(200)} == {0, 1, 2}


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", (0.0,))
    monkeypatch.setattr(module, "PAUSE_S", 0.0)


@asynccontextmanager
async def running(
    producer: RecordingProducer, chance: Callable[[], float] = random.random
) -> AsyncIterator[Publisher]:
    publisher = Publisher(producer, chance=chance)
    sending = asyncio.create_task(publisher.run())
    try:
        yield publisher
    finally:
        sending.cancel()
        await asyncio.wait([sending])


async def queue(publisher: Publisher, *values: bytes) -> list[object]:
    delivered: list[object] = []
    for value in values:
        await publisher.send("t", b"key", value, [], lambda error, value=value: delivered.append(error or value))  # type: ignore[misc]
    return delivered


VALUES = tuple(b"%d" % n for n in range(10))


async def test_records_queued_together_leave_as_one_batch_and_each_is_told() -> None:
    producer = RecordingProducer()
    async with running(producer) as publisher:
        delivered = await queue(publisher, *VALUES)
        assert tuple(await producer.until(10)) == VALUES
    assert producer.sizes == [10]
    assert delivered == list(VALUES)


async def test_a_full_batch_leaves_the_rest_for_the_next() -> None:
    producer = RecordingProducer(capacity=4)
    async with running(producer) as publisher:
        await queue(publisher, *VALUES)
        assert tuple(await producer.until(10)) == VALUES
    assert producer.sizes == [4, 4, 2]


async def test_what_comes_while_a_batch_is_under_way_waits_and_nothing_is_told_before_it_arrived() -> None:
    producer = RecordingProducer()
    producer.hold = True
    async with running(producer) as publisher:
        first = await queue(publisher, b"a")
        async with asyncio.timeout(5):
            while not producer.pending:
                await asyncio.sleep(0)
        second = await queue(publisher, b"b", b"c")
        assert (first, second, producer.sizes) == ([], [], [1])
        assert publisher.unsent
        producer.hold = False
        producer.pending[0].set_result(None)
        assert await producer.until(2) == [b"b", b"c"]
        await until(lambda: not publisher.unsent)
    assert (first, second, producer.sizes) == ([b"a"], [b"b", b"c"], [1, 2])


@pytest.mark.parametrize("failure", [KafkaConnectionError(), KafkaTimeoutError()])
async def test_what_kafka_did_not_take_is_sent_again_before_anything_newer(failure: KafkaConnectionError) -> None:
    producer = RecordingProducer(capacity=4)
    producer.failures = [failure, failure]
    async with running(producer) as publisher:
        delivered = await queue(publisher, *VALUES)
        assert tuple(await producer.until(10)) == VALUES
    assert delivered == list(VALUES)


class Waits:
    """The waits that were asked for, none of which takes time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, draws: Sequence[float]) -> None:
        self._draws = iter(draws)
        self.asked: list[tuple[int, float]] = []  # attempt and chance
        monkeypatch.setattr(module, "wait_s", self._wait_s)

    def draw(self) -> float:
        return next(self._draws)

    def _wait_s(self, _steps_s: Sequence[float], attempt: int, chance: float) -> float:
        self.asked.append((attempt, chance))
        return 0.0


async def test_each_attempt_of_a_lane_draws_its_wait_and_what_arrives_starts_the_series_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    producer, waits = RecordingProducer(), Waits(monkeypatch, (0.1, 0.7, 0.4))
    producer.failures = [KafkaConnectionError(), KafkaTimeoutError()]
    async with running(producer, waits.draw) as publisher:
        await publisher.deliver("t", b"key", b"a", [])
        producer.failures = [KafkaConnectionError()]
        await publisher.deliver("t", b"key", b"b", [])
    assert waits.asked == [(0, 0.1), (1, 0.7), (0, 0.4)]


async def test_each_look_for_a_topics_partitions_draws_its_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    class WithoutMetadata(RecordingProducer):
        missing = 3

        async def partitions_for(self, topic: str) -> Collection[int]:
            if self.missing:
                self.missing -= 1
                raise KafkaTimeoutError
            return await super().partitions_for(topic)

    producer, waits = WithoutMetadata(), Waits(monkeypatch, (0.1, 0.7, 0.4))
    async with running(producer, waits.draw) as publisher:
        await publisher.deliver("t", b"key", b"a", [])
    assert waits.asked == [(0, 0.1), (1, 0.7), (2, 0.4)]


async def test_a_batch_that_is_too_large_is_halved() -> None:
    producer = RecordingProducer()
    producer.failures = [MessageSizeTooLargeError(), MessageSizeTooLargeError()]
    async with running(producer) as publisher:
        delivered = await queue(publisher, *VALUES)
        assert tuple(await producer.until(10)) == VALUES
    assert producer.sizes[:3] == [10, 5, 2]
    assert delivered == list(VALUES)


async def test_a_record_that_is_too_large_is_refused_and_the_rest_flows_on() -> None:
    producer = RecordingProducer(capacity=1)
    producer.failures = [MessageSizeTooLargeError()]
    async with running(producer) as publisher:
        delivered = await queue(publisher, b"large", b"small")
        assert await producer.until(1) == [b"small"]
    assert isinstance(delivered[0], MessageSizeTooLargeError)
    assert delivered[1:] == [b"small"]


async def test_deliver_returns_when_kafka_has_it_and_raises_when_it_never_will() -> None:
    producer = RecordingProducer()
    async with running(producer) as publisher:
        await publisher.deliver("t", b"key", b"a", [])
        assert producer.records == [("t", b"key", b"a")]
        producer.failures = [MessageSizeTooLargeError()]
        with pytest.raises(MessageSizeTooLargeError):
            await publisher.deliver("t", b"key", b"b", [])


async def test_a_batch_that_the_closing_producer_drops_was_not_delivered() -> None:
    producer = RecordingProducer()
    producer.hold = True
    async with running(producer) as publisher:
        delivered = await queue(publisher, b"a")
        async with asyncio.timeout(5):
            while not producer.pending:
                await asyncio.sleep(0)
        producer.pending[0].cancel()
        await asyncio.wait(producer.pending)
        await asyncio.sleep(0)
    assert delivered == []


async def test_a_failure_of_who_is_told_ends_the_run() -> None:
    publisher = Publisher(RecordingProducer())

    def fail(_: object) -> None:
        raise LookupError("a bug")

    await publisher.send("t", b"key", b"a", [], fail)
    with pytest.raises(LookupError):
        await asyncio.wait_for(publisher.run(), 5)


async def test_keys_are_spread_over_all_partitions_and_a_topic_may_grow() -> None:
    producer = RecordingProducer(partitions=2)
    async with running(producer) as publisher:
        for n in range(20):
            await publisher.deliver("t", b"%d" % n, b"x", [])
        producer.partitions = 4
        for n in range(40):
            await publisher.deliver("t", b"%d" % n, b"x", [])
    assert producer.used == {0, 1, 2, 3}
