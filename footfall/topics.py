"""Creates, lists and deletes the topics of `schemas.topics` on any broker of the Kafka protocol.

Creating is idempotent. An existing topic is left as it is; where its partitions differ from the table, that is said:
co-partitioned topics (clickstream, purchases) must agree, and Kafka cannot take partitions away.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from typing import Any, Literal

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from msgspec import Struct

from footfall.errors import FootfallError
from schemas.settings import Settings
from schemas.topics import TOPICS, Topic

REPLICATION = 3  # or as many as there are brokers
REQUEST_TIMEOUT_MS = 15_000


class TopicsError(FootfallError):
    """The broker cannot be reached, or refuses a topic."""


class TopicState(Struct, frozen=True):
    """A row of the table, beside what the broker has. `partitions` is None where the topic is missing."""

    topic: Topic
    name: str
    partitions: int | None
    created: bool = False

    @property
    def condition(self) -> Literal["created", "exists", "differs", "missing"]:
        if self.partitions is None:
            return "missing"
        if self.partitions != self.topic.partitions:
            return "differs"
        return "created" if self.created else "exists"


async def create(settings: Settings, topics: Sequence[Topic] = TOPICS) -> tuple[TopicState, ...]:
    """Create the topics that are missing; what is there afterwards.

    Raises TopicsError when the broker cannot be reached or refuses one.
    """
    async with _admin(settings) as admin:
        present = await _partitions(admin)
        brokers = len((await admin.describe_cluster())["brokers"])
        missing = [topic for topic in topics if topic.full_name(settings.prefix) not in present]
        new = [
            NewTopic(
                topic.full_name(settings.prefix),
                topic.partitions,
                min(REPLICATION, brokers),
                topic_configs=topic.config(),
            )
            for topic in missing
        ]
        created = await _create(admin, new) if new else set()
        wanted = {topic.full_name(settings.prefix) for topic in missing}
        present = await _settled(admin, lambda names: wanted <= names)
        return _states(settings, topics, present, created)


async def listing(settings: Settings, topics: Sequence[Topic] = TOPICS) -> tuple[TopicState, ...]:
    """Return what the broker has of the table. Raises TopicsError when the broker cannot be reached."""
    async with _admin(settings) as admin:
        return _states(settings, topics, await _partitions(admin), set())


async def delete(settings: Settings, topics: Sequence[Topic] = TOPICS) -> None:
    """Delete the topics with all they hold; missing ones are fine. Raises TopicsError when the broker refuses."""
    async with _admin(settings) as admin:
        present = await _partitions(admin)
        names = [name for topic in topics if (name := topic.full_name(settings.prefix)) in present]
        if names:
            answer = await admin.delete_topics(names)
            _check(answer.topic_error_codes, allowed=UnknownTopicOrPartitionError)
            await _settled(admin, lambda present: present.isdisjoint(names))


def client_options(settings: Settings) -> dict[str, Any]:
    """Return the connection arguments of any aiokafka client."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap_servers,
        "security_protocol": settings.security_protocol,
    }
    if settings.security_protocol.endswith("SSL"):
        options["ssl_context"] = ssl.create_default_context(cafile=settings.ssl_ca_location or None)
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.sasl_username
        options["sasl_plain_password"] = settings.sasl_password
    return options


def table(states: Iterable[TopicState]) -> str:
    """Lay the topics out for people."""
    rows = [("TOPIC", "KEY", "PARTITIONS", "CLEANUP", "RETENTION", "STATE")]
    for state in states:
        topic = state.topic
        compacted = topic.cleanup == "compact"
        partitions = (
            f"{state.partitions} (want {topic.partitions})" if state.condition == "differs" else topic.partitions
        )
        kept = "newest per key" if compacted else f"{topic.retention_days} d"
        rows.append((state.name, topic.key, str(partitions), topic.cleanup, kept, state.condition))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join(lines)


@asynccontextmanager
async def _admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    if not settings.bootstrap_servers:
        raise TopicsError(
            "no broker is named: set KAFKA_BOOTSTRAP_SERVERS, or run `footfall stack up` in another terminal and then "
            'eval "$(footfall stack status --export)"'
        )
    admin = AIOKafkaAdminClient(**client_options(settings), request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await admin.start()
        yield admin
    except (KafkaError, OSError) as error:
        raise TopicsError(
            f"Kafka at {settings.bootstrap_servers} ({settings.security_protocol}) does not do it: {error!r}. Is it "
            "running, and are KAFKA_BOOTSTRAP_SERVERS and KAFKA_SECURITY_PROTOCOL right?"
        ) from error
    finally:
        await admin.close()


async def _partitions(admin: AIOKafkaAdminClient) -> dict[str, int]:
    """Return the partitions of every topic of the broker; asking for one by name could create it."""
    return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}


async def _settled(admin: AIOKafkaAdminClient, done: Callable[[AbstractSet[str]], bool]) -> dict[str, int]:
    """Return the partitions once every change shows: the controller answers before its brokers have heard of it."""
    deadline = time.monotonic() + REQUEST_TIMEOUT_MS / 1000
    while not done((present := await _partitions(admin)).keys()):
        if time.monotonic() > deadline:
            raise TopicsError(f"the broker did not show the change within {REQUEST_TIMEOUT_MS // 1000} s: run it again")
        await asyncio.sleep(0.05)
    return present


async def _create(admin: AIOKafkaAdminClient, new: list[NewTopic]) -> set[str]:
    answer = await admin.create_topics(new)
    # another process may have been first: then it exists, which is what we want
    _check([row[:2] for row in answer.topic_errors], allowed=TopicAlreadyExistsError)
    return {row[0] for row in answer.topic_errors if not row[1]}


def _check(codes: Iterable[tuple[str, int]], allowed: type[KafkaError]) -> None:
    for name, code in codes:
        if code and for_code(code) is not allowed:
            raise TopicsError(f"Kafka refuses topic {name}: {for_code(code).__name__} ({for_code(code).description})")


def _states(
    settings: Settings, topics: Sequence[Topic], present: dict[str, int], created: set[str]
) -> tuple[TopicState, ...]:
    named = ((topic, topic.full_name(settings.prefix)) for topic in topics)
    return tuple(TopicState(topic, name, present.get(name), name in created) for topic, name in named)
