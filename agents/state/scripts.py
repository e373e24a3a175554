"""Runs a Lua script for many keys in one round trip, and waits for Redis rather than fail."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError, ConnectionError, NoScriptError, OutOfMemoryError  # noqa: A004

from agents.backoff import wait_s
from agents.state.connection import send_all

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

RETRY_S = (0.05, 0.1, 0.3, 1.0)
TIMEOUT_S = 5.0  # of one pipeline: one timer, where redis-py's own would be one per reply
AWAY = (ConnectionError, BusyLoadingError, OutOfMemoryError, OSError)  # OSError holds TimeoutError


_waiting = 0  # calls that Redis has failed at least once; one Redis per process


def is_away() -> bool:
    """Whether some call waits for Redis to come back."""
    return _waiting > 0


async def while_away(
    operation: Callable[[], Awaitable[Result]],
    *,
    chance: Callable[[], float] = random.random,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Result:
    """Do it; while Redis is away, loading or full, wait and do it again. Meanwhile nothing is acknowledged.

    By chance, agents that lost the same Redis do not return in the same moment.
    """
    global _waiting  # noqa: PLW0603
    attempt = 0
    try:
        while True:
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    return await operation()
            except AWAY as error:
                if attempt % 30 == 0:
                    logger.warning("Redis cannot serve (%s); all work holds until it can", type(error).__name__)
                again_in_s = wait_s(RETRY_S, attempt, chance())
                _waiting += attempt == 0
                attempt += 1
                await pause(again_in_s)
    finally:
        _waiting -= attempt > 0


class Script:
    """One Lua script, called many times in one pipeline."""

    def __init__(self, redis: Redis, path: Path) -> None:
        self._redis = redis
        self._text = path.read_text()
        self._sha = ""

    async def call_each(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Run once per call (number of keys, keys, arguments) and return the answers in order.

        Raises ResponseError when the script itself fails, which is a bug.
        """
        return await while_away(lambda: self._pipeline(calls))

    async def _pipeline(self, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        if not self._sha:
            self._sha = await self._redis.script_load(self._text)
        try:
            return await send_all(self._redis, [("EVALSHA", self._sha, *call) for call in calls])
        except NoScriptError:  # Redis was restarted; every call is safe to repeat
            self._sha = ""
            return await self._pipeline(calls)
