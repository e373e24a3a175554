"""What the model is measured against: popularity of the last days, and what the user buys often. No torch.

Both learn one purchase at a time, so that a demo can ask them before each purchase exactly as it asks the model.
"""

import heapq
from collections import Counter, deque
from collections.abc import Sequence
from typing import Protocol

from model_core.recommender.features import DAY_MS

HOUR_MS = 3_600_000


class Baseline(Protocol):
    """Purchases come in order of time."""

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None: ...
    def top(self, user: str, now_ms: int, k: int) -> list[str]: ...


class Popularity:
    """The items in most baskets of the last days. The list is made anew when an hour has passed."""

    def __init__(self, days: float) -> None:
        self._window_ms = days * DAY_MS
        self._recent: deque[tuple[int, tuple[str, ...]]] = deque()
        self.sold: Counter[str] = Counter()
        self._made_ms = -HOUR_MS
        self._best: list[str] = []

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:  # noqa: ARG002 - as the others
        self._recent.append((time_ms, tuple(items)))
        self.sold.update(items)

    def top(self, user: str, now_ms: int, k: int) -> list[str]:  # noqa: ARG002
        """The k best; ties are broken by item id."""
        if now_ms - self._made_ms >= HOUR_MS or len(self._best) < k:
            while self._recent and self._recent[0][0] < now_ms - self._window_ms:
                for item in self._recent.popleft()[1]:
                    self.sold[item] -= 1
                    if not self.sold[item]:
                        del self.sold[item]
            self._best = heapq.nsmallest(k, self.sold, key=lambda item: (-self.sold[item], item))
            self._made_ms = now_ms
        return self._best[:k]


class PersonalFrequency:
    """How often the user bought an item, an older purchase counting less; then what is popular.

    The strongest simple method on grocery baskets (Li et al., TOIS 2023). Equal counts are ordered by popularity.
    """

    def __init__(self, half_life_days: float, popularity: Popularity) -> None:
        self._half_life_ms = half_life_days * DAY_MS
        self._popularity = popularity
        self._first_ms: int | None = None
        # counts are kept as of the first purchase of all: decay multiplies all of a user's alike, so order is kept
        self._counts: dict[str, dict[str, float]] = {}

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:
        self._popularity.observe(user, items, time_ms)
        if self._first_ms is None:
            self._first_ms = time_ms
        weight = 2 ** ((time_ms - self._first_ms) / self._half_life_ms)
        counts = self._counts.setdefault(user, {})
        for item in items:
            counts[item] = counts.get(item, 0.0) + weight

    def top(self, user: str, now_ms: int, k: int) -> list[str]:
        popular = self._popularity.top(user, now_ms, 2 * k)
        sold, counts = self._popularity.sold, self._counts.get(user, {})
        own = heapq.nsmallest(k, counts, key=lambda item: (-counts[item], -sold[item], item))
        return [*own, *(item for item in popular if item not in own)][:k]


def popularity_28d() -> Popularity:
    """Popularity of the last 28 days."""
    return Popularity(days=28)


def personal_frequency(half_life_days: float = 120) -> PersonalFrequency:
    """Recency-weighted personal frequency; 120 days was the best half-life in research on this data."""
    return PersonalFrequency(half_life_days, popularity_28d())
