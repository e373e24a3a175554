"""One running system per broker for the whole folder; tests keep apart by users and items of their own."""

from collections.abc import AsyncIterator, Generator, Iterator

import pytest
import pytest_asyncio

from footfall import topics as topic_table
from footfall.stack import Stack
from tests.contract.storefront import Storefront, catalogue, click, unique
from tests.contract.system import System

START_WITHIN_S = 60.0


@pytest.fixture(
    scope="session",
    params=[
        pytest.param("tansu_stack", id="local", marks=pytest.mark.stack),
        pytest.param("kafka_stack", id="apache", marks=pytest.mark.kafka),
    ],
)
def system_stack(request: pytest.FixtureRequest) -> Stack:
    chosen: Stack = request.getfixturevalue(request.param)
    return chosen


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def system(system_stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    new = System(system_stack, tmp_path_factory.mktemp("logs"))
    await topic_table.create(new.settings)
    with new.running():
        yield new
    await topic_table.delete(new.settings)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def storefront(system: System) -> AsyncIterator[Storefront]:
    """A client of a system that is up: both agents have read something, and the model has answered."""
    async with Storefront(system.bootstrap_servers, system.redis_url, system.prefix) as client:
        first = await client.send(click(unique("first"), "1"))
        item = unique("first")
        await client.send(catalogue(item))
        await client.result_for(first, within_s=START_WITHIN_S)
        await client.until(lambda: client.redis.exists(f"item:{{{item}}}"), "the first item", START_WITHIN_S)
        yield client


@pytest.fixture
def shop(storefront: Storefront) -> Iterator[Storefront]:
    """The client; whatever a test is about, no id may have two bodies and no version may fall meanwhile."""
    yield storefront
    violations, storefront.violations = storefront.violations, []
    assert not violations


@pytest.fixture
def user() -> str:
    return unique("u")


@pytest.fixture
def item() -> str:
    return unique("i")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show what the processes logged beside the failure of a test."""
    report = yield
    system = getattr(item, "funcargs", {}).get("system")
    if report.failed and isinstance(system, System):
        report.sections.extend((f"log of {process.name}", process.tail()) for process in system.processes)
    return report
