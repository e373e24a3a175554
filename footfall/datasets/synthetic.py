"""A small made-up shop: for tests, and for machines where no real data set is installed.

200 users with habits of their own (repeats) buy from 300 items in 20 categories; items of one category tend to share a
basket (co-purchases). The same seed gives the same purchases; nothing of it says anything about real shoppers.
"""

from datetime import UTC, datetime

import numpy as np

from footfall.datasets import Dataset
from model_core.recommender.purchase_log import PurchaseLog
from schemas.events import ItemData

USERS, ITEMS, CATEGORIES, DAYS = 200, 300, 20, 120
FIRST_DAY = datetime(2024, 1, 1, tzinfo=UTC)
DAY_MS = 86_400_000
KINDS = (
    "Apple", "Bread", "Coffee", "Cheese", "Juice", "Pasta", "Rice", "Soup", "Tea", "Yogurt",
    "Soap", "Shampoo", "Cereal", "Cookies", "Salad", "Sauce", "Milk", "Nuts", "Water", "Fish",
)  # fmt: skip


def load(seed: int = 0) -> Dataset:
    """The data set of a seed. Training stops by default after three quarters of the days."""
    start_ms = int(FIRST_DAY.timestamp() * 1000)
    return Dataset(
        name="synthetic",
        provenance="Made up by footfall/datasets/synthetic.py from a seed; no real shop, no real person.",
        timezone="UTC",
        trained_until_ms=start_ms + DAYS * 3 // 4 * DAY_MS,
        log=_purchases(np.random.default_rng(seed), start_ms),
        catalog=_catalog(),
    )


def _purchases(rng: np.random.Generator, start_ms: int) -> PurchaseLog:
    category = np.arange(ITEMS) % CATEGORIES
    popularity = 1 / np.arange(1, ITEMS + 1) ** 0.7
    rows: list[tuple[int, int, int, int]] = []  # user, basket, time, item
    basket = 0
    for user in range(USERS):
        habits = rng.choice(ITEMS, size=12, replace=False, p=popularity / popularity.sum())
        day = float(rng.uniform(0, 10))
        while day < DAYS:
            theme = int(rng.integers(CATEGORIES))
            themed = rng.choice(np.flatnonzero(category == theme), size=3, replace=False)
            usual = rng.choice(habits, size=int(rng.integers(2, 6)), replace=False)
            time_ms = start_ms + int(day) * DAY_MS + int(rng.integers(9, 21)) * 3_600_000 + int(rng.integers(3_600_000))
            rows += [(user, basket, time_ms, item) for item in {*usual.tolist(), *themed.tolist()}]
            basket += 1
            day += 1 + float(rng.exponential(6))
    table = np.array(rows, np.int64)
    units = np.ones(len(table), np.int64)
    paid = 1 + table[:, 3] % 17 * 0.5
    return PurchaseLog.build(
        user=table[:, 0], item=table[:, 3], store=np.zeros(len(table), np.int64), basket=table[:, 1],
        time_ms=table[:, 2], quantity=units, paid=paid,
    )  # fmt: skip


def _catalog() -> tuple[ItemData, ...]:
    return tuple(
        ItemData(
            item_id=str(item),
            title=f"{KINDS[item % CATEGORIES]} No. {item // CATEGORIES + 1}",
            category=KINDS[item % CATEGORIES],
            brand="Footfall" if item % 3 else "Example",
            price=1 + item % 17 * 0.5,
            attributes={"department": "Food" if item % CATEGORIES < 10 else "Household"},
        )
        for item in range(ITEMS)
    )
