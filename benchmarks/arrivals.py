"""When events of many users are due, and waiting for them."""

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence


def poisson(rate_eps: float, seconds: float, seed: int) -> Iterator[float]:
    """When events are due, in seconds: independent of each other, as those of many users are."""
    chance, at_s = random.Random(seed), 0.0
    while (at_s := at_s + chance.expovariate(rate_eps)) < seconds:
        yield at_s


def when_due(
    due_s: Sequence[float],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[slice]:
    """Sleep until the next of these moments, ascending and by this clock; tell which are due by then."""
    at = 0
    while at < len(due_s):
        sleep(max(0.0, due_s[at] - clock()))
        until = bisect_right(due_s, clock(), at)
        if until > at:
            yield slice(at, until)
        at = until
