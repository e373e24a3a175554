"""The topic table: every topic, its key, what it holds and how Kafka keeps it."""

from typing import Literal

from msgspec import Struct

VERSION = "v1"
DAY_MS = 86_400_000


class Topic(Struct, frozen=True, kw_only=True):
    """One row. `retention_days` counts for `delete`; a compacted topic keeps the newest value of each key."""

    name: str
    key: str
    direction: Literal["in", "out", "dead letters"]
    partitions: int = 8
    cleanup: Literal["delete", "compact"] = "delete"
    retention_days: int = 7
    copies_bytes: bool = True  # may dead letters hold the source bytes?

    def full_name(self, prefix: str) -> str:
        return f"{prefix}.{self.name}.{VERSION}" if self.direction != "dead letters" else f"{prefix}.{self.name}"

    @property
    def dead_letters(self) -> "Topic":
        """Where its bad records go: `<topic>.dlq`."""
        return Topic(
            name=f"{self.name}.{VERSION}.dlq", key=self.key, direction="dead letters", partitions=self.partitions,
            retention_days=30,
        )

    def config(self) -> dict[str, str]:
        """The topic's settings for CreateTopics."""
        if self.cleanup == "compact":
            return {"cleanup.policy": "compact"}
        return {"cleanup.policy": "delete", "retention.ms": str(self.retention_days * DAY_MS)}


# clickstream and purchases have equal partition counts, so that one process owns both of a user
CLICKSTREAM = Topic(name="clickstream", key="user", direction="in")
PURCHASES = Topic(name="purchases", key="user", direction="in", retention_days=30)
CATALOG = Topic(name="catalog", key="item_id", direction="in", cleanup="compact")
INVENTORY = Topic(name="inventory", key="item_id or item_id|location_id", direction="in", cleanup="compact")
SUPPORT_MESSAGES = Topic(name="support-messages", key="user", direction="in", retention_days=30, copies_bytes=False)
ORDERS = Topic(name="orders", key="order_id", direction="in", cleanup="compact")
RECOMMENDATIONS = Topic(name="recommendations", key="user", direction="out")
REPLIES = Topic(name="replies", key="user", direction="out", retention_days=30)

SOURCES = (CLICKSTREAM, PURCHASES, SUPPORT_MESSAGES, CATALOG, INVENTORY, ORDERS)
TOPICS = (*SOURCES, RECOMMENDATIONS, REPLIES, *(source.dead_letters for source in SOURCES))
RETRIES = Topic(  # not one of them: made by the first `footfall dlq retry`
    name="dlq-retries", key="place of the record", direction="out", partitions=1,
    retention_days=max(source.dead_letters.retention_days for source in SOURCES),  # as long as there is a letter
)
