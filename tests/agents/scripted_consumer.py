"""The real consumer of a real app, against a scripted fetcher and coordinator. No broker, no luck."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

import agents.transport  # noqa: F401 - registers gapless://
from agents.ack_window import Partition
from agents.app import App
from agents.transport.consumer import Chunk, GaplessConsumer
from agents.transport.thread import Start
from tests.doubles import record

TOPIC = "retail.clickstream.v1"
P0, P1 = TP(TOPIC, 0), TP(TOPIC, 1)


def records(first: int, last: int, partition: int = 0) -> list[ConsumerRecord]:
    return [record(b"", partition=partition, offset=offset) for offset in range(first, last + 1)]


class ScriptedThread:
    """Answers as the consumer thread would: seeks and commits are noted, starts and fetches are scripted."""

    beacon = None

    def __init__(self) -> None:
        self.starts: asyncio.Queue[Start | None] = asyncio.Queue()
        self.fetches: asyncio.Queue[dict[TP, Sequence[ConsumerRecord]]] = asyncio.Queue()
        self.fetching = asyncio.Event()
        self.opened = 0
        self.sought_back: list[tuple[TP, int]] = []
        self.committed: list[dict[Any, int]] = []
        self.takes_commits = True
        self.while_seeking: Callable[[], Awaitable[None]] | None = None
        self.assigned: set[TP] = set()

    async def call_thread(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await function(*args)

    async def rewind(self) -> Start | None:
        start = await self.starts.get()
        self.opened += 1
        return start

    async def seek_back(self, tp: TP, offset: int) -> None:
        self.sought_back.append((tp, offset))
        if self.while_seeking is not None:
            await self.while_seeking()

    async def commit_fenced(self, offsets: dict[Any, int], generation: int) -> bool:
        self.committed.append({**offsets, "generation": generation})
        return self.takes_commits

    async def getmany(self, active: set[TP] | None, timeout: float) -> dict[TP, Sequence[ConsumerRecord]]:  # noqa: ASYNC109
        self.fetching.set()
        return await self.fetches.get()

    def assignment(self) -> set[TP]:
        return self.assigned


class ScriptedConsumer(GaplessConsumer):
    def _new_consumer_thread(self) -> Any:
        return ScriptedThread()


class Harness:
    """A real consumer of a real app, whose thread is scripted and whose agent is the test."""

    def __init__(self) -> None:
        self.app = App("test", broker="gapless://127.0.0.1:1", store="memory://", web_enabled=False)
        self.consumer = ScriptedConsumer(
            self.app.transport, self.app.topics.on_message,
            on_partitions_revoked=self._revoked, on_partitions_assigned=self._assigned,
        )
        self.thread: ScriptedThread = self.consumer._thread  # type: ignore[assignment]
        self.queue: asyncio.Queue[Chunk] = self.app.FlowControlQueue(maxsize=0, clear_on_resume=True)
        self.channel = SimpleNamespace(queue=self.queue)
        self.stream = SimpleNamespace(channel=self.channel)
        self.consumer.stop_flow()
        self._fetcher = SimpleNamespace(_stopped=asyncio.Event())
        self._drain = asyncio.create_task(self.consumer._drain_messages(self._fetcher))

    async def _revoked(self, revoked: set[TP]) -> None:
        await self.consumer.wait_empty()

    async def _assigned(self, assigned: set[TP], generation: int) -> None:
        self.thread.assigned = assigned

    async def assign(self, generation: int, *partitions: TP) -> None:
        self.app.consumer_generation_id = generation
        self.app.topics._tp_index.clear()  # type: ignore[attr-defined]
        for tp in partitions:
            self.app.topics._tp_index[tp] = (self.channel,)  # type: ignore[attr-defined]
        self.app._rebalancing_sensor_state = {}
        await self.consumer.on_partitions_assigned(set(partitions), generation)

    def resume(self) -> None:
        self.app.flow_control.resume()
        self.consumer.resume_flow()

    async def rebalance(self, generation: int, *partitions: TP) -> None:
        await self.consumer.on_partitions_revoked(set(self.thread.assigned))
        await self.assign(generation, *partitions)
        self.resume()

    def start_at(self, generation: int, **offsets: int) -> None:
        by_partition = {Partition(TOPIC, int(name[1:])): offset for name, offset in offsets.items()}
        self.thread.starts.put_nowait(Start(by_partition, generation))

    async def delivered(self, count: int = 1) -> list[list[int]]:
        got = []
        for _ in range(count):
            chunk = await asyncio.wait_for(self.queue.get(), 5)
            chunk.window.take(len(chunk.records))
            got.append([one.offset for one in chunk.records])
        return got

    async def finish(self, done: int, of: int) -> None:
        """Deliver `of` records and mark the first ones done."""
        self.start_at(1, p0=0)
        self.resume()
        self.thread.fetches.put_nowait({P0: records(0, of - 1)})
        await self.delivered()
        for offset in range(done):
            self.consumer._window.done(Partition(*P0), offset)

    def owns(self, tp: TP) -> bool:
        window = self.consumer.window
        return window is not None and Partition(*tp) in window.partitions

    def flows(self) -> bool:
        return self.consumer.flow_active

    async def close(self) -> None:
        self._drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._drain


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)
