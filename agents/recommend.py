"""Clicks and purchases in, recommendations out. The eight hops of one event, in order; each has a room of its own."""

import asyncio
import itertools
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Raw

from agents.ack_window import AckWindow
from agents.answers import FALLBACK, Answers, NoReply, Outcome
from agents.applying import EventBatch, Group
from agents.coalescer import Coalescer, Held, Work
from agents.dead_letters import DeadLetters
from agents.decoding import Poison, customer_decoders
from agents.fallback import Fallback
from agents.state.changes import looked_at
from agents.state.store import Applied, UserChanges, UserStore
from agents.suspects import Suspects
from agents.transport.consumer import Chunk
from schemas.inference import Failure, ModelInfo, Reply, Shed
from schemas.results import Trigger
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM, PURCHASES

logger = logging.getLogger(__name__)

TOPICS = (CLICKSTREAM, PURCHASES)
MODEL = "recommender"
BUDGET_S = Settings().budget_s  # by default; then a fallback answers, and the model is still owed
MAX_HELD = 4096  # records: over 1 s of work at 3,000/s; Kafka is the only long queue
DEADLINE_CHECK_S = 0.05
REPAY_S = 0.2
REPAY_USERS = 64
BREAKS_WORKERS = "broke a worker each time it was asked"


class Worker(Protocol):
    """The part of `agents.worker_client.WorkerClient` that is used."""

    @property
    def away_s(self) -> float: ...
    @property
    def spare(self) -> int: ...
    def submit(self, request_id: int, body: tuple[int, Raw], budget_ms: int) -> None: ...
    def cancel(self, ids: Sequence[int]) -> None: ...


class Recommend:
    """One process's share of the capability. Everything runs in the event loop that calls `run`."""

    def __init__(
        self,
        store: UserStore,
        worker: Worker,
        answers: Answers,
        dead_letters: DeadLetters,
        fallback: Fallback,
        prefix: str,
        *,
        window: Callable[[], AckWindow | None],
        budget_s: float = BUDGET_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`window`: of the assignment that is being worked on; None while there is none, as during a rebalance."""
        self._store = store
        self._worker = worker
        self._answers = answers
        self._dead_letters = dead_letters
        self._fallback = fallback
        self._budget_s = budget_s
        self._window = window
        self._clock = clock
        self._decoders = customer_decoders(prefix)
        self.coalescer = Coalescer()
        self._suspects = Suspects(clock)
        self._request_ids = itertools.count(1)
        self._waiting: dict[int, Work] = {}  # request id -> work; bounded by MAX_HELD
        self._inherited_in: AckWindow | None = None
        self._repaying: dict[str, AckWindow] = {}  # user -> what waits for it; at most `REPAY_USERS` a round
        self._held = 0
        self._room = asyncio.Event()

    async def handle(self, taken: Sequence[Chunk]) -> None:
        """Hops 2 to 5 for everything that the intake holds; returns when there is room for more."""
        batch = EventBatch()
        for chunk in taken:
            decode = self._decoders[chunk.partition.topic]
            for record in chunk.records:
                held = Held(record, chunk.partition, chunk.window)
                event = decode(record)  # hop 2
                if isinstance(event, Poison):
                    await self._dead_letters.send(record, event)
                    held.done()
                else:
                    batch.add(event, record.timestamp).held.append(held)
        states = await batch.apply(self._store)  # hop 3
        deadline_s = self._clock() + self._budget_s
        for group, applied in states:
            self._held += len(group.held)
            work = self.coalescer.offer(_work(group, applied, deadline_s))  # hop 4
            if work is not None:
                self.start(work)
        while self._held >= MAX_HELD:
            self._room.clear()
            await self._room.wait()

    def start(self, work: Work) -> None:
        """Hop 5: ask the worker, unless the answer is known or nobody is there to give it."""
        left_s = work.deadline_s - self._clock()  # less than the budget where it waited behind another of its user
        if work.answered:
            self._answer(work, NoReply.ANSWERED)
        elif self._suspects.refused(work.user):
            self._answer(work, Failure(0, BREAKS_WORKERS))
        elif left_s <= 0 or self._worker.away_s > self._budget_s or not self._suspects.may_ask(work.user):
            self._answer(work, NoReply.LATE)
        else:
            request_id = next(self._request_ids)
            self._waiting[request_id] = work
            self._worker.submit(request_id, (work.event_time_ms, work.state), int(left_s * 1000))

    def restart(self, work: Work) -> None:
        """Ask again, since what came of it could not be stored."""
        self._resume(work, work.outcome_s)

    def _resume(self, work: Work, held_since_s: float) -> None:
        """Start what Redis or Kafka has held back since then, or since it came: that was nobody's budget."""
        now_s = self._clock()
        work.deadline_s = min(work.deadline_s + now_s - held_since_s, now_s + self._budget_s)
        self.start(work)

    def _answer(self, work: Work, outcome: Outcome, model: tuple[str, str] = FALLBACK) -> None:
        """Hand over to hop 7, where only Redis and Kafka are waited for."""
        work.outcome_s = self._clock()
        self._answers.add(work, outcome, model)

    def on_replies(self, replies: Sequence[Reply], version: str) -> None:
        """Hop 6 is over: replies by this version of the model go to `Answers` (hop 7)."""
        model = (MODEL, version)
        for reply in replies:
            work = self._waiting.pop(reply.id, None)
            if work is not None:
                if not isinstance(reply, Shed):
                    self._suspects.cleared(work.user)
                self._answer(work, reply, model)  # type: ignore[arg-type]  # a recommender gives no other results

    def on_lost(self, request_ids: Sequence[int]) -> None:
        """A worker broke with these in hand. They are asked again, but for those that may be why."""
        lost = {request_id: self._waiting[request_id] for request_id in request_ids if request_id in self._waiting}
        self._suspects.broke(work.user for work in lost.values())
        suspected = [request_id for request_id, work in lost.items() if self._suspects.suspected(work.user)]
        self._worker.cancel(suspected)
        for request_id in suspected:
            work = self._waiting.pop(request_id)
            if self._suspects.refused(work.user):
                logger.error("a request %s; its user is not asked about for a while", BREAKS_WORKERS)
                self._answer(work, Failure(request_id, BREAKS_WORKERS))
            else:
                self._answer(work, NoReply.LATE)

    def on_model(self, model: ModelInfo) -> None:
        """A worker serves this model from now on."""
        self._fallback.popular = model.popular

    def on_done(self, work: Work) -> None:
        """Hop 8 is over: the work's events are acknowledged."""
        self._held -= len(work.held)
        self._room.set()
        self._suspects.finished(work.user)
        repaid_in = self._repaying.pop(work.user, None)
        if repaid_in is not None:
            repaid_in.release()
        if self._fallback.settle(work.user):
            self._answers.forget()
        following = self.coalescer.finished(work.user)
        if following is not None:
            if work.held and (following.session, following.version) == (work.session, work.version):
                following.answered = True  # redeliveries that rode along: what was just stored reflects them
            self._resume(following, work.outcome_s)

    async def watch_deadlines(self) -> None:
        """Answer without the model what has waited for its budget."""
        while True:
            await asyncio.sleep(DEADLINE_CHECK_S)
            self._give_up(self._clock())

    def _give_up(self, now_s: float) -> None:
        late = [(request_id, work) for request_id, work in self._waiting.items() if work.deadline_s <= now_s]
        if late:
            self._worker.cancel([request_id for request_id, _ in late])
        for request_id, work in late:
            del self._waiting[request_id]
            self._answer(work, NoReply.LATE)

    async def repay(self) -> None:
        """Ask the model for the users who got a fallback, as far as it has nothing better to do.

        Only for those that are ours, and such that a revocation waits for it: an answer that came after newer ones of
        the next owner would be older on the topic.
        """
        while True:
            await asyncio.sleep(REPAY_S)
            window = self._window()
            if window is None:
                continue
            if window is not self._inherited_in:
                self._answers.inherit(window.partitions)
                self._inherited_in = window
            room = min(REPAY_USERS, self._worker.spare)
            if not len(self._fallback) or not room:
                continue
            debts = self._fallback.due(room, window.partitions, self.coalescer)
            window.take(len(debts))
            states = await self._store.apply([UserChanges(user, session=debt.session) for user, debt in debts])
            deadline_s = self._clock() + self._budget_s
            for (user, debt), applied in zip(debts, states, strict=True):
                work = Work(
                    user, debt.session, applied.version, applied.event_time_ms, applied.state, debt.trigger,
                    debt.trigger_time_ms, debt.looked_at, debt.partition, answered=False, deadline_s=deadline_s,
                    open_covers=applied.covers,
                )
                if user in self._fallback and user not in self.coalescer:  # still
                    self.coalescer.offer(work)
                    self._repaying[user] = window
                    self.start(work)
                else:
                    window.release()


def _work(group: Group, applied: Applied, deadline_s: float) -> Work:
    event = group.newest
    return Work(
        group.user, group.session, applied.version, applied.event_time_ms, applied.state,
        Trigger(event.source, event.id), group.newest_ms, looked_at(event), group.held[-1].partition,
        answered=applied.new_events == 0 and 0 < applied.version == applied.result_version,
        deadline_s=deadline_s, open_covers=applied.covers, held=group.held,
    )
