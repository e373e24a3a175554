"""The click simulator: what a customer might have looked at on a trip whose basket is known. Pure and seeded.

Every click is invented and says so (`source` "footfall/simulator"); the purchase at the end is the data's. The clicks
mention items of the basket, so none of them may be sent before the basket's recommendation was scored: `runner` sees
to that. The first event, the arrival, mentions no item.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from footfall.replay.trips import MAX_VISIT_MS, Line, Run, Trip
from schemas.events import (
    AddToCart,
    BeginCheckout,
    Click,
    ClickData,
    ItemData,
    ItemLine,
    Purchase,
    PurchaseData,
    RemoveFromCart,
    Search,
    SelectItem,
    ViewItem,
    ViewItemList,
)

SIMULATOR = "footfall/simulator"
CURRENCY = "USD"  # of the data sets' prices
LOOKS = (1, 5)  # how many of the bought items were looked at first
DISTRACTORS = (0, 2)  # how many others of the same categories were
CART_SHARE = 0.75
REGRET_SHARE = 0.2
SEARCH_SHARE = 0.3
FIRST_LOOK = (0.4, 0.6)  # of the visit passes before the first look: the shop answers the arrival meanwhile


class Step(Struct, frozen=True, order=True):
    """One event of a trip; sorted by time. `number` 0 is the arrival (where the trip has one)."""

    time_ms: int
    trip_name: str
    number: int
    trip: Trip
    event: Click | Purchase

    @property
    def is_arrival(self) -> bool:
        return self.number == 0 and not isinstance(self.event, Purchase)


class Shelves:
    """The catalogue as a shopper sees it: items by id and by category."""

    def __init__(self, catalog: Iterable[ItemData]) -> None:
        self.items = {item.item_id: item for item in catalog}
        by_category: defaultdict[str, list[str]] = defaultdict(list)
        for item in self.items.values():
            by_category[item.category or ""].append(item.item_id)
        self._by_category = dict(by_category)
        self._ids = list(self.items)

    def category(self, item_id: str) -> str:
        item = self.items.get(item_id)
        return (item.category if item else None) or ""

    def neighbour(self, item_id: str | None, rng: random.Random) -> str:
        """Some item of the same category, or of any where that is unknown."""
        return rng.choice(self._by_category.get(self.category(item_id), self._ids) if item_id else self._ids)

    def line(self, item_id: str, bought: Line | None = None) -> ItemLine:
        item = self.items.get(item_id)
        return ItemLine(
            item_id, item.title if item else None, item.category if item else None,
            bought.price if bought else (item.price if item else None), bought.quantity if bought else 1,
        )


def timeline(trips: Iterable[Trip], shelves: Shelves, run: Run) -> Iterator[Step]:
    """The steps of all trips in the order of event time. `trips` are ordered by `leave_ms`."""
    waiting: list[Step] = []
    for trip in trips:
        while waiting and waiting[0].time_ms < trip.leave_ms - MAX_VISIT_MS:
            yield heapq.heappop(waiting)
        for step in steps(trip, shelves, run):
            heapq.heappush(waiting, step)
    while waiting:
        yield heapq.heappop(waiting)


def steps(trip: Trip, shelves: Shelves, run: Run) -> Iterator[Step]:
    """The events of one trip, in order."""
    rng = random.Random(f"{run.seed}/clicks/{trip.name}")  # noqa: S311 - a simulation
    before_login = ClickData(user_id=trip.user_id if trip.visitor_id is None else None, visitor_id=trip.visitor_id)
    number = 0

    def step(time_ms: int, kind: type[Click], data: ClickData) -> Step:
        nonlocal number
        event = kind(specversion="1.0", id=f"{run.name}-{trip.name}-{number}", source=SIMULATOR, time=instant(time_ms),
                     data=data)
        number += 1
        return Step(time_ms, trip.name, number - 1, trip, event)

    if trip.arrival_ms < trip.leave_ms:
        yield step(trip.arrival_ms, ViewItemList, before_login)
        looks, cart = _looks(trip, shelves, rng)
        for time_ms, (kind, items, term) in zip(_times(trip, len(looks) + bool(trip.lines), rng), looks, strict=False):
            lines = tuple(shelves.line(item) for item in items)
            yield step(time_ms, kind, _data(before_login, lines, term))
        if trip.lines:
            both = ClickData(user_id=trip.user_id, visitor_id=trip.visitor_id)
            yield step(trip.leave_ms - 1, BeginCheckout, _data(both, tuple(shelves.line(item) for item in cart)))
    if trip.lines:
        yield Step(trip.leave_ms, trip.name, number, trip, Purchase(
            specversion="1.0", id=f"{run.name}-{trip.name}-{number}", source=run.source, time=instant(trip.leave_ms),
            data=PurchaseData(
                user_id=trip.user_id, visitor_id=trip.visitor_id, transaction_id=trip.name, currency=CURRENCY,
                value=round(sum(line.price * line.quantity for line in trip.lines), 2), store_id=trip.store_id,
                items=tuple(shelves.line(line.item_id, line) for line in trip.lines),
            ),
        ))


def instant(time_ms: int) -> datetime:
    return datetime.fromtimestamp(time_ms / 1000, UTC)


def _data(who: ClickData, items: tuple[ItemLine, ...], term: str | None = None) -> ClickData:
    return ClickData(user_id=who.user_id, visitor_id=who.visitor_id, items=items, search_term=term)


_Look = tuple[type[Click], tuple[str, ...], str | None]  # event, items, search term


def _looks(trip: Trip, shelves: Shelves, rng: random.Random) -> tuple[list[_Look], list[str]]:
    """What is looked at, in order, and what is in the cart at the end."""
    bought = [line.item_id for line in trip.lines]
    wanted = rng.sample(bought, min(len(bought), rng.randint(*LOOKS)))
    others = [shelves.neighbour(rng.choice(bought) if bought else None, rng) for _ in range(
        rng.randint(*DISTRACTORS) if bought else rng.randint(*LOOKS))]
    others = [item for item in others if item not in bought]
    seen = wanted + others
    rng.shuffle(seen)
    looks: list[_Look] = []
    cart: list[str] = []
    for item in seen:
        if rng.random() < SEARCH_SHARE and shelves.category(item):
            looks.append((Search, (), shelves.category(item).lower()))
            looks.append((SelectItem, (item,), None))
        else:
            looks.append((ViewItem, (item,), None))
        if item in wanted and rng.random() < CART_SHARE:
            looks.append((AddToCart, (item,), None))
            cart.append(item)
        elif item not in wanted and trip.user_id and rng.random() < REGRET_SHARE:
            looks += [(AddToCart, (item,), None), (RemoveFromCart, (item,), None)]
    return looks, cart


def _times(trip: Trip, count: int, rng: random.Random) -> Sequence[int]:
    """`count` strictly rising times between the first look and the end of the visit."""
    first = trip.arrival_ms + int((trip.leave_ms - trip.arrival_ms) * rng.uniform(*FIRST_LOOK))
    return sorted(rng.sample(range(first, trip.leave_ms - 1), count))
