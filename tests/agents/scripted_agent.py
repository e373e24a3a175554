"""The recommend agent as agents/app.py wires it, on a real Redis; Kafka and the worker are the test's."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Raw

from agents import recommend
from agents.ack_window import AckWindow, Partition
from agents.answers import Answers
from agents.dead_letters import DeadLetters
from agents.fallback import Fallback
from agents.publisher import Publisher
from agents.recommend import BUDGET_S, Recommend
from agents.state.connection import connect
from agents.state.store import UserStore
from agents.transport.consumer import Chunk
from footfall.stack import Stack
from schemas import keys
from schemas.inference import ModelInfo, RecommendResult
from schemas.results import Reason, RecommendedItem
from tests.doubles import RecordingProducer, as_bytes, record

CLICKS, PURCHASES = "retail.clickstream.v1", "retail.purchases.v1"


class ScriptedWorker:
    """Keeps requests for the test to answer."""

    def __init__(self) -> None:
        self.away_s, self.room, self.looked = 0.0, 64, 0
        self.requests: dict[int, tuple[int, Raw]] = {}
        self.budgets_ms: list[int] = []
        self.cancelled: list[int] = []

    @property
    def spare(self) -> int:
        self.looked += 1
        return self.room

    def submit(self, request_id: int, body: tuple[int, Raw], budget_ms: int) -> None:
        self.requests[request_id] = body
        self.budgets_ms.append(budget_ms)

    def cancel(self, ids: Sequence[int]) -> None:
        self.cancelled += ids


class Agent:
    """The parts as agents/app.py wires them, and a log to deliver from."""

    def __init__(self, stack: Stack, prefix: str, budget_s: float = BUDGET_S) -> None:
        self.redis = connect(stack.settings.redis_url)
        self.producer, self.worker = RecordingProducer(), ScriptedWorker()
        self.publisher = Publisher(self.producer)
        self.dead_letters = DeadLetters(self.publisher, "retail", recommend.TOPICS)
        self.fallback, self.now_s = Fallback(), 0.0
        self.store = UserStore(self.redis, stack.settings)
        self.answers = Answers(
            self.store, self.publisher, self.dead_letters, self.fallback, "retail.recommendations.v1",
            on_done=lambda work: self.capability.on_done(work), restart=lambda work: self.capability.restart(work),
        )
        self.capability = Recommend(
            self.store, self.worker, self.answers, self.dead_letters, self.fallback, "retail",
            window=self._window, budget_s=budget_s, clock=lambda: self.now_s,
        )
        self.capability.on_model(ModelInfo("recommender", "v1", ("hit-1", "hit-2")))
        self.partition, self.offset, self.prefix = Partition(CLICKS, 0), 0, prefix
        self.window_looks = 0
        self.window, self.rebalancing = AckWindow({Partition(CLICKS, 0): 0}), False

    def _window(self) -> AckWindow | None:
        self.window_looks += 1
        return None if self.rebalancing else self.window

    async def deliver(self, *events: dict[str, Any] | bytes) -> None:
        values = [event if isinstance(event, bytes) else as_bytes(event) for event in events]
        records = [
            record(value, topic=self.partition.topic, offset=self.offset + n) for n, value in enumerate(values)
        ]
        self.offset += len(records)
        self.window.deliver(self.partition, (one.offset for one in records))
        self.window.take(len(records))
        await self.capability.handle([Chunk(self.partition, records, self.window)])

    def answer(self, request_id: int, *items: str, version: str = "v1") -> None:
        candidates = tuple(RecommendedItem(item, 0.5, Reason("related", ("x",))) for item in items)
        self.capability.on_replies([RecommendResult.of(request_id, candidates)], version)

    async def results(self, count: int) -> list[dict[str, Any]]:
        async with asyncio.timeout(5), self.producer.arrived:
            await self.producer.arrived.wait_for(lambda: len(self.sent()) >= count)
        return [json.loads(value) for _, _, value in self.sent()]

    def sent(self) -> list[tuple[str, bytes, bytes]]:
        return [one for one in self.producer.records if one[0] == "retail.recommendations.v1"]

    async def stored(self, user: str) -> Any:
        (data,) = await self.store.results_of([user])
        assert data is not None
        return json.loads(data)

    async def until_asked(self, request_id: int) -> None:
        async with asyncio.timeout(5):
            while request_id not in self.worker.requests:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def repaying(self) -> AsyncIterator[None]:
        """Debts are repaid meanwhile, and deadlines watched."""
        loops = [asyncio.create_task(loop()) for loop in (self.capability.repay, self.capability.watch_deadlines)]
        try:
            yield
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)

    def acked_to(self) -> int:
        return self.window.positions().get(self.partition, 0)

    async def until_acked(self, offset: int) -> None:
        async with asyncio.timeout(5):
            while self.acked_to() < offset:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator["Agent"]:
        """Running, on a Redis that has no debts of other tests, which use the same partitions."""
        await self.redis.delete(*(keys.owed(topic, 0) for topic in (CLICKS, PURCHASES)))
        async with self.running():
            yield self

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Agent"]:
        loops = [asyncio.create_task(self.answers.run()), asyncio.create_task(self.publisher.run())]
        try:
            yield self
            assert not any(loop.done() for loop in loops), [loop.exception() for loop in loops if loop.done()]
        finally:
            for loop in loops:
                loop.cancel()
            await asyncio.wait(loops)
            await self.redis.aclose()
