"""Topics on Tansu and on Apache Kafka."""

import msgspec
import pytest

from footfall import topics as table
from footfall.stack import Stack
from footfall.topics import TopicsError
from schemas.settings import Settings
from schemas.topics import CATALOG, CLICKSTREAM, PURCHASES, TOPICS


async def test_creating_twice_changes_nothing(any_stack: Stack, prefix: str) -> None:
    settings = msgspec.structs.replace(any_stack.settings, prefix=prefix)

    first = await table.create(settings)
    second = await table.create(settings)

    assert {state.condition for state in first} == {"created"}
    assert {state.condition for state in second} == {"exists"}
    assert [state.partitions for state in second] == [topic.partitions for topic in TOPICS]
    await table.delete(settings)
    assert {state.condition for state in await table.listing(settings)} == {"missing"}


async def test_other_partitions_than_the_table_wants_are_reported(any_stack: Stack, prefix: str) -> None:
    settings = msgspec.structs.replace(any_stack.settings, prefix=prefix)
    await table.create(settings, [msgspec.structs.replace(PURCHASES, partitions=3)])

    clicks, purchases = await table.create(settings, [CLICKSTREAM, PURCHASES])

    assert (clicks.condition, purchases.condition) == ("created", "differs")
    assert "3 (want 8)" in table.table([clicks, purchases])
    await table.delete(settings)


async def test_topics_of_one_prefix_are_not_those_of_another(any_topics: Settings) -> None:
    other = msgspec.structs.replace(any_topics, prefix=f"{any_topics.prefix}x")

    assert {state.condition for state in await table.listing(other)} == {"missing"}
    assert {state.condition for state in await table.listing(any_topics)} == {"exists"}


async def test_unreachable_broker_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(TopicsError, match="KAFKA_BOOTSTRAP_SERVERS"):
        await table.create(Settings(bootstrap_servers="127.0.0.1:1"))


async def test_missing_broker_is_an_error_that_says_how_to_start_one() -> None:
    with pytest.raises(TopicsError, match="footfall stack up"):
        await table.listing(Settings())


def test_table_shows_how_each_topic_is_kept() -> None:
    text = table.table([table.TopicState(CATALOG, "retail.catalog.v1", 8), table.TopicState(CLICKSTREAM, "c", None)])

    heading, catalog, clicks = text.splitlines()
    assert heading.split() == ["TOPIC", "KEY", "PARTITIONS", "CLEANUP", "RETENTION", "STATE"]
    assert catalog.split() == ["retail.catalog.v1", "item_id", "8", "compact", "newest", "per", "key", "exists"]
    assert clicks.split()[-4:] == ["delete", "7", "d", "missing"]
