"""Sums up what customers bought before a replay starts, and loads it into Redis. Knows the data, not the keys."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from agents.state.backfill import FAST_DAYS, HISTORY, ITEMS, SEEN, SLOW_DAYS, Backfill, UserPast
from agents.state.changes import event_id

if TYPE_CHECKING:
    from model_core.recommender.purchase_log import PurchaseLog

DAY_MS = 86_400_000
USERS_PER_CALL = 50


async def load_history(
    log: "PurchaseLog", source: str, backfill: Backfill, progress: Callable[[int, int], None]
) -> tuple[int, int]:
    """Load every purchase of the log; returns how many users and purchases. `progress`: users done, users in all."""
    users = len(np.unique(log.user))
    done = 0
    batch: list[UserPast] = []
    for past in pasts(log, source):
        batch.append(past)
        if len(batch) == USERS_PER_CALL:
            await backfill.load(batch)
            done += len(batch)
            batch = []
            progress(done, users)
        await asyncio.sleep(0)  # others have work too
    await backfill.load(batch)
    return users, len(log.basket_starts()) - 1


def pasts(log: "PurchaseLog", source: str) -> Iterator[UserPast]:
    """Each user's purchases summed up, as of the user's newest. Purchase n of the log has the id `history-<n>`."""
    order = np.lexsort((np.arange(len(log)), log.user))  # by user, then time
    starts = np.r_[0, np.flatnonzero(np.diff(log.user[order])) + 1, len(log)] if len(log) else [0]
    for start, stop in pairwise(starts):
        yield _past(log, order[start:stop], source)


def _past(log: "PurchaseLog", rows: "np.ndarray[tuple[int], np.dtype[np.int64]]", source: str) -> UserPast:
    times, items, baskets = log.time_ms[rows], log.item[rows], log.basket[rows]
    newest_ms = int(times[-1])
    codes, at = np.unique(items, return_inverse=True)
    age_days = (newest_ms - times) / DAY_MS
    fast = np.bincount(at, 2.0 ** (-age_days / FAST_DAYS))
    slow = np.bincount(at, 2.0 ** (-age_days / SLOW_DAYS))
    kept = np.argsort(-slow, kind="stable")[:ITEMS]
    ids = {int(basket): event_id(source, f"history-{basket}") for basket in np.unique(baskets)[-SEEN:]}
    return UserPast(
        user=log.user_ids[log.user[rows[0]]],
        history={
            f"purchase:{log.item_ids[item]}:{ids[basket].hex()}": time_ms
            for item, basket, time_ms in zip(
                items[-HISTORY:].tolist(), baskets[-HISTORY:].tolist(), times[-HISTORY:].tolist(), strict=True
            )
        },
        counters={
            log.item_ids[codes[n]]: (float(fast[n]), float(slow[n]), float(newest_ms)) for n in kept.tolist()
        },
        seen=b"".join(ids.values()), version=len(np.unique(baskets)), event_time_ms=newest_ms,
    )
