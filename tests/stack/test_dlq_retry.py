"""Source records of dead letters sent again, once, on Tansu and on Apache Kafka."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec
import pytest
from aiokafka import AIOKafkaProducer, ConsumerRecord, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaTimeoutError

from agents.decoding import Poison, RecordError
from footfall import dlq, dlq_retry, topics
from footfall.dlq_reader import RETRY_OF, DeadLetterReader, DlqError, Letter, Place
from footfall.dlq_retry import Report, retry
from footfall.stack import Stack
from schemas.settings import Settings
from schemas.topics import CATALOG, CLICKSTREAM, PURCHASES
from tests.doubles import record
from tests.stack.dead_letters import NOW_MS, SECRET, Records, at, place_of, retried, run, source_of, writing


@pytest.fixture
async def records(any_topics: Settings) -> AsyncIterator[Records]:
    async with writing(any_topics) as records:
        yield records


@pytest.fixture
async def kafka_records(kafka_stack: Stack, prefix: str) -> AsyncIterator[Records]:
    settings = msgspec.structs.replace(kafka_stack.settings, prefix=prefix)
    await topics.create(settings)
    try:
        async with writing(settings) as records:
            yield records
    finally:
        await topics.delete(settings)


@asynccontextmanager
async def administering(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.bootstrap_servers)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_retry_sends_the_source_record_as_it_was_and_only_once(records: Records) -> None:
    sources = [
        await records.put(b"one", partition=5, headers=[("ce_id", b"e1"), ("nothing", None)]),
        await records.put(b"two", partition=5, timestamp_ms=NOW_MS + 1),
        await records.put(None, key=b"\xff", timestamp_ms=NOW_MS + 2),
    ]
    for source in reversed(sources):
        await records.bury(source)
    await records.bury(sources[0])  # read again after a crash: a second dead letter of the same record

    first = await retry(records.settings, CLICKSTREAM)
    sent = await retried(records)
    second = await retry(records.settings, CLICKSTREAM)

    assert (first.sent, first.before) == (3, 0)
    assert [(one.key, one.value, one.partition, one.timestamp) for one in sent] == [
        (source.key, source.value, source.partition, source.timestamp) for source in sources
    ]
    assert [list(one.headers) for one in sent] == [
        [*source.headers, (RETRY_OF, str(place_of(source)).encode())] for source in sources
    ]
    assert sent[0].offset < sent[1].offset
    assert (second.sent, second.before) == (0, 4)
    assert len(await records.read(CLICKSTREAM)) == 6
    listed = await dlq.listing(records.settings, CLICKSTREAM, limit=10)
    assert f"as {place_of(sent[0]).within} " in listed
    assert listed.endswith("4 RecordError; 4 retried")


async def test_many_are_retried_in_the_order_of_their_partition(records: Records) -> None:
    sources = await asyncio.gather(
        *(records.put(b"%d" % number, timestamp_ms=NOW_MS + number) for number in range(120))
    )
    await asyncio.gather(*(records.letters.send(source, Poison(RecordError("bad"))) for source in reversed(sources)))

    report = await retry(records.settings, CLICKSTREAM)
    sent = await retried(records)

    assert report.sent == 120
    assert [one.value for one in sent] == [source.value for source in sources]
    repeats = [Place.parse(dict(one.headers)[RETRY_OF].decode()) for one in sorted(sent, key=place_of)]
    assert repeats == sorted(map(place_of, sources))
    assert (await retry(records.settings, CLICKSTREAM)).before == 120


async def test_a_retry_that_fails_half_way_has_noted_what_it_sent(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await records.dead(b"sent", partition=0)
    await records.dead(b"not sent", partition=1)
    read = DeadLetterReader.record

    async def fail_behind(reader: DeadLetterReader, place: Place) -> ConsumerRecord | None:
        if place != sent.source:
            raise DlqError("the broker is away")
        return await read(reader, place)

    with monkeypatch.context() as broken:
        broken.setattr(DeadLetterReader, "record", fail_behind)
        with pytest.raises(DlqError, match="away"):
            await retry(records.settings, CLICKSTREAM)

    report = await retry(records.settings, CLICKSTREAM)
    assert (report.sent, report.before) == (1, 1)
    assert sorted(one.value for one in await retried(records)) == [b"not sent", b"sent"]


async def test_one_letter_is_retried_alone_and_is_left_out_afterwards(records: Records) -> None:
    letters = [await records.dead(b"%d" % number, timestamp_ms=NOW_MS + number) for number in range(3)]
    partition, offset = map(str, at(letters[1]))

    alone = await run(records.settings, "retry", "clickstream", "--partition", partition, "--offset", offset)
    again = await retry(records.settings, CLICKSTREAM, at(letters[1]))
    rest = await retry(records.settings, CLICKSTREAM)

    assert (alone.exit_code, alone.stdout.split(" ", 1)[0]) == (0, "1")
    assert (again.sent, again.before) == (0, 1)
    assert (rest.sent, rest.before) == (2, 1)
    assert [one.value for one in await retried(records)] == [b"0", b"1", b"2"]


async def test_what_failed_again_is_sent_only_when_it_is_chosen(records: Records) -> None:
    await records.dead()
    await retry(records.settings, CLICKSTREAM)
    (sent,) = await retried(records)
    letter = await records.bury(sent)

    report = await retry(records.settings, CLICKSTREAM)
    listed = await dlq.listing(records.settings, CLICKSTREAM, limit=10)
    chosen = await retry(records.settings, CLICKSTREAM, at(letter))

    assert (report.sent, report.before, report.failed_again) == (0, 1, (letter,))
    assert "failed again" in listed
    assert chosen.sent == 1
    *_, newest = await retried(records)
    assert [content for name, content in newest.headers if name == RETRY_OF] == [str(place_of(sent)).encode()]
    assert (await retry(records.settings, CLICKSTREAM, at(letter))).sent == 0


async def test_an_old_fact_is_not_sent_over_a_newer_one_of_its_key(records: Records) -> None:
    old = await records.dead(b"old", topic=CATALOG, key=b"1", partition=0)
    await records.put(b"new", topic=CATALOG, key=b"1", partition=0)
    await records.dead(b"only", topic=CATALOG, key=b"2", partition=0)
    name = CATALOG.full_name(records.settings.prefix)
    gone = await records.bury(record(SECRET, topic=name, partition=99, offset=0))

    report = await retry(records.settings, CATALOG)

    assert (report.sent, report.outdated, report.gone) == (1, (old,), (gone,))
    assert [one.value for one in await retried(records, CATALOG)] == [b"only"]


async def test_letters_whose_source_cannot_be_had_are_reported_and_the_others_go_on(records: Records) -> None:
    name = PURCHASES.full_name(records.settings.prefix)
    nowhere = await records.bury(record(SECRET, topic=name, partition=1, offset=0))
    beyond = await records.bury(record(SECRET, topic=name, partition=1, offset=7))
    impossible = [
        await records.bury(record(SECRET, topic=name, partition=1, offset=-1)),
        await records.bury(record(SECRET, topic=name, partition=1, offset=1 << 64)),
        await records.bury(record(SECRET, topic=name, partition=99, offset=0)),
    ]
    stranger = await records.put(b"no dead letter of ours", topic=PURCHASES.dead_letters)
    await records.dead(topic=PURCHASES, timestamp_ms=NOW_MS + 1)

    report = await retry(records.settings, PURCHASES)
    again = await run(records.settings, "retry", "purchases")

    assert (report.sent, set(report.gone)) == (1, {nowhere, beyond, *impossible})
    assert [letter.place for letter in report.refused] == [place_of(stranger)]
    assert again.exit_code == 1
    assert f"5 gone: the source record is not kept any more ({impossible[0].place.within} " in again.stdout
    listed = await dlq.listing(records.settings, PURCHASES, limit=10)
    assert listed.endswith("6 RecordError, 1 ?; 1 retried")


@pytest.mark.kafka
async def test_what_retention_removed_is_gone(kafka_records: Records) -> None:
    gone = await kafka_records.dead(b"gone", partition=2)
    await kafka_records.dead(b"kept", partition=2)
    partition = TopicPartition(source_of(gone).topic, 2)
    async with administering(kafka_records.settings) as admin:
        await admin.delete_records({partition: RecordsToDelete(source_of(gone).offset + 1)})

    bulk = await retry(kafka_records.settings, CLICKSTREAM)
    alone = await retry(kafka_records.settings, CLICKSTREAM, at(gone))

    assert (bulk.sent, bulk.gone) == (1, (gone,))
    assert (alone.sent, alone.gone) == (0, (gone,))
    assert [one.value for one in await retried(kafka_records)] == [b"kept"]


@pytest.mark.kafka
async def test_what_kafka_does_not_take_any_more_is_refused_and_the_others_go_on(kafka_records: Records) -> None:
    large = await kafka_records.dead(bytes(range(256)) * 16 + b"large", partition=2)
    await kafka_records.dead(b"small", partition=3, key=b"1")
    async with administering(kafka_records.settings) as admin:
        topic = source_of(large).topic
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, {"max.message.bytes": "300"})])

    report = await retry(kafka_records.settings, CLICKSTREAM)

    assert (report.sent, report.refused) == (1, (large,))


def test_a_report_names_some_of_the_letters_of_a_kind() -> None:
    letter = Letter(Place("t.dlq", 1, 2), None, NOW_MS, None, "", "", of_retry=False)

    text = str(Report("t", 1, 0, (), (), (letter,) * 30, (letter,)))

    gone, refused, sent = text.splitlines()
    assert gone.startswith("30 gone: ")
    assert gone.endswith(" (" + "1/2 " * 20 + "…)")
    assert refused.endswith(" (1/2)")
    assert sent == "1 record sent again to t"


async def test_what_kafka_did_not_take_is_not_noted_and_said() -> None:
    """Of two records the broker took one: that is noted, and the failure of the other is raised."""
    noted: list[bytes] = []

    class Producer:
        async def send(self, topic: str, value: bytes, key: bytes) -> "asyncio.Future[None]":
            noted.append(key)
            return done()

    def done(result: object = None, error: Exception | None = None) -> "asyncio.Future[Any]":
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
        return future

    chunk = dlq_retry._Chunk(cast("AIOKafkaProducer", Producer()), "log")
    chunk._under_way = {Place("t", 0, 1): done(error=KafkaTimeoutError()), Place("t", 0, 2): done(Place("t", 0, 9))}
    with pytest.raises(KafkaTimeoutError):
        await chunk.note()
    assert noted == [b"t/0/2"]
