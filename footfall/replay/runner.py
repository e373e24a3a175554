"""The replay: sends the steps of all trips in event time, and scores each basket before anything of it is sent.

Order is the whole point. Steps go out in the order of their event time, one after the other; before a trip's first look
the replay waits for the trip's score. So whatever the system knew when a basket was scored happened before the
customer's first look, and nothing that mentions the basket was under way. While one trip waits, others that have
arrived already are being scored: the number of open trips is bounded, and a slow system slows the replay down.

Transport, reader, pace and baselines are injected.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from footfall.replay.clicks import SIMULATOR, Step, instant
from footfall.replay.scoring import Method, Scores, first_available
from footfall.replay.stock import Stock
from footfall.replay.trips import Trip
from schemas.events import Click, Item, Order, Purchase, StockLevel, StockLevelData, SupportMessage
from schemas.topics import CLICKSTREAM, INVENTORY, PURCHASES, Topic

MAX_OPEN_TRIPS = 64  # scores under way at once; a worker's batch is of this size


class Message(Struct, frozen=True):
    """One record to be sent, before it is bytes."""

    topic: Topic
    key: str
    event: Click | Purchase | Item | StockLevel | Order | SupportMessage


class Place(Struct, frozen=True):
    """Where a record lies."""

    topic: str
    partition: int
    offset: int


class Served(Struct, frozen=True):
    """What the shop would have shown. `in_time`: the result that covers the arrival was there before the time-out."""

    items: tuple[str, ...]
    in_time: bool


class Transport(Protocol):
    async def send(self, message: Message) -> "asyncio.Future[Place]":
        """Queue one record, waiting while the queue is full; the future resolves when the broker has it."""


class Storefront(Protocol):
    async def recommended(self, user: str, arrival: "asyncio.Future[Place]") -> Served:
        """What is shown to a user whose arrival was sent: the first available of the result that answers it."""


class Baselines(Protocol):
    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:
        """One purchase; they come in order of time."""

    def ranked(self, user: str, now_ms: int) -> Mapping[Method, Sequence[str]]:
        """What each baseline would show, best first, of which the first available are taken."""


class Support(Protocol):
    """What customers write to support; see `footfall.replay.support`."""

    async def after(self, step: Step, events: int) -> None: ...


class Clock(Protocol):
    def monotonic(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class Pace:
    """Event time against wall time: `speed` seconds of event time per second; 0 means as fast as it goes.

    Quiet hours are cut short to `longest_wait_s`. A replay that falls behind does not catch up in a burst.
    """

    def __init__(self, speed: float, clock: Clock, longest_wait_s: float = 0.5) -> None:
        self._speed = speed
        self._clock = clock
        self._longest_wait_s = longest_wait_s
        self._event_ms: int | None = None
        self._due_s = 0.0

    async def until(self, event_ms: int) -> None:
        """Wait until it is time for an event of `event_ms`; times must not fall."""
        if self._speed <= 0:
            return
        now_s = self._clock.monotonic()
        if self._event_ms is None:
            self._due_s = now_s
        else:
            self._due_s += min((event_ms - self._event_ms) / 1000 / self._speed, self._longest_wait_s)
        self._event_ms = event_ms
        if self._due_s > now_s:
            await self._clock.sleep(self._due_s - now_s)
        else:
            self._due_s = max(self._due_s, now_s - self._longest_wait_s)


@dataclass
class Progress:
    """What the replay has done so far; read by the screen, written by the replay."""

    sent: int = 0  # clicks and purchases
    purchases: int = 0
    now_ms: int | None = None  # event time
    first_ms: int | None = None
    late_scores: int = 0
    stock_levels: int = 0
    scores: Scores = field(default_factory=Scores)


@dataclass
class Replay:
    """One run over `steps`, which are ordered by time.

    It ends after `events` clicks and purchases, with the steps, or after `stop`. `baselines` has observed what happened
    before the first step. `watch` is told of every step after it was sent, `scored` of every score. Without
    `storefront` and `baselines` nothing is scored, without `support` nobody writes.
    """

    steps: Iterable[Step]
    transport: Transport
    storefront: Storefront | None
    pace: Pace
    baselines: Baselines | None
    stock: Stock
    events: float  # clicks and purchases; may be infinite
    run_name: str
    progress: Progress
    support: Support | None = None
    watch: Callable[[Step], None] = lambda _: None
    scored: Callable[[Trip, Served, bool], None] = lambda _trip, _served, _hit: None
    _stopping: bool = False
    _open: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def stop(self) -> None:
        """Let `run` end after the event it is at."""
        self._stopping = True

    async def run(self) -> None:
        """Send and score until the end. Raises what the transport or the storefront raises."""
        progress = self.progress
        try:
            for step in self.steps:
                if progress.sent >= self.events or self._stopping:
                    break
                await self._send_levels(self.stock.deliver(step.time_ms), step.time_ms)
                await self.pace.until(step.time_ms)
                await self._send(step)
            while self._open:
                await self._finish_score(next(iter(self._open)))
        finally:
            for task in self._open.values():
                task.cancel()
            await asyncio.gather(*self._open.values(), return_exceptions=True)

    async def _send(self, step: Step) -> None:
        trip, event, progress = step.trip, step.event, self.progress
        if not step.is_arrival:
            await self._finish_score(trip.name)
        elif len(self._open) >= MAX_OPEN_TRIPS:
            await self._finish_score(next(iter(self._open)))
        topic = PURCHASES if isinstance(event, Purchase) else CLICKSTREAM
        delivered = await self.transport.send(Message(topic, event.data.user, event))
        progress.sent += 1
        progress.now_ms = step.time_ms
        progress.first_ms = progress.first_ms if progress.first_ms is not None else step.time_ms
        if step.is_arrival and trip.scored and self.storefront is not None and self.baselines is not None:
            user = event.data.user
            shown: dict[Method, tuple[str, ...]] = {
                method: first_available(ranked, self.stock.unavailable)
                for method, ranked in self.baselines.ranked(user, step.time_ms).items()
            }
            self._open[trip.name] = asyncio.create_task(self._score(trip, user, shown, self.storefront, delivered))
        if isinstance(event, Purchase):
            await self._bought(trip, event, step.time_ms)
        if self.support is not None:
            await self.support.after(step, progress.sent)
        self.watch(step)

    async def _bought(self, trip: Trip, event: Purchase, time_ms: int) -> None:
        self.progress.purchases += 1
        if self.baselines is not None:
            self.baselines.observe(event.data.user, [line.item_id for line in trip.lines], time_ms)
        sold = [(line.item_id, line.quantity) for line in trip.lines]
        await self._send_levels(self.stock.sell(sold, time_ms), time_ms)

    async def _score(
        self, trip: Trip, user: str, shown: dict[Method, tuple[str, ...]], storefront: Storefront,
        arrival: "asyncio.Future[Place]",
    ) -> None:
        served = await storefront.recommended(user, arrival)
        self.progress.late_scores += not served.in_time
        hit = self.progress.scores.add({line.item_id for line in trip.lines}, {**shown, "model": served.items})
        self.scored(trip, served, hit)

    async def _finish_score(self, trip_name: str) -> None:
        task = self._open.get(trip_name)
        if task is not None:
            await task
            del self._open[trip_name]

    async def _send_levels(self, levels: Sequence[StockLevelData], time_ms: int) -> None:
        for level in levels:
            self.progress.stock_levels += 1
            await self.transport.send(stock_message(level, time_ms, f"{self.run_name}-{self.progress.stock_levels}"))


def stock_message(level: StockLevelData, time_ms: int, name: str) -> Message:
    """A stock level as the simulator says it; `name` makes its id."""
    return Message(INVENTORY, level.item_id, StockLevel(
        specversion="1.0", id=f"stock-{name}", source=SIMULATOR, time=instant(time_ms), data=level,
    ))
