"""Fixtures for everyone: local stacks, one of each kind per session, and a topic prefix of its own for each test.

`stack` is the stack to test against: Tansu and Valkey from wheels, or Apache Kafka when KAFKA_HOME is set. `any_stack`
runs a test on both. Brokers that the environment names are never used: tests create and delete topics.
"""

import os
import shutil
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings

from footfall import topics as topic_table
from footfall.stack import Stack
from schemas.settings import Settings

settings.register_profile("footfall", deadline=None)  # a slow machine is no failure; pytest-timeout ends what hangs
settings.load_profile("footfall")

SESSION_TIMEOUT_S = 3.0  # Tansu forms a group in half of it and replaces a lost member in one and a half
SHARED_KAFKA = Path(__file__).parents[2] / "shared" / "kafka"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The contract tests run last and together: their clients share an event loop, which otherwise stands still."""
    items.sort(key=lambda item: item.path.parent.name == "contract")


def _settings(home: Path, kafka_home: str = "") -> Settings:
    return Settings(kafka_home=kafka_home, session_timeout_s=SESSION_TIMEOUT_S, home=home)


@pytest.fixture(scope="session")
def tansu_stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(_settings(tmp_path_factory.mktemp("home"))) as stack:
        yield stack


@pytest.fixture(scope="session")
def kafka_home() -> str:
    """An Apache Kafka distribution; tests that need it are skipped where there is none."""
    home = os.environ.get("KAFKA_HOME", "")
    if not home and SHARED_KAFKA.is_dir() and shutil.which("java"):
        home = str(SHARED_KAFKA)
    if not home:
        pytest.skip("needs Apache Kafka: set KAFKA_HOME to an unpacked distribution")
    return home


@pytest.fixture(scope="session")
def kafka_stack(kafka_home: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(_settings(tmp_path_factory.mktemp("home"), kafka_home)) as stack:
        yield stack


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Stack:
    chosen: Stack = request.getfixturevalue("kafka_stack" if os.environ.get("KAFKA_HOME") else "tansu_stack")
    return chosen


@pytest.fixture(
    params=[
        pytest.param("tansu_stack", id="local", marks=pytest.mark.stack),
        pytest.param("kafka_stack", id="apache", marks=pytest.mark.kafka),
    ]
)
def any_stack(request: pytest.FixtureRequest) -> Stack:
    chosen: Stack = request.getfixturevalue(request.param)
    return chosen


@pytest.fixture
def prefix() -> str:
    """A topic prefix that no other test uses; good for consumer groups and user ids too."""
    return f"t{uuid.uuid4().hex[:10]}"


@pytest.fixture
async def topics(stack: Stack, prefix: str) -> AsyncIterator[Settings]:
    """Settings with all topics created under `prefix` on `stack`; deleted afterwards, which frees Tansu's memory."""
    async with _topics(stack, prefix) as settings:
        yield settings


@pytest.fixture
async def any_topics(any_stack: Stack, prefix: str) -> AsyncIterator[Settings]:
    """As `topics`, on `any_stack`."""
    async with _topics(any_stack, prefix) as settings:
        yield settings


@asynccontextmanager
async def _topics(stack: Stack, prefix: str) -> AsyncIterator[Settings]:
    settings = msgspec.structs.replace(stack.settings, prefix=prefix)
    await topic_table.create(settings)
    try:
        yield settings
    finally:
        await topic_table.delete(settings)
