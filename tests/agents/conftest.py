"""Fixtures of the agents' tests."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from agents.state.connection import connect
from footfall.stack import Stack
from tests.agents.scripted_agent import Agent
from tests.agents.scripted_consumer import P0, Harness


@pytest.fixture
async def agent(stack: Stack, prefix: str) -> AsyncIterator[Agent]:
    async with Agent(stack, prefix).alone() as agent:
        yield agent


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    redis = connect(stack.settings.redis_url)
    yield redis
    await redis.aclose()


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    await harness.assign(1, P0)
    yield harness
    await harness.close()
