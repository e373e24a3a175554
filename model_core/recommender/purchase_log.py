"""Purchases as columns: what the recommender learns from and what a replay sends. numpy only, no torch, no pandas."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Int32s: TypeAlias = NDArray[np.int32]
Int64s: TypeAlias = NDArray[np.int64]
Float32s: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Basket:
    """One purchase of one user. `index` names it within the data set and survives slicing of the log."""

    index: int
    user_id: str
    time_ms: int
    store_id: str
    item_ids: tuple[str, ...]
    quantities: tuple[int, ...]
    prices: tuple[float, ...]


@dataclass(frozen=True, slots=True, eq=False)
class PurchaseLog:
    """Lines sold, in order of time. All columns have one row per line, (L,).

    The lines of a basket are adjacent and share one time and one user; an item occurs in a basket once. `user`,
    `item` and `store` are codes into the id tuples, `basket` grows with time, `time_ms` is UTC epoch milliseconds,
    `price` is paid per unit.
    """

    user_ids: tuple[str, ...]
    item_ids: tuple[str, ...]
    store_ids: tuple[str, ...]
    user: Int32s
    item: Int32s
    store: Int32s
    basket: Int32s
    time_ms: Int64s
    quantity: Int32s
    price: Float32s

    def __len__(self) -> int:
        return len(self.time_ms)

    @classmethod
    def build(
        cls,
        *,
        user: Int64s,
        item: Int64s,
        store: Int64s,
        basket: Int64s,
        time_ms: Int64s,
        quantity: Int64s,
        paid: NDArray[np.floating[Any]],
    ) -> "PurchaseLog":
        """Sort lines, merge repeats of an item within a basket, and code the ids. `paid` is the total of a line.

        The ids may be any integers; a basket's time is that of its earliest line.
        """
        basket_ids, basket_of = np.unique(basket, return_inverse=True)
        basket_time = np.full(len(basket_ids), np.iinfo(np.int64).max)
        np.minimum.at(basket_time, basket_of, time_ms)
        rank = np.empty(len(basket_ids), np.int64)
        rank[np.lexsort((basket_ids, basket_time))] = np.arange(len(basket_ids))
        order = np.lexsort((item, rank[basket_of]))
        new_basket, new_item = rank[basket_of][order], item[order]
        first = np.flatnonzero(np.r_[True, (np.diff(new_basket) != 0) | (np.diff(new_item) != 0)])
        units = np.add.reduceat(quantity[order], first)
        total = np.add.reduceat(paid[order], first)
        head = order[first]
        users, user_code = np.unique(user[head], return_inverse=True)
        items, item_code = np.unique(item[head], return_inverse=True)
        stores, store_code = np.unique(store[head], return_inverse=True)
        return cls(
            user_ids=tuple(map(str, users.tolist())),
            item_ids=tuple(map(str, items.tolist())),
            store_ids=tuple(map(str, stores.tolist())),
            user=user_code.astype(np.int32),
            item=item_code.astype(np.int32),
            store=store_code.astype(np.int32),
            basket=new_basket[first].astype(np.int32),
            time_ms=basket_time[basket_of[head]],
            quantity=units.astype(np.int32),
            price=(total / np.maximum(units, 1)).astype(np.float32),
        )

    def rows(self, start: int, stop: int) -> "PurchaseLog":
        """The lines [start, stop) as views; ids and codes stay as they are."""
        return replace(
            self,
            user=self.user[start:stop],
            item=self.item[start:stop],
            store=self.store[start:stop],
            basket=self.basket[start:stop],
            time_ms=self.time_ms[start:stop],
            quantity=self.quantity[start:stop],
            price=self.price[start:stop],
        )

    def before(self, t_ms: int) -> "PurchaseLog":
        """Everything sold strictly before `t_ms`."""
        return self.rows(0, int(np.searchsorted(self.time_ms, t_ms)))

    def between(self, start_ms: int, stop_ms: int) -> "PurchaseLog":
        """Everything sold in [start_ms, stop_ms)."""
        return self.rows(int(np.searchsorted(self.time_ms, start_ms)), int(np.searchsorted(self.time_ms, stop_ms)))

    def compact(self) -> "PurchaseLog":
        """The same lines with only the ids that occur in them, sorted: nothing of a longer log shows through."""
        user_ids, user = _compact(self.user_ids, self.user)
        item_ids, item = _compact(self.item_ids, self.item)
        store_ids, store = _compact(self.store_ids, self.store)
        return replace(
            self, user_ids=user_ids, user=user, item_ids=item_ids, item=item, store_ids=store_ids, store=store
        )

    def basket_starts(self) -> Int64s:
        """The first row of each basket, and the number of rows at the end, (baskets + 1,)."""
        if not len(self):
            return np.zeros(1, np.int64)
        starts: Int64s = np.r_[0, np.flatnonzero(np.diff(self.basket)) + 1, len(self)]
        return starts

    def baskets(self) -> Iterator[Basket]:
        """The purchases in order of time."""
        starts = self.basket_starts()
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True):
            yield Basket(
                index=int(self.basket[start]),
                user_id=self.user_ids[self.user[start]],
                time_ms=int(self.time_ms[start]),
                store_id=self.store_ids[self.store[start]],
                item_ids=tuple(self.item_ids[code] for code in self.item[start:stop].tolist()),
                quantities=tuple(self.quantity[start:stop].tolist()),
                prices=tuple(self.price[start:stop].tolist()),
            )

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the lines with their ids spelled out: equal for logs of equal content, however coded."""
        log = self.compact()
        digest = hashlib.sha256()
        for ids in (log.user_ids, log.item_ids, log.store_ids):
            digest.update("\n".join(ids).encode() + b"\0")
        for column in (log.user, log.item, log.store, log.basket, log.quantity):
            digest.update(column.astype("<i4").tobytes())
        digest.update(log.time_ms.astype("<i8").tobytes())
        digest.update(log.price.astype("<f4").tobytes())
        return digest.hexdigest()


def _compact(ids: tuple[str, ...], codes: Int32s) -> tuple[tuple[str, ...], Int32s]:
    used = np.unique(codes)
    in_order = sorted((ids[code], code) for code in used.tolist())
    renumber = np.zeros(len(ids), np.int32)
    renumber[[code for _, code in in_order]] = np.arange(len(in_order), dtype=np.int32)
    return tuple(name for name, _ in in_order), renumber[codes]
