"""When the replay's customers write to support: rarely enough that a small model on a CPU keeps up.

Who writes, and what, follows from the events alone, so the same seed gives the same messages. The clock holds messages
back: no two come within `APART_S`, and the orders that one is about go ahead of it, so that the shop knows them. Only a
replay that is much faster than that leaves some out.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal

from msgspec import Struct

from footfall.replay.clicks import SIMULATOR, Step, instant
from footfall.replay.enquiries import Enquiries, Enquiry
from footfall.replay.orders import Bought
from footfall.replay.runner import Clock, Message
from footfall.replay.trips import Run
from schemas.events import Order, Purchase, SupportMessage, SupportMessageData
from schemas.topics import ORDERS, SUPPORT_MESSAGES

FIRST_AT, EVERY = 50, 400  # events: the purchase after so many is the one whose customer writes
AT_MOST = 60  # messages of a run
APART_S = 2.0
AHEAD_S = 3.0  # of a message about it an order is sent
WAITING = 8  # messages that are held back; where the replay is faster, more are not written
MODELS_S = 60.0  # after the last event, for models that are still loading
MOMENT_S = 0.2

Answers = Literal["now", "later", "never"]  # whether anybody answers


class _Written(Struct, frozen=True):
    enquiry: Enquiry
    time_ms: int
    not_before_s: float


class SupportMessages:
    """Tell it of every step that was sent (`after`): it sends what is due, and in the end (`finish`) what is left.

    Messages are written unless nobody will ever answer, and are sent once somebody does. `asked` is told of each when
    it is sent, and of the id of its conversation.
    """

    def __init__(
        self, enquiries: Enquiries, run: Run, send: Callable[[Message], Awaitable[Any]], clock: Clock, *,
        answers: Callable[[], Answers] = lambda: "now", asked: Callable[[Enquiry, str], None] = lambda *_: None,
    ) -> None:
        self._enquiries = enquiries
        self._run = run
        self._send = send
        self._clock = clock
        self._answers = answers
        self._asked = asked
        self._written: deque[_Written] = deque()
        self._count = 0
        self._next_s = float("-inf")
        self.sent = 0

    async def after(self, step: Step, events: int) -> None:
        """A step was sent, the replay's `events`-th."""
        if isinstance(step.event, Purchase) and step.trip.user_id is not None:
            one = Bought(step.trip.name, step.trip.user_id, step.trip.leave_ms, step.trip.lines)
            self._enquiries.orders.add(one)
            if self._count < AT_MOST and events >= FIRST_AT + EVERY * self._count:
                await self._write(one.user, step.time_ms)
        await self._send_due()

    async def finish(self, stopping: Callable[[], bool] = lambda: False) -> None:
        """Send what is held back, each when it is due; not what nobody answers by then, nor after `stopping`."""
        until_s = self._clock.monotonic() + MODELS_S
        while self._written and not stopping() and (self._answers() == "now" or (
            self._answers() == "later" and self._clock.monotonic() < until_s
        )):  # fmt: skip
            await self._clock.sleep(MOMENT_S)
            await self._send_due()

    async def _write(self, user: str, time_ms: int) -> None:
        found = self._enquiries.write(self._count, user, time_ms)
        self._count += 1
        if found is None or len(self._written) >= WAITING or self._answers() == "never":
            return
        for message in order_messages(found, time_ms, self._run):
            await self._send(message)
        self._written.append(_Written(found, time_ms, self._clock.monotonic() + AHEAD_S))

    async def _send_due(self) -> None:
        if not self._written or self._answers() != "now":
            return
        first, now_s = self._written[0], self._clock.monotonic()
        if now_s < max(self._next_s, first.not_before_s):
            return
        self._written.popleft()
        message = support_message(first.enquiry, first.time_ms, self._run)
        self._asked(first.enquiry, conversation_of(first.enquiry, self._run))
        await self._send(message)
        self._next_s = now_s + APART_S
        self.sent += 1


def conversation_of(one: Enquiry, run: Run) -> str:
    """The id of the conversation, which has this one message."""
    return f"{run.name}-support-{one.number}"


def order_messages(about: Enquiry, time_ms: int, run: Run) -> Sequence[Message]:
    """The orders as they are when the customer writes."""
    return [
        Message(ORDERS, order.order_id, Order(
            specversion="1.0", id=f"{run.name}-order-{about.number}-{order.order_id}", source=SIMULATOR,
            time=instant(time_ms), data=order,
        ))
        for order in about.orders
    ]  # fmt: skip


def support_message(one: Enquiry, time_ms: int, run: Run) -> Message:
    """What the customer writes, in a conversation of its own."""
    name = conversation_of(one, run)
    return Message(SUPPORT_MESSAGES, one.user, SupportMessage(
        specversion="1.0", id=name, source=SIMULATOR, time=instant(time_ms),
        data=SupportMessageData(
            user_id=one.user, conversation_id=name, message_id=name, text=one.text, channel="simulated",
        ),
    ))
