"""Simulated stock: levels that fall with the replayed sales and rise when a simulated order arrives. Pure and seeded.

The data has no stock levels. Starting levels cover a few days of an item's past sales, a small share starts nearly
empty, so that some items run out. A real sale is never refused: it takes what is left.
"""

import heapq
import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schemas.events import StockLevelData

DAY_MS = 86_400_000
COVER_DAYS = (6.0, 14.0)  # days of sales on the shelf after a delivery
LEAD_DAYS = (1.0, 4.0)
REORDER_SHARE = 0.4  # an order goes out when less than this share of the full level is left
SCARCE_SHARE = 0.02  # items that start with a unit or two
REPORT_SHARE = 0.1  # a level is sent when it moved by this share of the full level, or to or from zero


@dataclass(slots=True)
class _Item:
    full: int
    on_hand: int
    reported: int
    lead_ms: int
    on_order: int = 0


class Stock:
    """One level per item. The same seed and the same sales give the same levels."""

    def __init__(self, daily_sales: Mapping[str, float], seed: int) -> None:
        self._items: dict[str, _Item] = {}
        self._deliveries: list[tuple[int, str]] = []
        for item_id, rate in daily_sales.items():
            rng = random.Random(f"{seed}/stock/{item_id}")  # noqa: S311 - a simulation
            full = max(4, round(rate * rng.uniform(*COVER_DAYS)))
            on_hand = rng.randint(1, 2) if rng.random() < SCARCE_SHARE else rng.randint((full + 1) // 2, full)
            lead_ms = int(rng.uniform(*LEAD_DAYS) * DAY_MS)
            self._items[item_id] = _Item(full, on_hand, on_hand, lead_ms)
        self.unavailable: set[str] = set()

    def levels(self) -> list[StockLevelData]:
        """The level of every item, now."""
        return [self._level(item_id) for item_id in self._items]

    def sell(self, sales: Iterable[tuple[str, int]], now_ms: int) -> list[StockLevelData]:
        """Take what was bought off the shelves; returns the levels worth reporting."""
        touched = []
        for item_id, quantity in sales:
            item = self._items.get(item_id)
            if item is None:
                continue
            item.on_hand = max(0, item.on_hand - quantity)
            if item.on_hand < item.full * REORDER_SHARE and not item.on_order:
                item.on_order = item.full - item.on_hand
                heapq.heappush(self._deliveries, (now_ms + item.lead_ms, item_id))
            touched.append(item_id)
        return self._reports(touched)

    def deliver(self, now_ms: int) -> list[StockLevelData]:
        """Put what has arrived by `now_ms` on the shelves; returns the levels worth reporting."""
        touched = []
        while self._deliveries and self._deliveries[0][0] <= now_ms:
            item_id = heapq.heappop(self._deliveries)[1]
            item = self._items[item_id]
            item.on_hand, item.on_order = item.on_hand + item.on_order, 0
            touched.append(item_id)
        return self._reports(touched)

    def _reports(self, item_ids: Iterable[str]) -> list[StockLevelData]:
        reports = []
        for item_id in dict.fromkeys(item_ids):
            item = self._items[item_id]
            crossed_zero = (item.on_hand == 0) != (item.reported == 0)
            if crossed_zero or abs(item.on_hand - item.reported) >= max(1, item.full * REPORT_SHARE):
                item.reported = item.on_hand
                (self.unavailable.discard if item.on_hand else self.unavailable.add)(item_id)
                reports.append(self._level(item_id))
        return reports

    def _level(self, item_id: str) -> StockLevelData:
        item = self._items[item_id]
        return StockLevelData(
            item_id=item_id, on_hand=item.on_hand, on_order=item.on_order,
            lead_time_days=round(item.lead_ms / DAY_MS, 2),
        )
