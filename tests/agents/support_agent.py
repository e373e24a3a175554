"""The parts of `reply` as agents/app.py wires them, on a real Redis, with scripted models and a log to deliver from."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from redis.asyncio import Redis

from agents import reply
from agents.ack_window import AckWindow, Partition
from agents.asking import Model
from agents.dead_letters import DeadLetters
from agents.publisher import Publisher
from agents.reply import Reply
from agents.state.connection import connect
from agents.state.conversations import ConversationStore, FinalReply
from agents.state.orders_store import OrderRecord, OrdersStore
from agents.support.answering import Answering
from agents.support.lookup import Lookup
from agents.support.planning import Limits
from agents.support.policies import Policies, read
from agents.support.templates import Templates
from agents.support.writing import Messages, Writing
from agents.transport.consumer import Chunk
from footfall.stack import Stack
from schemas.events import OrderData, OrderStatus
from schemas.inference import EncodeResult
from schemas.settings import Settings
from tests.doubles import RecordingProducer, as_bytes, record

MESSAGES, REPLIES = "retail.support-messages.v1", "retail.replies.v1"
BOUND_S = 5.0


class ScriptedEncoder:
    """Says one intent of everything, once it is there."""

    def __init__(self) -> None:
        self.intent, self.confidence = "order_status", 0.9
        self.texts: list[str] = []
        self.there = asyncio.Event()
        self.there.set()

    async def ask(self, body: tuple[str], budget_s: float) -> tuple[EncodeResult, str]:
        self.texts.append(body[0])
        await self.there.wait()
        return EncodeResult(1, b"", ((self.intent, self.confidence),)), "v1"


class ScriptedEngine:
    """Writes what the test says, when the test lets it."""

    name = "replier"

    def __init__(self) -> None:
        self.text: str | None = None
        self.prompts: list[Messages] = []
        self.cancelled = 0
        self.gate = asyncio.Semaphore(1_000_000)
        self.asked = asyncio.Event()

    async def generate(self, messages: Messages) -> tuple[str, str] | None:
        self.prompts.append(messages)
        self.asked.set()
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        return None if self.text is None else (self.text, "m1")


class GatedStore(ConversationStore):
    """Stores replies when the test lets it."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        self.gate, self.entered = asyncio.Event(), asyncio.Event()
        self.gate.set()

    async def finish(self, replies: Sequence[FinalReply]) -> list[bytes | None]:
        self.entered.set()
        await self.gate.wait()
        return await super().finish(replies)


class SupportAgent:
    def __init__(self, stack: Stack, user: str) -> None:
        self.user, self.redis = user, connect(stack.settings.redis_url)
        self.producer, self.encoder, self.engine = RecordingProducer(), ScriptedEncoder(), ScriptedEngine()
        self.publisher = Publisher(self.producer)
        self.orders = OrdersStore(self.redis, stack.settings)
        self.store = GatedStore(self.redis, stack.settings)
        self.capability = Reply(
            self.store,
            Answering(
                Lookup(self.redis, self.orders), cast("Model", self.encoder), Writing(Templates(), self.engine),
                Policies(read()), Limits(), "EUR",
            ),
            self.publisher,
            DeadLetters(self.publisher, "retail", reply.TOPICS), "retail", REPLIES,
        )
        self.partition, self.offset = Partition(MESSAGES, 0), 0
        self.window = AckWindow({self.partition: 0})

    def message(self, number: int, text: str, conversation: str = "c-1", **data: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0", "id": f"m-{number}", "source": "app", "type": "retail.support_message.v1",
            "time": "2026-11-25T10:00:00Z", "data": {
                "user_id": self.user, "conversation_id": conversation, "message_id": f"m-{number}", "text": text,
                **data,
            },
        }

    def resolved(self, number: int, conversation: str = "c-1") -> dict[str, Any]:
        return {
            "specversion": "1.0", "id": f"m-{number}", "source": "app", "type": "retail.conversation_resolved.v1",
            "time": "2026-11-25T10:00:00Z", "data": {"user_id": self.user, "conversation_id": conversation},
        }

    async def has_order(self, order_id: str, status: OrderStatus = "packed", user: str = "", **more: Any) -> str:
        """An order whose id no other test has."""
        own_id = f"{order_id}{abs(hash(self.user)) % 10**9:09d}"
        order = OrderData(order_id=own_id, user_id=user or self.user, status=status, **more)
        await self.orders.write([OrderRecord(own_id, order, 1_795_428_000_000)])
        return own_id

    async def deliver(self, *sent: dict[str, Any] | bytes) -> None:
        values = [one if isinstance(one, bytes) else as_bytes(one) for one in sent]
        records = [record(value, topic=MESSAGES, offset=self.offset + n) for n, value in enumerate(values)]
        self.offset += len(records)
        self.window.deliver(self.partition, (one.offset for one in records))
        self.window.take(len(records))
        await self.capability.handle([Chunk(self.partition, records, self.window)])

    async def replies(self, count: int) -> list[dict[str, Any]]:
        """The data of the replies on the topic, once there are so many."""
        async with asyncio.timeout(BOUND_S), self.producer.arrived:
            await self.producer.arrived.wait_for(lambda: len(self.sent()) >= count)
        return [json.loads(value)["data"] for value in self.sent()]

    def sent(self) -> Sequence[bytes]:
        return [value for topic, _, value in self.producer.records if topic == REPLIES]

    def acked_to(self) -> int:
        return self.window.positions().get(self.partition, 0)

    async def until_acked(self, offset: int) -> None:
        async with asyncio.timeout(BOUND_S):
            while self.acked_to() < offset:
                await asyncio.sleep(0)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["SupportAgent"]:
        sending = asyncio.create_task(self.publisher.run())
        try:
            async with self.capability:
                yield self
        finally:
            sending.cancel()
            await asyncio.wait([sending])
            await self.redis.aclose()
