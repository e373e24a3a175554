"""Hops 7 and 8: a reply becomes a stored result, then a record, then an acknowledgement.

One loop finishes whatever is ready, in one pipeline; it never waits for Kafka: the acknowledgement of a record is what
marks its events done and lets the user's next request start. So per user results are stored and sent in order.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from functools import partial
from typing import Any

from aiokafka.errors import KafkaError

from agents.ack_window import Partition
from agents.coalescer import Work
from agents.dead_letters import DeadLetters
from agents.decoding import Poison
from agents.fallback import Debt, Fallback
from agents.publisher import Publisher
from agents.results import HEADERS, envelope, recommendations_json
from agents.rules import choose, excluded
from agents.state.store import StoredResult, UserChanges, UserStore
from schemas.inference import Candidate, Failure, RecommendResult, Shed, user_state_decoder
from schemas.results import Reason, RecommendedItem

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
        self._ready: list[tuple[Work, Outcome]] = []  # bounded by what the agent holds (recommend.MAX_HELD)
        self._wake = asyncio.Event()
        self._resending: set[asyncio.Task[None]] = set()
        self._failure: BaseException | None = None  # of a resend, for `run` to raise
        self.model = FALLBACK
        self.unavailable: frozenset[str] = frozenset()
        self.sent = self.fallbacks = self.resent = self.refused = 0

    def add(self, work: Work, outcome: Outcome) -> None:
        """Hand over one finished request; never blocks."""
        self._ready.append((work, outcome))
        self._wake.set()

    async def run(self) -> None:
        """Finish what is ready, for ever.

        Raises what no retry can mend, a record that Kafka refuses for its size among it.
        """
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._failure is not None:
                    raise self._failure
                ready, self._ready = self._ready, []
                if ready:
                    await self._finish(ready)
        finally:
            for task in self._resending:
                task.cancel()

    async def _finish(self, ready: Sequence[tuple[Work, Outcome]]) -> None:
        without_model = [work for work, outcome in ready if not isinstance(outcome, RecommendResult)]
        stored = dict(zip(
            (work.user for work in without_model),
            await self._store.results_of([work.user for work in without_model]),
            strict=True,
        ))
        results: list[tuple[Work, bytes]] = []
        for work, outcome in ready:
            if isinstance(outcome, RecommendResult):
                results.append((work, self._by_model(work, outcome.candidates)))
                continue
            data = stored[work.user]
            if outcome is NoReply.ANSWERED:
                if data is None:  # the stored result expired
                    work.answered = False
                    self._restart(work)
                else:
                    self.resent += 1
                    await self._send(work, data)
                continue
            if isinstance(outcome, Failure):
                error = ModelFailedError(outcome.error)
                for held in work.held:
                    await self._dead_letters.send(held.record, Poison(error))
            else:
                self._fallback.owe(work.user, Debt(work.session, work.trigger, work.trigger_time_ms, work.looked_at))
            if work.held:
                results.append((work, self._by_fallback(work, data)))
            else:  # asked only because the user was owed a model's answer: the fallback is already there
                self._on_done(work)
        await self._store_and_send(results)

    def _by_model(self, work: Work, candidates: Iterable[Candidate]) -> bytes:
        out = excluded(user_state_decoder.decode(work.state), work.event_time_ms, work.looked_at)
        items = [RecommendedItem(c.item_id, c.score, Reason(c.kind, c.evidence))
                 for c in choose(candidates, out, self.unavailable)]
        self._fallback.paid(work.user)
        return recommendations_json(work, items, origin="model", model=self.model, now_ms=self._wall_ms())

    def _by_fallback(self, work: Work, stored: bytes | None) -> bytes:
        out = excluded(user_state_decoder.decode(work.state), work.event_time_ms, work.looked_at)
        items = choose(self._fallback.items(stored), out, self.unavailable)
        self.fallbacks += 1
        return recommendations_json(work, items, origin="fallback", model=FALLBACK, now_ms=self._wall_ms())

    async def _store_and_send(self, results: Sequence[tuple[Work, bytes]]) -> None:
        accepted = await self._store.store_results([
            StoredResult(work.user, work.version, data, work.session) for work, data in results
        ]) if results else []
        for (work, data), stored in zip(results, accepted, strict=True):
            if stored:
                await self._send(work, data)
            else:  # another process stored a newer result; ours must cover our records all the same
                self.refused += 1
                (now,) = await self._store.apply([UserChanges(work.user, session=work.session)])
                work.version, work.event_time_ms, work.state = now.version, now.event_time_ms, now.state
                self._restart(work)

    async def _send(self, work: Work, data: bytes) -> None:
        record = envelope(data)
        key = work.user.encode()
        try:
            sending = await self._publisher.send(self._topic, key, record, HEADERS)
        except KafkaError:
            self._resend(work, key, record)
        else:
            sending.add_done_callback(partial(self._sent, work, key, record))

    def _sent(self, work: Work, key: bytes, record: bytes, sending: "asyncio.Future[Any]") -> None:
        if sending.cancelled():
            return  # the producer is closing; nothing of this is acknowledged
        if sending.exception() is not None:
            self._resend(work, key, record)
        else:
            self._acknowledge(work)

    def _resend(self, work: Work, key: bytes, record: bytes) -> None:
        async def again() -> None:
            await self._publisher.deliver(self._topic, key, record, HEADERS)
            self._acknowledge(work)

        task = asyncio.create_task(again())  # bounded by what the agent holds
        self._resending.add(task)
        task.add_done_callback(self._resent)

    def _resent(self, task: "asyncio.Task[None]") -> None:
        self._resending.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self._failure = task.exception()
            self._wake.set()

    def _acknowledge(self, work: Work) -> None:
        self.sent += 1
        for record, window in work.held:
            window.done(Partition(record.topic, record.partition), record.offset)
        self._on_done(work)
