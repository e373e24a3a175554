"""Who failed in the same moment as others does not come back in the same moment as they."""

import random
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    ConnectionError,  # noqa: A004
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)

from agents import publisher
from agents.backoff import wait_s
from agents.state import scripts
from agents.state.scripts import is_away, while_away

LADDERS = st.sampled_from((publisher.RETRY_S, scripts.RETRY_S))
AWAY = (ConnectionError(), TimeoutError(), ConnectionRefusedError(), BusyLoadingError(), OutOfMemoryError())


@given(steps_s=LADDERS, attempt=st.integers(0, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_between_half_of_its_step_and_all_of_it(
    steps_s: Sequence[float], attempt: int, chance: float
) -> None:
    step_s = steps_s[attempt] if attempt < len(steps_s) else steps_s[-1]
    assert step_s / 2 <= wait_s(steps_s, attempt, chance) <= step_s


@given(steps_s=LADDERS)
def test_by_the_same_chance_a_later_attempt_waits_longer_up_to_the_last_step(steps_s: Sequence[float]) -> None:
    waits_s = [wait_s(steps_s, attempt, 0.5) for attempt in range(len(steps_s) + 5)]
    assert all(earlier < later for earlier, later in pairwise(waits_s[: len(steps_s)]))
    assert set(waits_s[len(steps_s) :]) == {waits_s[len(steps_s) - 1]}


@pytest.mark.parametrize("attempt", range(6))
def test_the_waits_of_many_are_spread_evenly(attempt: int) -> None:
    chance, step_s = random.Random(attempt), publisher.RETRY_S[min(attempt, 4)]
    waits_s = [wait_s(publisher.RETRY_S, attempt, chance.random()) for _ in range(1000)]
    tenths = Counter(int((wait / step_s - 0.5) * 20) for wait in waits_s)
    assert set(tenths) == set(range(10))
    assert max(tenths.values()) < 150  # of 1,000, where 100 would be even


class Away:
    """Redis, which fails `failures` times and then answers; and the time, which passes at once."""

    def __init__(self, failures: Sequence[Exception]) -> None:
        self.failures = list(failures)
        self.waits_s: list[float] = []
        self.was_away: list[bool] = []

    async def operation(self) -> str:
        if self.failures:
            raise self.failures.pop(0)
        return "answer"

    async def pause(self, seconds: float) -> None:
        self.waits_s.append(seconds)
        self.was_away.append(is_away())


async def test_while_redis_is_away_each_wait_is_drawn_anew_from_the_next_step() -> None:
    redis, draws = Away(AWAY), iter((0.0, 0.25, 0.5, 0.75, 0.5))
    assert await while_away(redis.operation, chance=lambda: next(draws), pause=redis.pause) == "answer"
    assert redis.waits_s == pytest.approx([0.05 * 0.5, 0.1 * 0.625, 0.3 * 0.75, 1.0 * 0.875, 1.0 * 0.75])
    assert redis.was_away == [True] * 5
    assert not is_away()


@pytest.mark.parametrize("error", [
    ReadOnlyError(), MasterDownError("MASTERDOWN"), ClusterDownError("CLUSTERDOWN"), TryAgainError("TRYAGAIN"),
    ResponseError("MISCONF Errors writing to the AOF file: No space left on device"),
    ResponseError("NOREPLICAS Not enough good replicas to write."), ResponseError("BUSY Redis is busy."),
], ids=lambda error: str(error).partition(" ")[0] or type(error).__name__)
async def test_a_failover_a_full_disk_and_a_slow_script_are_waited_for_like_a_redis_that_is_away(
    error: RedisError,
) -> None:
    redis = Away([error, error])
    assert await while_away(redis.operation, pause=redis.pause) == "answer"
    assert redis.was_away == [True, True]


async def test_a_redis_that_is_slow_gets_more_time_with_each_attempt_and_one_that_is_away_does_not() -> None:
    redis, asked_for_s = Away([TimeoutError(), ConnectionError(), *[TimeoutError()] * 3]), list[float]()

    def timeout(seconds: float) -> AbstractAsyncContextManager[object]:
        asked_for_s.append(seconds)
        return nullcontext()

    assert await while_away(redis.operation, pause=redis.pause, within=timeout) == "answer"
    assert asked_for_s == [5.0, 10.0, 10.0, 20.0, 20.0, 20.0]


async def test_what_redis_does_at_once_waits_for_nothing() -> None:
    redis = Away(())
    assert await while_away(redis.operation, pause=redis.pause) == "answer"
    assert redis.waits_s == []


async def test_a_bug_in_a_script_is_not_waited_for() -> None:
    redis = Away((ConnectionError(), ResponseError("a bug")))
    with pytest.raises(ResponseError):
        await while_away(redis.operation, pause=redis.pause)
    assert len(redis.waits_s) == 1
    assert not is_away()


async def test_agents_that_lost_the_same_redis_try_again_at_different_moments() -> None:
    moments_s: list[list[float]] = []
    for seed in range(200):
        redis = Away([ConnectionError()] * 8)
        await while_away(redis.operation, chance=random.Random(seed).random, pause=redis.pause)
        moments_s.append(list(accumulate(redis.waits_s)))
    for attempt in range(8):
        tries = [moments[attempt] for moments in moments_s]
        assert len(set(tries)) == 200
        if attempt >= 3:  # from the longest step on, no tenth of a second holds most of them
            assert max(Counter(int(10 * moment) for moment in tries).values()) < 100
