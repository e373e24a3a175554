"""From purchases to training batches: windows of a user's events, and decisions ("what is bought next?") in them.

A decision is a point in a user's history just before a basket; its targets are all lines of that basket, which has no
inner order (lines are shuffled anew each epoch). Some baskets are preceded by SIMULATED clicks, so that the event
types get a meaning: views of some of the basket's items, carts, and views of other items of the same category. Targets
are always real purchases. Counters are those before the basket, decayed to the moment of asking. numpy only.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model_core.recommender.features import (
    DAY_MS,
    EVENT_CODES,
    HALF_LIVES_DAYS,
    MAX_COUNTERS,
    MAX_TOKENS,
    MINUTE_MS,
    gap_bucket,
)
from model_core.recommender.purchase_log import Float32s, Int64s

PURCHASE, VIEW, CART = EVENT_CODES["purchase"], EVENT_CODES["view"], EVENT_CODES["cart"]
CLICK_TYPES = np.array([EVENT_CODES[name] for name in ("view", "select", "cart", "wishlist")])
CLICK_ODDS = np.array([0.5, 0.1, 0.35, 0.05])  # of a simulated click on an item of the basket
# when the question is asked, from the last event (0), as a stored recommendation is, to the basket (1)
ASKED, ASKED_ODDS = (0.0, 0.25, 0.5, 0.75, 1.0), (0.4, 0.07, 0.06, 0.07, 0.4)
OLD_CONTEXT = (32, 96)  # lines before the first target of a window, so that every decision sees a history


@dataclass(frozen=True, slots=True, eq=False)
class Shopper:
    """One user's lines within the vocabulary, oldest first (L,), and where each basket starts (baskets + 1,)."""

    item: Int64s
    time_ms: Int64s
    starts: Int64s
    own_items: Int64s  # distinct items, (M,)
    own_index: Int64s  # each line's place in own_items, (L,)
    weight: NDArray[np.float64]  # 2^(days/half-life) of each line, (K, L): summed and decayed they are the counters


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a shopper: lines from `first_line`, targets the baskets [first_target, last_target).

    `newcomer`: nothing before `first_line` is known, neither events nor counters.
    """

    shopper: int
    first_line: int
    first_target: int
    last_target: int
    lines: int
    newcomer: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """B windows of T tokens, D decisions, R counters of decisions, Q targets of decisions."""

    item: Int64s  # (B, T)
    event: Int64s  # (B, T)
    gap: Int64s  # (B, T)
    window: Int64s  # (D,)
    position: Int64s  # (D,)
    now_gap: Int64s  # (D,)
    day: Int64s  # (D,)
    counter_decision: Int64s  # (R,)
    counter_item: Int64s  # (R,)
    counters: Float32s  # (R, K)
    target_decision: Int64s  # (Q,)
    target_item: Int64s  # (Q,)


class Sequences:
    """All shoppers of a log, as an endless source of batches that a seed determines."""

    def __init__(
        self,
        *,
        user: Int64s,
        item: Int64s,
        basket: Int64s,
        time_ms: Int64s,
        category: Int64s,
        click_share: float,
        rng: np.random.Generator,
    ) -> None:
        """Columns of lines in order of time (L,); `item` codes are 0..N-1, `category` is that of each item (N,)."""
        self.rng = rng
        self.click_share = click_share
        self.start_item = len(category)
        self.first_ms = int(time_ms[0]) // DAY_MS * DAY_MS
        order = np.argsort(user, kind="stable")
        bounds = np.flatnonzero(np.diff(user[order])) + 1
        self.shoppers = [self._shopper(item[rows], basket[rows], time_ms[rows]) for rows in np.split(order, bounds)]
        self.category = category
        by_category = np.argsort(category, kind="stable")
        self.same_category = np.split(by_category, np.flatnonzero(np.diff(category[by_category])) + 1)

    def _shopper(self, item: Int64s, basket: Int64s, time_ms: Int64s) -> Shopper:
        own_items, own_index = np.unique(item, return_inverse=True)
        days = (time_ms - self.first_ms) / DAY_MS
        return Shopper(
            item=item,
            time_ms=time_ms,
            starts=np.r_[0, np.flatnonzero(np.diff(basket)) + 1, len(item)],
            own_items=own_items,
            own_index=own_index,
            weight=np.stack([2 ** (days / half_life) for half_life in HALF_LIVES_DAYS]),
        )

    def batches(self, windows_per_batch: int) -> Iterator[Batch]:
        """Epoch after epoch, windows of similar length together, batches in random order."""
        while True:
            windows = [window for number in range(len(self.shoppers)) for window in self._windows(number)]
            windows.sort(key=lambda window: window.lines + 16 * self.rng.random())
            groups = [windows[at : at + windows_per_batch] for at in range(0, len(windows), windows_per_batch)]
            for at in self.rng.permutation(len(groups)):
                yield self._collate(groups[at])

    def _windows(self, number: int) -> Iterator[Window]:
        """Every basket but the first is a target after some lines of context; one is asked of a newcomer besides."""
        starts = self.shoppers[number].starts
        baskets = len(starts) - 1
        alone = int(self.rng.integers(baskets))
        yield Window(number, int(starts[alone]), alone, alone + 1, 0, newcomer=True)
        first = 1
        while first < baskets:
            first_line = max(0, int(starts[first]) - int(self.rng.integers(*OLD_CONTEXT)))
            last = first + 1
            while last < baskets and starts[last] - first_line <= MAX_TOKENS:
                last += 1
            yield Window(number, first_line, first, last, int(starts[last - 1]) - first_line)
            first = last

    def _collate(self, windows: Sequence[Window]) -> Batch:
        collected = _Collected()
        for window in windows:
            self._add(window, collected)
        return collected.batch(self.start_item)

    def _add(self, window: Window, into: "_Collected") -> None:
        shopper, starts = self.shoppers[window.shopper], self.shoppers[window.shopper].starts
        row, rng = len(into.tokens), self.rng
        items: list[Int64s] = []
        events: list[Int64s] = []
        times: list[Int64s] = []
        length, seen = 0, window.first_line if window.newcomer else 0
        totals = np.zeros((len(HALF_LIVES_DAYS), len(shopper.own_items)))

        def ask(last_ms: int, now_ms: int, wanted: Int64s) -> None:
            if len(wanted):
                counted, counters = self._counters(shopper, totals, now_ms)
                day = (now_ms - self.first_ms) // DAY_MS
                into.decisions.append((row, max(length - 1, 0), now_ms - last_ms, day))
                into.counter_items.append(counted)
                into.counters.append(counters)
                into.targets.append(wanted)

        # lines of the basket that the window cuts are taken as they are, then whole baskets
        basket = int(np.searchsorted(starts, window.first_line, side="right")) - 1
        for k in range(basket, window.last_target):
            start, stop = max(int(starts[k]), window.first_line), int(starts[k + 1])
            shuffled = start + rng.permutation(stop - start)
            basket_ms = int(shopper.time_ms[start])
            if k >= window.first_target:
                for half_life in range(len(HALF_LIVES_DAYS)):
                    totals[half_life] += np.bincount(
                        shopper.own_index[seen:start], shopper.weight[half_life, seen:start], len(shopper.own_items)
                    )
                seen = start
                bought = shopper.item[start:stop]
                clicks = rng.random() < self.click_share
                if length or not clicks:
                    last_ms = int(times[-1][-1]) if times else basket_ms
                    share = rng.choice(ASKED, p=ASKED_ODDS)
                    ask(last_ms, last_ms + int((basket_ms - last_ms) * share), bought)
                if clicks:
                    clicked, types, click_ms = self._clicks(bought, basket_ms)
                    items.append(clicked)
                    events.append(types)
                    times.append(click_ms)
                    length += len(clicked)
                    ask(int(click_ms[-1]), basket_ms, bought[~np.isin(bought, clicked[types == CART])])
            if k + 1 < window.last_target:
                items.append(shopper.item[shuffled])
                events.append(np.full(stop - start, PURCHASE))
                times.append(shopper.time_ms[shuffled])
                length += stop - start
        if not length:  # nothing is known yet
            items, events, times = [np.array([self.start_item])], [np.array([PURCHASE])], [np.zeros(1, np.int64)]
        into.tokens.append((np.concatenate(items), np.concatenate(events), np.concatenate(times)))

    def _counters(self, shopper: Shopper, totals: NDArray[np.float64], now_ms: int) -> tuple[Int64s, Float32s]:
        """The items that agents would still count, (M,), and their counters as of `now_ms`, (M, K)."""
        own = np.flatnonzero(totals[0])
        if len(own) > MAX_COUNTERS:
            own = own[np.argpartition(-totals[1, own], MAX_COUNTERS)[:MAX_COUNTERS]]
        days = (now_ms - self.first_ms) / DAY_MS
        decay = np.array([2 ** (-days / half_life) for half_life in HALF_LIVES_DAYS])
        return shopper.own_items[own], (totals[:, own].T * decay).astype(np.float32)

    def _clicks(self, bought: Int64s, basket_ms: int) -> tuple[Int64s, Int64s, Int64s]:
        """Simulated clicks before a basket: some on its items, others on items of the same categories."""
        rng = self.rng
        own = rng.choice(bought, size=min(len(bought), int(rng.integers(1, 4))), replace=False)
        others = np.array([
            rng.choice(self.same_category[self.category[item]])
            for item in rng.choice(bought, size=int(rng.integers(0, 4)))
        ], np.int64)  # fmt: skip
        items = np.r_[own, others]
        types = np.r_[rng.choice(CLICK_TYPES, size=len(own), p=CLICK_ODDS), np.full(len(others), VIEW)]
        order = rng.permutation(len(items))
        times = np.sort(basket_ms - rng.integers(MINUTE_MS, 30 * MINUTE_MS, size=len(items)))
        return items[order], types[order], times


class _Collected:
    """The parts of a batch while it is put together."""

    def __init__(self) -> None:
        self.tokens: list[tuple[Int64s, Int64s, Int64s]] = []
        self.decisions: list[tuple[int, int, int, int]] = []  # window, position, age of the last event in ms, day
        self.counter_items: list[Int64s] = []
        self.counters: list[Float32s] = []
        self.targets: list[Int64s] = []

    def batch(self, start_item: int) -> Batch:
        shape = (len(self.tokens), max(len(items) for items, _, _ in self.tokens))
        item, event, gap = np.full(shape, start_item), np.full(shape, PURCHASE), np.zeros(shape, np.int64)
        for row, (items, events, times) in enumerate(self.tokens):
            item[row, : len(items)] = items
            event[row, : len(items)] = events
            gap[row, 1 : len(items)] = gap_bucket(np.diff(times))
        window, position, age_ms, day = np.array(self.decisions, np.int64).T
        return Batch(
            item=item,
            event=event,
            gap=gap,
            window=window,
            position=position,
            now_gap=gap_bucket(age_ms),
            day=day,
            counter_decision=np.repeat(np.arange(len(window)), [len(items) for items in self.counter_items]),
            counter_item=np.concatenate(self.counter_items),
            counters=np.concatenate(self.counters),
            target_decision=np.repeat(np.arange(len(window)), [len(items) for items in self.targets]),
            target_item=np.concatenate(self.targets),
        )
