"""Shopping trips: in event time, seeded, and silent about the basket until it is scored."""

from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footfall.replay.clicks import SIMULATOR, Shelves, Step, timeline
from footfall.replay.trips import MAX_VISIT_MS, Line, Run, Trip, trips
from model_core.recommender.purchase_log import Basket
from schemas.events import ItemData, Purchase, PurchaseData

ITEMS = tuple(str(n) for n in range(12))
CATALOG = tuple(ItemData(item_id=item, title=f"Item {item}", category=f"C{int(item) % 3}", price=1.5) for item in ITEMS)
DATA = "footfall/test"
START_MS = 1_512_000_000_000


@st.composite
def baskets(draw: st.DrawFn) -> list[Basket]:
    gaps = draw(st.lists(st.sampled_from([0, 1, 30_000, 300_000, 1_500_000, 9_000_000]), min_size=1, max_size=25))
    made, time_ms = [], START_MS
    for index, gap in enumerate(gaps):
        time_ms += gap
        items = draw(st.lists(st.sampled_from(ITEMS), min_size=1, max_size=6, unique=True))
        made.append(Basket(
            index=index, user_id=draw(st.sampled_from("abc")), time_ms=time_ms, store_id="s", item_ids=tuple(items),
            quantities=tuple(1 for _ in items), prices=tuple(2.0 for _ in items),
        ))
    return made


def run_of(seed: int) -> Run:
    return Run(seed, f"run{seed}", DATA)


def steps_of(data: list[Basket], seed: int) -> list[Step]:
    return list(timeline(trips(data, run_of(seed)), Shelves(CATALOG), run_of(seed)))


def items_of(step: Step) -> set[str]:
    return {line.item_id for line in step.event.data.items}


@settings(max_examples=150)
@given(baskets(), st.integers(0, 3))
def test_the_same_seed_gives_the_same_events_with_the_same_ids(data: list[Basket], seed: int) -> None:
    first = steps_of(data, seed)
    assert steps_of(data, seed) == first
    ids = [(step.event.source, step.event.id) for step in first]
    assert len(set(ids)) == len(ids)


def test_another_seed_gives_other_ids() -> None:
    data = [Basket(0, "a", START_MS, "s", ("1",), (1,), (1.0,))]
    assert not {step.event.id for step in steps_of(data, 1)} & {step.event.id for step in steps_of(data, 2)}


@settings(max_examples=150)
@given(baskets(), st.integers(0, 3))
def test_steps_come_in_the_order_of_event_time_and_of_each_trip(data: list[Basket], seed: int) -> None:
    steps = steps_of(data, seed)
    assert [step.time_ms for step in steps] == sorted(step.time_ms for step in steps)
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for step in steps:
        assert round(step.event.time.timestamp() * 1000) == step.time_ms
        numbers[step.trip.name].append(step.number)
    assert all(of_trip == list(range(len(of_trip))) for of_trip in numbers.values())


@settings(max_examples=150)
@given(baskets(), st.integers(0, 3))
def test_a_customer_finishes_one_trip_before_the_next(data: list[Basket], seed: int) -> None:
    last_left: dict[str, int] = {}
    for trip in trips(data, run_of(seed)):
        if trip.user_id is None:
            continue
        if trip.arrival_ms < trip.leave_ms:
            assert trip.arrival_ms > last_left.get(trip.user_id, -1)
        assert trip.leave_ms - trip.arrival_ms <= MAX_VISIT_MS
        last_left[trip.user_id] = trip.leave_ms


@settings(max_examples=150)
@given(baskets(), st.integers(0, 3))
def test_every_basket_is_sent_once_as_it_was_and_only_clicks_are_simulated(data: list[Basket], seed: int) -> None:
    purchases = {}
    for step in steps_of(data, seed):
        if isinstance(step.event, Purchase):
            assert step.event.source == DATA
            purchases[step.event.data.transaction_id] = step
        else:
            assert step.event.source == SIMULATOR
    assert set(purchases) == {str(basket.index) for basket in data}
    for basket in data:
        step = purchases[str(basket.index)]
        assert isinstance(step.event.data, PurchaseData)
        assert (step.event.data.user_id, step.time_ms) == (basket.user_id, basket.time_ms)
        assert [line.item_id for line in step.event.data.items] == list(basket.item_ids)


@settings(max_examples=150)
@given(baskets(), st.integers(0, 3))
def test_an_arrival_says_nothing_about_the_basket(data: list[Basket], seed: int) -> None:
    for step in steps_of(data, seed):
        if step.is_arrival:
            assert not items_of(step)
            assert not isinstance(step.event, Purchase)
            assert step.time_ms < step.trip.leave_ms


@settings(max_examples=150)
@given(baskets(), st.integers(0, 20))
def test_a_visitor_is_known_by_name_from_the_checkout_on_only(data: list[Basket], seed: int) -> None:
    for step in steps_of(data, seed):
        data_, trip = step.event.data, step.trip
        if trip.visitor_id is None:
            assert data_.user_id == trip.user_id
            assert data_.visitor_id is None
        else:
            assert data_.visitor_id == trip.visitor_id
            knows = trip.user_id is not None and step.time_ms >= trip.leave_ms - 1
            assert data_.user_id == (trip.user_id if knows else None)


def test_visitors_and_window_shoppers_occur_and_are_not_scored() -> None:
    data = [Basket(n, str(n), START_MS + n * 10_000, "s", ("1",), (1,), (1.0,)) for n in range(600)]
    made = list(trips(data, run_of(0)))
    window = [trip for trip in made if trip.user_id is None]
    visitors = [trip for trip in made if trip.user_id and trip.visitor_id]
    assert 10 <= len(window) <= 60
    assert 30 <= len(visitors) <= 100
    assert not any(trip.scored for trip in window + visitors)


@pytest.mark.parametrize("lines", [0, 1])
def test_a_trip_without_a_visit_or_a_purchase_is_no_case(lines: int) -> None:
    trip = Trip(name="0", user_id="a", visitor_id=None, arrival_ms=5, leave_ms=5, lines=(Line("1", 1, 1.0),) * lines)
    assert not trip.scored
