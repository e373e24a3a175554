"""Support messages leave seldom enough, after the orders that they are about, and only where somebody answers."""

import asyncio
import itertools

from footfall.replay.clicks import SIMULATOR, Step, instant
from footfall.replay.enquiries import Enquiry
from footfall.replay.runner import Message, Place
from footfall.replay.support import (
    AHEAD_S,
    APART_S,
    AT_MOST,
    EVERY,
    FIRST_AT,
    MODELS_S,
    WAITING,
    Answers,
    SupportMessages,
)
from footfall.replay.trips import Line, Run, Trip
from schemas.events import ItemLine, Order, Purchase, PurchaseData, SupportMessage
from tests.demo.shop import START_MS, USERS, enquiries

RUN = Run(1, "r", "footfall/test")


class Desk:
    """A clock, a transport that notes when what was sent, and what is known of who answers."""

    def __init__(self, answers: Answers = "now") -> None:
        self.now_s = 0.0
        self.answers: Answers = answers
        self.sent: list[tuple[float, Message]] = []
        self.asked: list[tuple[Enquiry, str]] = []
        self.support = SupportMessages(
            enquiries(), RUN, self.send, self, answers=lambda: self.answers,
            asked=lambda *one: self.asked.append(one),
        )

    def monotonic(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.now_s += seconds

    async def send(self, message: Message) -> "asyncio.Future[Place]":
        self.sent.append((self.now_s, message))
        return asyncio.get_running_loop().create_future()

    async def stream(self, events: int, per_s: float) -> None:
        """Every tenth event is a purchase."""
        for number in range(1, events + 1):
            self.now_s += 1 / per_s
            await self.support.after(step(number, is_purchase=number % 10 == 0), number)

    @property
    def messages(self) -> list[tuple[float, SupportMessage]]:
        return [(at_s, one.event) for at_s, one in self.sent if isinstance(one.event, SupportMessage)]

    @property
    def orders(self) -> list[tuple[float, Order]]:
        return [(at_s, one.event) for at_s, one in self.sent if isinstance(one.event, Order)]


def step(number: int, *, is_purchase: bool) -> Step:
    name, user, time_ms = str(1000 + number), USERS[number // 10 % len(USERS)], START_MS + number * 1000
    trip = Trip(name=name, user_id=user, visitor_id=None, arrival_ms=time_ms, leave_ms=time_ms,
                lines=(Line("1", 1, 2.5),) if is_purchase else ())
    purchase = Purchase(
        specversion="1.0", id=name, source=RUN.source, time=instant(time_ms),
        data=PurchaseData(user_id=user, transaction_id=name, items=(ItemLine("1"),)),
    )
    event = purchase if is_purchase else Purchase  # only a purchase is looked at
    return Step(time_ms, name, number, trip, event)  # type: ignore[arg-type]


async def test_a_message_leaves_every_so_many_events_and_says_that_it_is_simulated() -> None:
    desk = Desk()
    await desk.stream(FIRST_AT + 3 * EVERY, per_s=100)
    await desk.support.finish()
    assert [event.data.message_id for _, event in desk.messages] == [f"r-support-{n}" for n in range(4)]
    assert {event.source for _, event in [*desk.messages, *desk.orders]} == {SIMULATOR}
    assert {event.data.channel for _, event in desk.messages} == {"simulated"}
    assert desk.support.sent == 4


async def test_no_two_messages_come_together_however_fast_the_replay_is() -> None:
    desk = Desk()
    await desk.stream(20_000, per_s=2000)
    await desk.support.finish()
    times = [at_s for at_s, _ in desk.messages]
    assert len(times) > WAITING
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= APART_S


async def test_orders_go_well_ahead_of_the_message_about_them() -> None:
    desk = Desk()
    await desk.stream(5000, per_s=300)
    await desk.support.finish()
    known: dict[str, float] = {}
    for at_s, order in desk.orders:
        known.setdefault(order.data.order_id, at_s)
    for at_s, event in desk.messages:
        own = [order for _, order in desk.orders if order.data.user_id == event.data.user_id]
        assert own
        for order_id, known_s in known.items():
            if order_id in event.data.text:
                assert known_s + AHEAD_S <= at_s


async def test_a_run_has_so_many_messages_at_most() -> None:
    desk = Desk()
    await desk.stream(FIRST_AT + (AT_MOST + 20) * EVERY, per_s=100)
    await desk.support.finish()
    assert len(desk.messages) == AT_MOST


async def test_a_fast_replay_holds_only_a_few_messages_back() -> None:
    desk = Desk()
    await desk.stream(20_000, per_s=1e6)
    streamed_s = desk.now_s
    await desk.support.finish()
    assert desk.now_s - streamed_s <= AHEAD_S + WAITING * APART_S + 2


async def test_nobody_writes_where_nobody_will_ever_answer() -> None:
    desk = Desk("never")
    await desk.stream(5000, per_s=100)
    await desk.support.finish()
    assert desk.sent == []
    assert desk.asked == []


async def test_messages_wait_for_the_models_and_then_all_leave() -> None:
    desk = Desk("later")
    await desk.stream(FIRST_AT + 2 * EVERY, per_s=100)
    assert desk.messages == []
    assert desk.orders
    desk.answers = "now"
    await desk.support.finish()
    assert len(desk.messages) == 3


async def test_the_end_does_not_wait_for_models_for_ever() -> None:
    desk = Desk("later")
    await desk.stream(1000, per_s=100)
    streamed_s = desk.now_s
    await desk.support.finish()
    assert desk.messages == []
    assert desk.now_s - streamed_s <= MODELS_S + 1


async def test_who_stops_the_replay_does_not_wait_for_messages() -> None:
    desk = Desk("later")
    await desk.stream(1000, per_s=100)
    streamed_s = desk.now_s
    await desk.support.finish(lambda: True)
    assert desk.now_s == streamed_s


async def test_whoever_watches_is_told_of_each_message_and_its_conversation() -> None:
    desk = Desk()
    await desk.stream(3000, per_s=100)
    await desk.support.finish()
    assert [(one.user, one.text, conversation) for one, conversation in desk.asked] == [
        (event.data.user_id, event.data.text, event.data.conversation_id) for _, event in desk.messages
    ]


async def test_the_same_events_give_the_same_messages_at_any_speed() -> None:
    made = []
    for per_s in (100, 180):
        desk = Desk()
        await desk.stream(4000, per_s)
        await desk.support.finish()
        made.append([message for _, message in desk.sent if isinstance(message.event, Order)])
        made.append([message for _, message in desk.sent if isinstance(message.event, SupportMessage)])
    assert made[:2] == made[2:]
