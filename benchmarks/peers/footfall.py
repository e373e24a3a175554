"""Footfall by its own parts, put together as for a small capability that keeps no state of its users.

The `gapless://` transport and its intake, the ack window, the client of a worker process, one write for many Redis
commands, and the publisher; `python -m agents` runs it. A plain SET stands where a capability would apply events to a
user's state and store a result only if it is newer, since no peer does that. An event is done once Redis has its result
and the record was delivered; whatever fails before stops the process, and the event is read again.
"""

import asyncio
import contextlib
import itertools
import sys
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Protocol

import msgspec
from aiokafka.errors import MessageSizeTooLargeError
from msgspec import Raw, Struct
from redis.asyncio import Redis

from agents.ack_window import AckWindow, Partition
from agents.app import CAPABILITIES, App, Handle, background, producer_of
from agents.publisher import Headers, Publisher
from agents.state.connection import connect, send_all
from agents.transport.consumer import Chunk
from agents.worker_client import WorkerClient
from benchmarks.peers.work import Task, decode_click, result_key, result_of
from schemas.inference import Failure, RecommendResult, Reply, Shed
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM

BUDGET_MS = 600_000  # nothing is dropped here: there is no fallback to answer with
MAX_HELD = 4096  # events, as agents/recommend.py

NO_HEADERS: Headers = []

_pack = msgspec.msgpack.Encoder().encode


def run(task: Task) -> None:
    from agents.__main__ import main  # noqa: PLC0415 - chooses the event loop

    CAPABILITIES[task.run] = ((CLICKSTREAM,), partial(_wiring, task), True)
    sys.exit(main([task.run]))


@contextlib.asynccontextmanager
async def _wiring(task: Task, app: App, settings: Settings) -> AsyncIterator[Handle]:
    redis, publisher = connect(settings.redis_url), Publisher(await producer_of(app))
    worker = WorkerClient(settings.workers, "stub", on_replies=lambda replies, _: capability.on_replies(replies))
    capability = Capability(task, worker, redis, publisher)
    try:
        await worker.start()
        async with background(publisher.run, capability.run):
            yield capability.handle
    finally:
        await worker.stop()
        await redis.aclose()


class Worker(Protocol):
    """The part of `agents.worker_client.WorkerClient` that is used."""

    def submit(self, request_id: int, body: tuple[int, Raw], budget_ms: int) -> None: ...


class _Asked(Struct, gc=False):
    """An event that is not done, and the window that waits for it."""

    event: str
    user: str
    state: Raw
    partition: Partition
    offset: int
    window: AckWindow


class Capability:
    """A request for every event; its result to Redis, then to the topic; only then is the event done."""

    def __init__(self, task: Task, worker: Worker, redis: Redis, publisher: Publisher) -> None:
        self._task = task
        self._worker = worker
        self._redis = redis
        self._publisher = publisher
        self._ids = itertools.count()
        self._asked: dict[int, _Asked] = {}
        self._replies: list[Reply] = []
        self._held = 0  # events that are not done; the bound of all that waits here and in the publisher
        self._wake = asyncio.Event()
        self._room = asyncio.Event()

    async def handle(self, taken: Sequence[Chunk]) -> None:
        """Ask for a result per event; returns when there is room for more."""
        for partition, records, window in taken:
            self._held += len(records)
            for record in records:
                click = decode_click(record.value)
                state = Raw(_pack(click.data.items[0].item_id))
                self._ask(_Asked(click.id, click.data.user_id, state, partition, record.offset, window))
        while self._held >= MAX_HELD:
            self._room.clear()
            await self._room.wait()

    def _ask(self, asked: _Asked) -> None:
        request_id = next(self._ids)
        self._asked[request_id] = asked
        self._worker.submit(request_id, (0, asked.state), BUDGET_MS)

    def on_replies(self, replies: Sequence[Reply]) -> None:
        self._replies.extend(replies)
        self._wake.set()

    async def run(self) -> None:
        """Store and send what is answered, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            replies, self._replies = self._replies, []
            await self._finish(replies)

    async def _finish(self, replies: Sequence[Reply]) -> None:
        results: list[tuple[_Asked, bytes]] = []
        for reply in replies:
            asked = self._asked.pop(reply.id)
            match reply:
                case RecommendResult():
                    answer = reply.items.replace(b"\n", b",")
                    results.append((asked, result_of(asked.event, asked.user, answer)))
                case Shed():
                    self._ask(asked)
                case Failure():
                    raise RuntimeError(f"the model refused an event: {reply.error}")
                case _:
                    raise TypeError(f"the model answers something else: {type(reply).__name__}")
        run, topic, send = self._task.run, self._task.sink, self._publisher.send
        await send_all(self._redis, [("SET", result_key(run, asked.user), result) for asked, result in results])
        for asked, result in results:
            await send(topic, asked.user.encode(), result, NO_HEADERS, partial(self._delivered, asked))

    def _delivered(self, asked: _Asked, refused: MessageSizeTooLargeError | None) -> None:
        if refused is not None:
            raise refused
        asked.window.done(asked.partition, asked.offset)
        self._held -= 1
        self._room.set()
