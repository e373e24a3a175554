"""Answers reach whoever asked for them, also after somebody else gave up in the middle."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from agents.state.connection import connect, send_all
from footfall.stack import Stack

pytestmark = pytest.mark.stack


@pytest.fixture
async def redis(stack: Stack) -> AsyncIterator[Redis]:
    client = connect(stack.settings.redis_url, max_connections=1)
    yield client
    await client.aclose()


async def test_answers_come_in_the_order_of_the_commands(redis: Redis) -> None:
    assert await send_all(redis, [("ECHO", "a"), ("ECHO", "b")]) == [b"a", b"b"]


async def test_answers_that_take_many_reads_come_whole_and_in_order(redis: Redis) -> None:
    texts = [f"{number}".encode() * 1000 for number in range(500)]
    assert await send_all(redis, [("ECHO", text) for text in texts]) == texts


async def test_what_comes_behind_an_error_is_not_taken_for_the_next_callers_answer(redis: Redis) -> None:
    with pytest.raises(ResponseError):
        await send_all(redis, [("ECHO",), ("ECHO", "stale")])
    with pytest.raises(ResponseError):
        await send_all(redis, [("ECHO", "a"), ("ECHO",), ("ECHO", "stale")])
    assert await send_all(redis, [("ECHO", "b")]) == [b"b"]


async def test_an_answer_to_who_gave_up_is_not_taken_for_the_next_callers(
    redis: Redis, stack: Stack, prefix: str
) -> None:
    other: Redis = Redis.from_url(stack.settings.redis_url)
    waiting = asyncio.create_task(send_all(redis, [("BLPOP", prefix, "0")]))
    async with asyncio.timeout(10):
        while not (await other.info("clients"))["blocked_clients"]:
            await asyncio.sleep(0.01)
    waiting.cancel()
    await asyncio.wait([waiting])
    await other.rpush(prefix, "stale")
    assert await send_all(redis, [("ECHO", "b")]) == [b"b"]
    await other.delete(prefix)
    await other.aclose()
