"""A question is answered, asked again when it was shed, or given up; nothing of it stays behind."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from agents.asking import Model, ModelFailedError
from schemas.inference import EncodeResult, Failure, Reply, Shed

BUDGET_S = 2.0


class Scripted:
    """Answers each request by the next of its replies; then falls silent."""

    def __init__(
        self, on_replies: Callable[[Sequence[Reply], str], None], script: list[Callable[[int], Reply]]
    ) -> None:
        self._on_replies, self._script = on_replies, script
        self.asked: list[int] = []
        self.cancelled: list[int] = []
        self.silent = asyncio.Event()
        self.pauses: list[float] = []  # between tries

    def submit(self, request_id: int, body: tuple[Any, ...], budget_ms: int) -> None:
        self.asked.append(request_id)
        if self._script:
            reply = self._script.pop(0)(request_id)
            asyncio.get_running_loop().call_soon(self._on_replies, [reply], "v1")
        else:
            self.silent.set()

    def cancel(self, ids: Sequence[int]) -> None:
        self.cancelled += ids


def model(*script: Callable[[int], Reply]) -> tuple[Model, Scripted]:
    clients: list[Scripted] = []

    def connect(on_replies: Callable[[Sequence[Reply], str], None]) -> Scripted:
        clients.append(Scripted(on_replies, list(script)))
        return clients[0]

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    pauses: list[float] = []
    asked = Model(connect, chance=lambda: 1.0, pause=pause)
    clients[0].pauses = pauses
    return asked, clients[0]


def encoded(request_id: int) -> EncodeResult:
    return EncodeResult(request_id, b"", (("order_status", 0.9),))


async def test_what_was_shed_is_asked_again_until_it_is_answered() -> None:
    asked, client = model(Shed, Shed, encoded)
    result, version = await asked.ask(("text",), BUDGET_S)
    assert (result, version) == (encoded(3), "v1")
    assert client.asked == [1, 2, 3]
    assert client.cancelled == []
    assert client.pauses == [0.05, 0.1]  # or a worker with too much to do would be asked in each turn of the loop


async def test_what_the_model_cannot_answer_is_an_error() -> None:
    asked, _ = model(lambda request_id: Failure(request_id, "InvalidInput: empty"))
    with pytest.raises(ModelFailedError, match="InvalidInput: empty"):
        await asked.ask(("",), BUDGET_S)


async def test_who_gives_up_leaves_nothing_with_the_worker() -> None:
    asked, client = model()
    question = asyncio.create_task(asked.ask(("text",), BUDGET_S))
    await client.silent.wait()
    question.cancel()
    await asyncio.wait([question])
    assert client.cancelled == client.asked == [1]
    client._on_replies([encoded(1)], "v1")  # too late: of no one's interest any more
