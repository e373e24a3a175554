"""Follows a few customers for the screen: what they look at and buy, and what they are recommended, by product name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from footfall.demo.screen import Card, Recommended
from footfall.replay.clicks import Step
from footfall.replay.kafka import available, stored_result
from schemas.events import Purchase, SelectItem, ViewItem
from schemas.results import Reason

if TYPE_CHECKING:
    from redis.asyncio import Redis

FOLLOWED = 6  # as many as a large terminal shows
HOLD_S = 6.0  # a card stays at least so long, to be read
SHOWN = 10


@dataclass
class _Followed:
    trip: str
    user: str
    since_s: float
    looked_at: list[str] = field(default_factory=list)
    bought: list[str] = field(default_factory=list)
    recommended: tuple[Recommended, ...] = ()


class Customers:
    """`titles`: product names by item id. Tell it of every step (`watch`); ask for `cards`."""

    def __init__(self, titles: Mapping[str, str], redis: "Redis", clock: Callable[[], float]) -> None:
        self._titles = titles
        self._redis = redis
        self._clock = clock
        self._followed: list[_Followed] = []

    def watch(self, step: Step) -> None:
        """Take in one event that was sent."""
        trip = step.trip
        followed = next((each for each in self._followed if each.trip == trip.name), None)
        if followed is None:
            if step.is_arrival and trip.scored and trip.user_id is not None:
                self._follow(trip.name, trip.user_id)
            return
        names = [self._title(line.item_id) for line in step.event.data.items]
        if isinstance(step.event, Purchase):
            followed.bought = names
            followed.since_s = self._clock()
        elif isinstance(step.event, ViewItem | SelectItem):
            followed.looked_at = [*names, *followed.looked_at]

    async def refresh(self) -> None:
        """Read what each of them is recommended now."""
        for each in self._followed:
            result = await stored_result(self._redis, each.user)
            if result is not None:
                each.recommended = tuple(
                    Recommended(self._title(item.item_id), self._words(item.reason))
                    for item in (await available(self._redis, result.items))[:SHOWN]
                )

    @property
    def cards(self) -> tuple[Card, ...]:
        return tuple(
            Card(each.user, tuple(each.looked_at), tuple(each.bought), each.recommended) for each in self._followed
        )

    def _follow(self, trip: str, user: str) -> None:
        fresh = _Followed(trip, user, self._clock())
        if len(self._followed) < FOLLOWED:
            self._followed.append(fresh)
            return
        oldest = min(range(FOLLOWED), key=lambda n: self._followed[n].since_s)
        if self._followed[oldest].bought and self._clock() - self._followed[oldest].since_s >= HOLD_S:
            self._followed[oldest] = fresh

    def _title(self, item_id: str) -> str:
        return self._titles.get(item_id, f"item {item_id}")

    def _words(self, reason: Reason) -> str:
        if reason.kind == "repeat":
            return "bought often"
        if reason.kind == "related" and reason.evidence:
            return f"goes with {self._title(reason.evidence[0])}"
        return "popular"
