"""How events become numbers. The one place where training and serving agree; numpy only, no torch."""

import re
import zlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from schemas.events import ItemData

EVENT_TYPES = ("view", "select", "cart", "wishlist", "purchase")
EVENT_CODES = {name: code for code, name in enumerate(EVENT_TYPES)}
MAX_TOKENS = 128  # the newest history lines, as many as agents keep
MAX_COUNTERS = 512  # items a user has counters for, as many as agents keep
HALF_LIVES_DAYS = (30.0, 200.0)  # of the decayed purchase counters, as agents keep them
GAP_BUCKETS = 21
TEXT_BUCKETS = 4096
MAX_WORDS = 12
MINUTE_MS = 60_000
DAY_MS = 86_400_000


def gap_bucket(gap_ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 below a minute, then one bucket per doubling: 11 is about a day, 14 a week, 20 a year and more."""
    minutes = np.maximum(gap_ms, 0) / MINUTE_MS
    return np.clip(np.floor(np.log2(minutes + 1)), 0, GAP_BUCKETS - 1).astype(np.int64)


def text_buckets(item: ItemData) -> list[int]:
    """The hashed words of an item's title, category, brand and department; a category's own words count apart."""
    department = str(item.attributes.get("department", ""))
    words = [f"w:{word}" for word in re.findall(r"[\w.]+", item.title.lower())[: MAX_WORDS - 3]]
    fields = [f"c:{item.category}", f"b:{item.brand}", f"d:{department}"]
    return [zlib.crc32(word.encode()) % TEXT_BUCKETS for word in fields + words]


def text_table(items: Sequence[ItemData]) -> NDArray[np.int16]:
    """Text buckets of each item, padded with TEXT_BUCKETS, (N, MAX_WORDS)."""
    table = np.full((len(items), MAX_WORDS), TEXT_BUCKETS, np.int16)
    for row, item in enumerate(items):
        buckets = text_buckets(item)
        table[row, : len(buckets)] = buckets
    return table
