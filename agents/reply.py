"""Support messages in, replies out. The hops of one message, in order; each has a room of its own.

One conversation is answered in order. What comes while an answer is on its way joins it: a new message supersedes an
unanswered one, and one reply answers both. A message that was answered is answered by the stored reply, for ever.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Self

from aiokafka.errors import MessageSizeTooLargeError
from msgspec import Struct

from agents.coalescer import Held, offset_runs
from agents.dead_letters import DeadLetters
from agents.decoding import EventDecoder, Poison
from agents.publisher import Publisher
from agents.results import HEADERS, new_id
from agents.state.changes import event_id
from agents.state.conversations import ConversationStore, FinalReply, Standing, Turn
from agents.support.answering import Answering, Question
from agents.support.lookup import order_ids
from agents.support.planning import Plan
from agents.support.replies import Addressed, make_reply, record_of
from agents.transport.consumer import Chunk
from schemas import events
from schemas.results import Trigger
from schemas.topics import SUPPORT_MESSAGES

logger = logging.getLogger(__name__)

TOPICS = (SUPPORT_MESSAGES,)
MAX_HELD = 256  # messages in hand: each takes up to seconds, and Kafka is the only long queue


class Case(Struct, eq=False):
    """A conversation's messages that are being answered. `texts`: as they came. `final`: too late to join them."""

    user: str
    conversation_id: str
    standing: Standing
    consent: bool
    trigger: Trigger
    texts: list[str] = []
    named: dict[str, bool] = {}  # what may be order numbers, and whether they are called so
    hint: str | None = None
    message_ids: list[str] = []
    held: list[Held] = []
    task: "asyncio.Task[None] | None" = None
    final: bool = False
    following: "Case | None" = None

    def join(self, newer: "Case") -> bool:
        """Answer the newer messages too, as one. Returns whether there is anything new in them."""
        self.held += newer.held
        if newer.standing.sequence <= self.standing.sequence:  # delivered again: it is in hand
            return False
        self.standing, self.trigger, self.hint = newer.standing, newer.trigger, newer.hint or self.hint
        self.texts += newer.texts
        self.named |= newer.named
        self.message_ids += newer.message_ids
        return True


class Reply:
    """One process's share of the capability. An answer that fails ends the block that it was entered for."""

    def __init__(
        self,
        store: ConversationStore,
        answering: Answering,
        publisher: Publisher,
        dead_letters: DeadLetters,
        prefix: str,
        topic: str,
        *,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._answering = answering
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._topic = topic
        self._wall_ms = wall_ms
        decoder: EventDecoder[events.SupportEvent] = EventDecoder(events.SupportEvent)
        self._decode = {SUPPORT_MESSAGES.full_name(prefix): decoder}
        self._cases: dict[tuple[str, str], Case] = {}
        self._held = 0
        self._room = asyncio.Event()
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give up what is not answered: nothing of it was acknowledged. Raises what an answer raised."""
        for case in self._cases.values():
            if case.task is not None:
                case.task.cancel()
        await self._group.__aexit__(kind, error, trace)

    async def handle(self, taken: Sequence[Chunk]) -> None:
        """Take messages in, in order; returns when there is room for more."""
        received: list[tuple[events.SupportEvent, Held]] = []
        for chunk in taken:
            for record in chunk.records:
                held = Held(record, chunk.partition, chunk.window)
                event = self._decode[chunk.partition.topic](record)
                if isinstance(event, Poison):
                    await self._dead_letters.send(record, event)
                    held.done()
                else:
                    received.append((event, held))
        standings = await self._store.receive([_turn(event) for event, _ in received])
        for (event, held), standing in zip(received, standings, strict=True):
            self._held += 1
            await self._take(event, held, standing)
        while self._held >= MAX_HELD:
            self._room.clear()
            await self._room.wait()

    async def _take(self, event: events.SupportEvent, held: Held, standing: Standing) -> None:
        if isinstance(event, events.ConversationResolved):
            self._done([held])
        elif standing.is_answered:
            await self._send(event.data.user, standing.reply, [held])
        else:
            self._begin(_case(event, held, standing))

    def _begin(self, case: Case) -> None:
        """Answer a message: alone, or with those of its conversation that have no answer yet."""
        key = case.user, case.conversation_id
        before = self._cases.get(key)
        if before is None:
            self._cases[key] = case
            self._start(case)
        elif before.final:
            if before.following is None:
                before.following = case
            else:
                before.following.join(case)
        elif before.join(case):
            if before.task is not None:
                before.task.cancel()
            self._start(before)

    def _start(self, case: Case) -> None:
        case.task = self._group.create_task(self._answer(case))

    async def _answer(self, case: Case) -> None:
        """Everything between a message and its reply. May be cancelled until the reply is final."""
        question = Question(case.user, case.texts, case.named, case.standing, case.hint)
        answer = await self._answering.answer(question, datetime.fromtimestamp(self._wall_ms() / 1000, UTC))
        case.final = True
        to = Addressed(case.user, case.conversation_id, case.message_ids, case.trigger, offset_runs(case.held))
        data = make_reply(to, answer.asked, answer.plan, answer.written, new_id(), self._wall_ms())
        await self._finish(case, data, answer.asked.intent, answer.plan)

    async def _finish(self, case: Case, data: bytes, intent: str, found: Plan) -> None:
        (answered,) = await self._store.finish([FinalReply(
            case.user, case.conversation_id, case.standing.sequence, data, intent, found.order_id,
            found.handover or "", case.consent,
        )])
        await self._send(case.user, data if answered is None else answered, case.held)
        await self._go_on(case)

    async def _go_on(self, case: Case) -> None:
        """Answer what came when this case was final."""
        key, following = (case.user, case.conversation_id), case.following
        if following is None:
            del self._cases[key]
            return
        self._cases[key], following.final = following, True  # until it starts, others wait behind it
        # what was just stored is news to it
        (following.standing,) = await self._store.receive([Turn(
            case.user, case.conversation_id, event_id(following.trigger.source, following.trigger.id),
            consent=case.consent,
        )])
        if following.standing.is_answered:  # it was delivered again
            await self._send(case.user, following.standing.reply, following.held)
            await self._go_on(following)
        else:
            following.final = False
            self._start(following)

    async def _send(self, user: str, data: bytes | None, held: list[Held]) -> None:
        if not data:  # it was answered, and the reply has expired
            self._done(held)
            return
        delivered = partial(self._delivered, held)
        await self._publisher.send(self._topic, user.encode(), record_of(data), HEADERS, delivered)

    def _delivered(self, held: list[Held], refused: MessageSizeTooLargeError | None) -> None:
        if refused is not None:
            raise refused  # stops the process: a reply has a bounded size, so the topic's limit is set wrong
        self._done(held)

    def _done(self, held: Sequence[Held]) -> None:
        for one in held:
            one.done()
        self._held -= len(held)
        self._room.set()


def _turn(event: events.SupportEvent) -> Turn:
    data = event.data
    return Turn(
        data.user, data.conversation_id, event_id(event.source, event.id),
        "message" if isinstance(event, events.SupportMessage) else "resolved", data.consent,
    )


def _case(event: events.SupportMessage, held: Held, standing: Standing) -> Case:
    data = event.data
    named = ({data.order_id: True} if data.order_id else {}) | order_ids(data.text)
    return Case(
        data.user, data.conversation_id, standing, data.consent, Trigger(event.source, event.id),
        [data.text], named, data.language, [data.message_id], [held],
    )


