"""A past that is loaded at once is the past that streaming would have left."""

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest

from agents.state.backfill import Backfill
from agents.state.changes import Change, event_id
from agents.state.store import UserChanges, UserStore
from footfall.history import load_history, pasts
from footfall.stack import Stack
from model_core.recommender.purchase_log import PurchaseLog
from schemas.inference import user_state_decoder

if TYPE_CHECKING:
    from schemas.inference import UserState

DAY_MS = 86_400_000
SOURCE = "footfall/test"


def log_of(prefix: str, users: int, baskets: int, items: int) -> PurchaseLog:
    rng = np.random.default_rng(3)
    lines = []
    for basket in range(baskets):
        user, time_ms = int(rng.integers(users)), 1_500_000_000_000 + basket * DAY_MS // 3
        lines += [(user, int(item), basket, time_ms) for item in rng.choice(items, size=5, replace=False)]
    table = np.array(lines, np.int64)
    ones = np.ones(len(table), np.int64)
    log = PurchaseLog.build(
        user=table[:, 0], item=table[:, 1], store=ones, basket=table[:, 2], time_ms=table[:, 3], quantity=ones,
        paid=ones.astype(float),
    )
    return replace(log, user_ids=tuple(f"{prefix}-{user}" for user in log.user_ids))


def streamed(log: PurchaseLog, user: str) -> UserChanges:
    """What the user's purchases would be, had they come as events."""
    changes, ids = [], b""
    for basket in log.baskets():
        if basket.user_id == user:
            seen_as = event_id(SOURCE, f"history-{basket.index}")
            members = tuple(f"purchase:{item}:{seen_as.hex()}" for item in basket.item_ids)
            changes.append(Change(basket.time_ms, members, basket.item_ids, (), (), ()))
            ids += seen_as
    return UserChanges(user, tuple(changes), ids)


def history_of(state: "UserState") -> dict[str, int]:
    return {member: int(float(time)) for member, time in zip(state.history[::2], state.history[1::2], strict=True)}


def counters_of(state: "UserState") -> dict[str, tuple[float, ...]]:
    rows = np.frombuffer(state.counter_values, "<f8").reshape(-1, 3)
    return {item: tuple(row) for item, row in zip(state.counter_items, rows.tolist(), strict=True)}


@pytest.mark.stack
async def test_loading_leaves_the_state_that_streaming_would_have_left(stack: Stack, prefix: str) -> None:
    from agents.state.connection import connect

    log = log_of(prefix, users=3, baskets=120, items=40)
    redis = connect(stack.settings.redis_url)
    store = UserStore(redis, stack.settings)
    try:
        loaded = await load_history(log, SOURCE, Backfill(redis, stack.settings), lambda _done, _of: None)
        assert loaded == (3, 120)
        for user in log.user_ids:
            other = f"other-{user}"
            (quick,) = await store.apply([UserChanges(user)])
            (slow,) = await store.apply([msgspec.structs.replace(streamed(log, user), user=other)])
            assert (quick.version, quick.event_time_ms) == (slow.version, slow.event_time_ms)
            one, two = user_state_decoder.decode(quick.state), user_state_decoder.decode(slow.state)
            # lines of the oldest basket share a time: which of them still fit is not decided by time
            oldest = min(history_of(two).values())
            assert {m: t for m, t in history_of(one).items() if t > oldest} == {
                m: t for m, t in history_of(two).items() if t > oldest
            }
            assert len(history_of(one)) == len(history_of(two))
            newest = float(slow.event_time_ms)
            counts, expected = counters_of(one), counters_of(two)
            assert counts.keys() == expected.keys()
            for item, (fast, slowly, at) in expected.items():
                decay = newest - at
                assert counts[item] == pytest.approx(
                    (fast * 2 ** (-decay / (30 * DAY_MS)), slowly * 2 ** (-decay / (200 * DAY_MS)), newest), rel=1e-9
                )
            # the purchases are known: streaming them again changes nothing
            (again,) = await store.apply([streamed(log, user)])
            assert (again.new_events, again.version) == (0, quick.version)
    finally:
        await redis.aclose()


@pytest.mark.stack
async def test_a_user_with_state_is_left_alone(stack: Stack, prefix: str) -> None:
    from agents.state.connection import connect

    log = log_of(prefix, users=2, baskets=10, items=20)
    redis = connect(stack.settings.redis_url)
    backfill = Backfill(redis, stack.settings)
    try:
        everyone = list(pasts(log, SOURCE))
        assert await backfill.load(everyone[:1]) == 1
        assert await backfill.load(everyone) == 1
    finally:
        await redis.aclose()


def test_a_long_past_is_cut_to_what_redis_keeps() -> None:
    log = log_of("u", users=1, baskets=1500, items=600)
    (past,) = pasts(log, SOURCE)
    assert (len(past.history), len(past.counters), len(past.seen)) == (128, 512, 8 * 1024)
    assert past.version == 1500
