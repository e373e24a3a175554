"""A worker process that serves a text generator, asked as the reply agent asks it."""

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from agents.asking import Model, ModelFailedError
from agents.worker_client import WorkerClient
from model_core.replier.loading import load
from model_core.replier.serial import generate_one
from schemas.inference import GenerateRequest, GenerateResult, Reply
from tests.replier import tiny

BOUND_S = 60.0
MESSAGES = (("system", "Answer."), ("user", "Where is my order?"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny.save("llama", tmp_path / "llama")


@pytest.fixture
def endpoint(tmp_path: Path, folder: Path) -> Iterator[str]:
    place = f"ipc://{tmp_path}/w"
    worker = subprocess.Popen([
        sys.executable, "-m", "model_core", "--models", "replier", "--replier", str(folder), "--precision", "float32",
        "--listen", place, "--threads", "1",
    ])
    try:
        yield place
    finally:
        worker.terminate()
        assert worker.wait(BOUND_S) == 0


async def test_texts_come_over_the_wire_as_the_slow_twin_writes_them(endpoint: str, folder: Path) -> None:
    clients: list[WorkerClient] = []

    def connect(on_replies: Callable[[Sequence[Reply], str], None]) -> WorkerClient:
        clients.append(WorkerClient([endpoint], "replier", GenerateRequest, on_replies=on_replies))
        return clients[0]

    model, loaded = Model(connect), load(folder, "cpu", precision="float32")
    await clients[0].start()
    try:
        async with asyncio.timeout(BOUND_S):
            answers = await asyncio.gather(*(model.ask((MESSAGES, tokens), BOUND_S) for tokens in (3, 7, 12)))
            with pytest.raises(ModelFailedError, match="InvalidInput"):
                await model.ask(((("user", "word " * 9000),), 5), BOUND_S)
    finally:
        await clients[0].stop()
    for tokens, (result, version) in zip((3, 7, 12), answers, strict=True):
        expected = generate_one(loaded, GenerateRequest(1, 0, MESSAGES, tokens))
        assert isinstance(result, GenerateResult)
        assert (result.text, result.tokens, version) == (expected.text, expected.tokens, loaded.version)
