"""Hops 7 and 8: a reply becomes a stored result, then a record, then an acknowledgement.

One loop finishes whatever is ready, in one pipeline; it never waits for Kafka: the acknowledgement of a record is what
marks its events done and lets the user's next request start. So per user results are stored and sent in order.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import Enum, auto
from functools import partial

from aiokafka.errors import MessageSizeTooLargeError

from agents.ack_window import Partition
from agents.coalescer import Work, covers
from agents.dead_letters import DeadLetters
from agents.decoding import Poison
from agents.fallback import Fallback
from agents.publisher import Publisher
from agents.results import HEADERS, Result, decode_recommendations, make_result, record_of
from agents.rules import choose, excluded
from agents.state.store import Debt, StoredResult, UserChanges, UserStore
from schemas.inference import Failure, RecommendResult, Shed
from schemas.results import Origin

logger = logging.getLogger(__name__)


class NoReply(Enum):
    """Outcomes without the model."""

    LATE = auto()  # the budget is spent, or there is no worker
    ANSWERED = auto()  # a redelivery: the stored result already reflects it


Outcome = RecommendResult | Failure | Shed | NoReply
FALLBACK = ("fallback", "-")


class ModelFailedError(RuntimeError):
    """The worker says that the model cannot answer this request."""


class Answers:
    """Finishes work. `on_done(work)` is called once everything the work holds is acknowledged."""

    def __init__(
        self,
        store: UserStore,
        publisher: Publisher,
        dead_letters: DeadLetters,
        fallback: Fallback,
        topic: str,
        *,
        on_done: Callable[[Work], None],
        restart: Callable[[Work], None],
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._fallback = fallback
        self._topic = topic
        self._on_done = on_done
        self._restart = restart
        self._wall_ms = wall_ms
        # and by which model; bounded by what the agent holds (recommend.MAX_HELD)
        self._ready: list[tuple[Work, Outcome, tuple[str, str]]] = []
        self._unread: Collection[Partition] = ()  # whose debts are to be read
        self._is_over = False  # there are debts to be struck off
        self._wake = asyncio.Event()
        self.unavailable: frozenset[str] = frozenset()

    def add(self, work: Work, outcome: Outcome, model: tuple[str, str] = FALLBACK) -> None:
        """Hand over one finished request; never blocks. `model`: name and version of who answered it."""
        self._ready.append((work, outcome, model))
        self._wake.set()

    def inherit(self, partitions: Collection[Partition]) -> None:
        """Take over what the last owners of these partitions owe; never blocks."""
        self._unread = partitions
        self._wake.set()

    def forget(self) -> None:
        """Strike off, in a moment, those whose debts are over; never blocks."""
        self._is_over = True
        self._wake.set()

    async def run(self) -> None:
        """Finish what is ready, for ever. All that is done to noted debts is done here, and so in order."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._unread:
                partitions, self._unread = self._unread, ()
                self._fallback.inherit(await self._store.debts_of(partitions))
            ready, self._ready = self._ready, []
            if ready or self._is_over:
                self._is_over = False
                await self._finish(ready)

    async def _finish(self, ready: Sequence[tuple[Work, Outcome, tuple[str, str]]]) -> None:
        without_model = [work for work, outcome, _ in ready if not isinstance(outcome, RecommendResult)]
        stored = dict(zip(
            (work.user for work in without_model),
            await self._store.results_of([work.user for work in without_model]),
            strict=True,
        ))
        results: list[tuple[Work, Result]] = []
        again: list[tuple[Work, bytes]] = []  # and the record of what is stored already
        debts: dict[str, Debt] = {}
        for work, outcome, model in ready:
            if isinstance(outcome, RecommendResult):
                results.append((work, self._by_model(work, outcome, model)))
                continue
            data = stored[work.user]
            if outcome is NoReply.ANSWERED:
                if data is None:  # the stored result expired
                    work.answered = False
                    self._restart(work)
                else:
                    if decode_recommendations(data).origin == "fallback":  # whoever made it may have died, or failed
                        debts |= self._owe(work)
                    again.append((work, record_of(data)))
                continue
            if isinstance(outcome, Failure):
                self._fallback.cancel(work.user)
                error = ModelFailedError(outcome.error)
                for held in work.held:
                    await self._dead_letters.send(held.record, Poison(error))
            else:
                debts |= self._owe(work)
            if work.held:
                results.append((work, self._by_fallback(work, data)))
            else:  # asked only because the user was owed a model's answer: the fallback is already there
                self._on_done(work)
        await self._note(debts)  # before what they are for is acknowledged
        await self._store_and_send(results, again)

    def _owe(self, work: Work) -> dict[str, Debt]:
        debt = Debt(work.partition, work.session, work.trigger, work.trigger_time_ms, work.looked_at)
        self._fallback.owe(work.user, debt)
        return {work.user: debt}

    def _by_model(self, work: Work, result: RecommendResult, model: tuple[str, str]) -> Result:
        self._fallback.cancel(work.user)
        return self._result(work, result.ids, result.items, "model", model)

    def _by_fallback(self, work: Work, stored: bytes | None) -> Result:
        return self._result(work, *self._fallback.candidates(stored), "fallback", FALLBACK)

    def _result(self, work: Work, ids: str, items: bytes, origin: Origin, model: tuple[str, str]) -> Result:
        """`ids`, `items`: as in a `RecommendResult`."""
        out = excluded(work.state, work.event_time_ms, work.looked_at)
        chosen = choose(ids, out, self.unavailable)
        lines = items.split(b"\n", chosen[-1] + 1) if chosen else []
        return make_result(
            work, [lines[n] for n in chosen], covers(work), origin=origin, model=model, now_ms=self._wall_ms()
        )

    async def _note(self, debts: Mapping[str, Debt]) -> None:
        over = self._fallback.over()
        if debts or over:
            await self._store.note_debts(debts, over)

    async def _store_and_send(
        self, results: Sequence[tuple[Work, Result]], again: Sequence[tuple[Work, bytes]]
    ) -> None:
        for work, record in again:
            await self._send(work, record)
        accepted = await self._store.store_results([
            StoredResult(work.user, work.version, result.data, work.session, result.covers) for work, result in results
        ]) if results else []
        refused: list[Work] = []
        for (work, result), stored in zip(results, accepted, strict=True):
            if stored:
                await self._send(work, result.record)
            else:
                refused.append(work)
        await self._start_again(refused)

    async def _start_again(self, refused: Sequence[Work]) -> None:
        """Another process stored newer results of these users; ours must cover our records all the same."""
        states = await self._store.apply([UserChanges(work.user, session=work.session) for work in refused])
        for work, now in zip(refused, states, strict=True):
            work.version, work.event_time_ms, work.state = now.version, now.event_time_ms, now.state
            work.open_covers = now.covers
            self._restart(work)

    async def _send(self, work: Work, record: bytes) -> None:
        await self._publisher.send(self._topic, work.user.encode(), record, HEADERS, partial(self._delivered, work))

    def _delivered(self, work: Work, refused: MessageSizeTooLargeError | None) -> None:
        if refused is not None:
            raise refused  # stops the process: a result has a bounded size, so the topic's limit is set wrong
        self._acknowledge(work)

    def _acknowledge(self, work: Work) -> None:
        for held in work.held:
            held.done()
        self._on_done(work)
