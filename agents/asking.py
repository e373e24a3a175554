"""Questions to a model that are awaited one by one. Owns no policy: who asks decides for how long, and what then.

Where the recommendations' path handles replies by the batch, a support message is a conversation with several models,
seconds long: there a future for each costs nothing that counts.
"""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Protocol

from agents.backoff import wait_s
from agents.worker_client import WorkerClient
from schemas.inference import Failure, Reply, Request, Result, Shed

RETRY_S = (0.05, 0.1, 0.3, 1.0)  # a worker that has too much to do would be asked in each turn of the loop


class ModelFailedError(RuntimeError):
    """The model cannot answer this, now or ever; the message says why, without personal data."""


class Client(Protocol):
    """The part of `agents.worker_client.WorkerClient` that is used."""

    def submit(self, request_id: int, body: tuple[Any, ...], budget_ms: int) -> None: ...
    def cancel(self, ids: Sequence[int]) -> None: ...


class Model:
    """One model behind a client, whose `on_replies` this is to be."""

    def __init__(
        self,
        connect: Callable[[Callable[[Sequence[Reply], str], None]], Client],
        *,
        chance: Callable[[], float] = random.random,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`connect`: makes the client, given where its replies go."""
        self._client = connect(self._on_replies)
        self._chance = chance
        self._pause = pause
        self._ids = itertools.count(1)
        self._asked: dict[int, asyncio.Future[tuple[Reply, str]]] = {}  # bounded by who asks: one per message in hand

    async def ask(self, body: tuple[Any, ...], budget_s: float) -> tuple[Result, str]:
        """The model's answer and its version, however long no worker is there: cancel it, or give it a time-out.

        `budget_s`: of one try. A worker that cannot keep to it says so at once, and is asked again in a moment.
        Raises `ModelFailedError` where there can be no answer.
        """
        attempt = 0
        while True:
            request_id = next(self._ids)
            future = self._asked[request_id] = asyncio.get_running_loop().create_future()
            self._client.submit(request_id, body, int(budget_s * 1000))
            try:
                reply, version = await future
            finally:
                if self._asked.pop(request_id, None) is not None:
                    self._client.cancel([request_id])
            if isinstance(reply, Failure):
                raise ModelFailedError(reply.error)
            if not isinstance(reply, Shed):
                return reply, version
            await self._pause(wait_s(RETRY_S, attempt, self._chance()))
            attempt += 1

    def _on_replies(self, replies: Sequence[Reply], version: str) -> None:
        for reply in replies:
            future = self._asked.pop(reply.id, None)
            if future is not None and not future.done():
                future.set_result((reply, version))


@asynccontextmanager
async def connected(workers: Sequence[str], name: str, request: Callable[..., Request]) -> AsyncIterator[Model]:
    """The model of this name, on whichever worker serves it. `request`: makes one, as `WorkerClient` takes it."""
    clients: list[WorkerClient] = []

    def connect(on_replies: Callable[[Sequence[Reply], str], None]) -> WorkerClient:
        clients.append(WorkerClient(workers, name, request, on_replies=on_replies))
        return clients[0]

    model = Model(connect)
    try:
        await clients[0].start()
        yield model
    finally:
        await clients[0].stop()
