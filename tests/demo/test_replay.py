"""The score first: nothing of a basket is sent before its recommendation was scored."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.replay.clicks import Shelves, timeline
from footfall.replay.runner import MAX_OPEN_TRIPS, Message, Pace, Place, Progress, Replay, Served
from footfall.replay.scoring import Method
from footfall.replay.stock import Stock
from footfall.replay.trips import Run, Trip, trips
from model_core.recommender.purchase_log import Basket
from schemas.events import Click, ItemData, Purchase, StockLevel

ITEMS = tuple(str(n) for n in range(12))
CATALOG = tuple(ItemData(item_id=item, title=f"Item {item}", category=f"C{int(item) % 3}", price=1.5) for item in ITEMS)
RUN = Run(1, "1", "footfall/test")
START_MS = 1_512_000_000_000


class StillClock:
    """Time passes only when someone sleeps."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        await asyncio.sleep(0)


@dataclass
class Recorder:
    """A transport, a storefront and a pair of baselines that write down what happens, in order."""

    answer_after_turns: int = 3
    fail_at: int | None = None
    log: list[tuple[str, object]] = field(default_factory=list)
    open: int = 0
    most_open: int = 0

    async def send(self, message: Message) -> "asyncio.Future[Place]":
        if self.fail_at is not None and len(self.log) >= self.fail_at:
            raise ConnectionError("the broker is away")
        self.log.append(("sent", message))
        delivered: asyncio.Future[Place] = asyncio.get_running_loop().create_future()
        delivered.set_result(Place(message.topic.name, 0, len(self.log)))
        return delivered

    async def recommended(self, user: str, arrival: "asyncio.Future[Place]") -> Served:
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        for _ in range(self.answer_after_turns):
            await asyncio.sleep(0)
        self.open -= 1
        return Served(("1", "2"), in_time=True)

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:
        self.log.append(("observed", (user, tuple(items))))

    def ranked(self, user: str, now_ms: int) -> Mapping[Method, Sequence[str]]:
        self.log.append(("ranked", user))
        return {"popularity": ("3",), "personal_frequency": ("4",)}

    def scored(self, trip: Trip, served: Served, hit: bool) -> None:  # noqa: FBT001 - the replay's callback
        self.log.append(("scored", trip))


def baskets_of(gaps: Sequence[int], users: Sequence[str], items: Sequence[Sequence[str]]) -> list[Basket]:
    made, time_ms = [], START_MS
    for index, (gap, user, bought) in enumerate(zip(gaps, users, items, strict=True)):
        time_ms += gap
        made.append(Basket(index, user, time_ms, "s", tuple(bought), (1,) * len(bought), (2.0,) * len(bought)))
    return made


@st.composite
def data(draw: st.DrawFn) -> list[Basket]:
    gaps = draw(st.lists(st.sampled_from([0, 1, 30_000, 300_000, 1_500_000, 9_000_000]), min_size=1, max_size=20))
    users = [draw(st.sampled_from("abcdef")) for _ in gaps]
    return baskets_of(gaps, users, [
        draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=5, unique=True)) for _ in gaps
    ])


def replay(baskets: list[Basket], recorder: Recorder, events: int = 10_000, speed: float = 0.0) -> Replay:
    steps = timeline(trips(baskets, RUN), Shelves(CATALOG), RUN)
    return Replay(
        steps, recorder, recorder, Pace(speed, StillClock()), recorder, Stock(dict.fromkeys(ITEMS, 1.0), 1),
        events=events, run_name="1", progress=Progress(), scored=recorder.scored,
    )


def sent_event(entry: tuple[str, object]) -> Click | Purchase | StockLevel | None:
    kind, what = entry
    if kind != "sent":
        return None
    assert isinstance(what, Message)
    assert not isinstance(what.event, ItemData)
    return what.event  # type: ignore[return-value]


def test_nothing_of_a_basket_is_sent_and_nothing_later_is_known_before_its_score() -> None:
    @settings(max_examples=100, deadline=None)
    @given(data(), st.integers(0, 40))
    def check(baskets: list[Basket], turns: int) -> None:
        recorder = Recorder(answer_after_turns=turns)
        asyncio.run(replay(baskets, recorder).run())
        scores = {what.name: at for at, (kind, what) in enumerate(recorder.log) if isinstance(what, Trip)}
        expected = [trip for trip in trips(baskets, RUN) if trip.scored]
        assert set(scores) == {trip.name for trip in expected}
        for trip in expected:
            arrival, bought = f"1-{trip.name}-0", {line.item_id for line in trip.lines}
            sent_before = [event for entry in recorder.log[: scores[trip.name]] if (event := sent_event(entry))]
            assert arrival in {event.id for event in sent_before}
            for event in sent_before:
                if isinstance(event, StockLevel):
                    continue
                assert round(event.time.timestamp() * 1000) < trip.leave_ms
                assert event.id == arrival or not event.id.startswith(f"1-{trip.name}-")
            # what is asked of the baselines is asked before this basket is observed
            asked = max(at for at, entry in enumerate(recorder.log[: scores[trip.name]]) if entry[0] == "ranked")
            own = (trip.user_id, tuple(line.item_id for line in trip.lines))
            seen_before = [what for kind, what in recorder.log[:asked] if kind == "observed"]
            earlier = sum(
                (b.user_id, b.item_ids) == own and b.time_ms < trip.leave_ms for b in baskets
            )
            assert seen_before.count(own) <= earlier
            assert bought

    check()


async def test_a_replay_sends_exactly_as_many_events_as_asked() -> None:
    baskets = baskets_of([60_000] * 30, list("abcdefghij") * 3, [["1", "2"]] * 30)
    recorder = Recorder()
    run = replay(baskets, recorder, events=57)
    await run.run()
    events = [event for entry in recorder.log if isinstance(event := sent_event(entry), Click | Purchase)]
    assert len(events) == 57 == run.progress.sent


async def test_event_time_never_falls_and_purchases_follow_their_clicks() -> None:
    baskets = baskets_of([45_000] * 40, list("abcdefgh") * 5, [["1", "2", "3"]] * 40)
    recorder = Recorder()
    await replay(baskets, recorder).run()
    times = [event.time for entry in recorder.log if (event := sent_event(entry)) and not isinstance(event, StockLevel)]
    assert times == sorted(times)


async def test_open_trips_are_bounded() -> None:
    users = [str(n) for n in range(400)]
    baskets = baskets_of([10] * 400, users, [["1"]] * 400)
    recorder = Recorder(answer_after_turns=500)
    await replay(baskets, recorder).run()
    assert 1 < recorder.most_open <= MAX_OPEN_TRIPS


async def test_what_the_transport_raises_ends_the_replay_and_leaves_no_task_behind() -> None:
    baskets = baskets_of([10] * 50, [str(n) for n in range(50)], [["1"]] * 50)
    before = asyncio.all_tasks()
    with pytest.raises(ConnectionError):
        await replay(baskets, Recorder(answer_after_turns=10_000, fail_at=20)).run()
    assert asyncio.all_tasks() == before


async def test_stock_levels_fall_with_what_is_sold() -> None:
    baskets = baskets_of([600_000] * 60, [str(n) for n in range(60)], [["1"]] * 60)
    recorder = Recorder()
    await replay(baskets, recorder).run()
    levels = [event.data for entry in recorder.log if isinstance(event := sent_event(entry), StockLevel)]
    on_hand = [level.on_hand for level in levels if level.item_id == "1"]
    assert on_hand[0] < max(on_hand) or on_hand == sorted(on_hand, reverse=True)
    assert 0 in on_hand


async def test_the_pace_holds_to_event_time_and_cuts_quiet_hours_short() -> None:
    clock = StillClock()
    pace = Pace(100.0, clock, longest_wait_s=0.5)
    await pace.until(0)
    await pace.until(20_000)
    assert clock.now_s == pytest.approx(0.2)
    await pace.until(20_000 + 10 * 3_600_000)
    assert clock.now_s == pytest.approx(0.7)


async def test_a_replay_that_fell_behind_does_not_catch_up_in_a_burst() -> None:
    clock = StillClock()
    pace = Pace(10.0, clock, longest_wait_s=0.5)
    await pace.until(0)
    clock.now_s += 60  # the system was slow
    for second in range(1, 101):
        await pace.until(second * 1000)
    assert clock.now_s >= 60 + 10 - 0.5 - 0.2
