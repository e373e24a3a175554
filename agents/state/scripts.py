"""Runs a Lua script for many keys in one round trip, and waits for Redis rather than fail."""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, TypeVar

from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)

from agents.backoff import wait_s
from agents.state.connection import send_all

logger = logging.getLogger(__name__)
Result = TypeVar("Result")

RETRY_S = (0.05, 0.1, 0.3, 1.0)
TIMEOUT_S = 5.0  # of one pipeline: one timer, where redis-py's own would be one per reply
LONGEST_S = 20.0  # doubles so far: a Redis that is merely slow must get through a pipeline some time
AWAY = (  # OSError holds TimeoutError, ClusterDownError holds MasterDownError
    ConnectionError, BusyLoadingError, OutOfMemoryError, ReadOnlyError, ClusterDownError, TryAgainError, OSError,
)
AWAY_CODES = ("MISCONF", "NOREPLICAS", "BUSY")  # no writes for now: a full disk, a failover, a slow script


_waiting = 0  # calls that Redis has failed at least once; one Redis per process


def is_away() -> bool:
    """Whether some call waits for Redis to come back."""
    return _waiting > 0


async def while_away(
    operation: Callable[[], Awaitable[Result]],
    *,
    chance: Callable[[], float] = random.random,
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    within: Callable[[float], AbstractAsyncContextManager[object]] = asyncio.timeout,
) -> Result:
    """Do it; while Redis is away, loading or full, wait and do it again. Meanwhile nothing is acknowledged.

    By chance, agents that lost the same Redis do not return in the same moment.
    """
    global _waiting  # noqa: PLW0603
    attempt = late = 0
    try:
        while True:
            try:
                async with within(min(TIMEOUT_S * 2**late, LONGEST_S)):
                    return await operation()
            except (*AWAY, ResponseError) as error:
                code = next((code for code in AWAY_CODES if str(error).startswith(code)), "")
                if not code and not isinstance(error, AWAY):
                    raise  # a bug
                if attempt % 30 == 0:
                    logger.warning("Redis cannot serve (%s); all work holds until it can", code or type(error).__name__)
                late += isinstance(error, TimeoutError)
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
