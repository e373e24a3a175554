"""The topic table against contract.md."""

from schemas.topics import (
    CATALOG,
    CLICKSTREAM,
    INVENTORY,
    ORDERS,
    PURCHASES,
    RECOMMENDATIONS,
    REPLIES,
    RETRIES,
    SOURCES,
    SUPPORT_MESSAGES,
    TOPICS,
)


def test_one_process_can_own_the_clicks_and_the_purchases_of_a_user() -> None:
    assert CLICKSTREAM.partitions == PURCHASES.partitions
    assert CLICKSTREAM.key == PURCHASES.key == RECOMMENDATIONS.key == "user"
    assert SUPPORT_MESSAGES.key == REPLIES.key == "user"


def test_names_are_those_of_the_contract() -> None:
    assert [topic.full_name("retail") for topic in TOPICS] == [
        "retail.clickstream.v1",
        "retail.purchases.v1",
        "retail.support-messages.v1",
        "retail.catalog.v1",
        "retail.inventory.v1",
        "retail.orders.v1",
        "retail.recommendations.v1",
        "retail.replies.v1",
        "retail.clickstream.v1.dlq",
        "retail.purchases.v1.dlq",
        "retail.support-messages.v1.dlq",
        "retail.catalog.v1.dlq",
        "retail.inventory.v1.dlq",
        "retail.orders.v1.dlq",
    ]


def test_another_prefix_is_another_set_of_topics() -> None:
    assert CLICKSTREAM.dead_letters.full_name("tenant-2") == "tenant-2.clickstream.v1.dlq"


def test_dead_letters_hold_the_source_bytes_of_all_but_what_customers_wrote() -> None:
    assert [source for source in SOURCES if not source.copies_bytes] == [SUPPORT_MESSAGES]


def test_catalog_inventory_and_orders_are_compacted_and_the_rest_expires() -> None:
    for topic in TOPICS:
        compacted = topic in {CATALOG, INVENTORY, ORDERS}
        assert topic.config()["cleanup.policy"] == ("compact" if compacted else "delete")
        assert ("retention.ms" in topic.config()) is not compacted


def test_dead_letters_keep_the_partition_of_their_source_and_never_compact() -> None:
    for source in SOURCES:
        assert source.dead_letters.partitions == source.partitions
        assert source.dead_letters.cleanup == "delete"


def test_the_log_of_retries_is_kept_as_long_as_the_dead_letters_and_not_created_with_the_others() -> None:
    assert RETRIES.full_name("retail") == "retail.dlq-retries.v1"
    assert RETRIES.config() == SOURCES[0].dead_letters.config()
    assert RETRIES not in TOPICS
