"""Synthetic clicks from two exponents, after Algorithm 1 of ETUDE (Kersbergen et al., ICDE 2024). Seeded.

The length of a session and the clicks of an item follow power laws; each click of a session picks an item by how often
it is clicked, whatever came before. A request follows each click, with all clicks of its session until then.
"""

from collections.abc import Iterator

import msgspec
import numpy as np
from msgspec import Raw

from model_core.recommender.features import DAY_MS, MAX_TOKENS, MINUTE_MS
from model_core.recommender.purchase_log import Float32s, Int64s
from schemas.inference import RecommendRequest, UserState

# the exponent of clicks per item that ETUDE's own generator is set to
CLICK_EXPONENT = 3.65
# of session lengths: 5.4 clicks on average with the model's limit, where ETUDE's generator has 5.6
LENGTH_EXPONENT = 2.0
NOW_MS = 400 * DAY_MS


class Sessions:
    """Clicks on the items 0 … `items` - 1. `popularity`: each item's share of all clicks."""

    def __init__(self, items: int, seed: int) -> None:
        self._chance = np.random.default_rng(seed)
        clicks = self._chance.pareto(CLICK_EXPONENT - 1, items) + 1
        self._cumulative = clicks.cumsum()
        self.popularity = clicks / self._cumulative[-1]

    @property
    def log_popularity(self) -> Float32s:
        """(items,)."""
        logarithms: Float32s = np.log(self.popularity).astype(np.float32)
        return logarithms

    def requests(self, count: int) -> list[RecommendRequest]:
        """So many requests, of many sessions at a time: their order is random."""
        states = [state for session in self._sessions(count) for state in _prefixes(session)]
        chosen = self._chance.permutation(len(states))[:count]
        return [RecommendRequest(number, 60_000, NOW_MS, states[at]) for number, at in enumerate(chosen.tolist())]

    def _sessions(self, clicks: int) -> Iterator[Int64s]:
        """Sessions that hold at least so many clicks together."""
        while clicks > 0:
            drawn = int((1 - self._chance.random()) ** (-1 / (LENGTH_EXPONENT - 1)))
            length = min(drawn, MAX_TOKENS)
            share = self._chance.random(length) * self._cumulative[-1]
            yield np.searchsorted(self._cumulative, share).astype(np.int64)
            clicks -= length


def _prefixes(session: Int64s) -> Iterator[Raw]:
    """The state after each click: the newest first, half a minute apart."""
    lines: tuple[str, ...] = ()
    for number, item in enumerate(session.tolist()):
        at_ms = NOW_MS - (len(session) - number) * MINUTE_MS // 2
        lines = (f"view:{item}:{number:016x}", str(at_ms), *lines)
        yield Raw(msgspec.msgpack.encode(UserState(lines, (), b"", ())))
