"""Keeps a log readable, and a disk from filling, while something is away and a client says so hundreds of times.

Knows nothing of who logs what: a place in the code may speak once in a while.
"""

import logging
import time
from collections.abc import Callable

INTERVAL_S = 10.0
AIOKAFKA = (  # those of its loggers that speak on every attempt
    "aiokafka", "aiokafka.conn", "aiokafka.consumer.fetcher", "aiokafka.consumer.group_coordinator",
    "aiokafka.producer.sender",
)


class Repeats(logging.Filter):
    """Lets through one record per place and `INTERVAL_S`, with the count of those held back. Bounded by the code."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._spoke_s: dict[tuple[str, int], float] = {}
        self._held_back: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        place, now_s = (record.pathname, record.lineno), self._clock()
        if now_s - self._spoke_s.get(place, -INTERVAL_S) < INTERVAL_S:
            self._held_back[place] = self._held_back.get(place, 0) + 1
            return False
        self._spoke_s[place] = now_s
        if held_back := self._held_back.pop(place, 0):
            record.msg = f"{record.getMessage()} (and {held_back} more like this)"
            record.args = ()
        return True


def quieten(names: tuple[str, ...] = AIOKAFKA) -> None:
    """Have these loggers repeat themselves less."""
    for name in names:
        logging.getLogger(name).addFilter(Repeats())
