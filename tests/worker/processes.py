"""Real worker processes with the stub model, and an agent's end of the socket to them."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from agents.worker_client import WorkerClient
from schemas.inference import ModelInfo, RecommendResult, Reply, UserState

BOUND_S = 30
PLENTY_MS = 60_000


def state(*members: str) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(UserState(members, (), b"", ())))


class Processes:
    """Starts workers and leaves none behind."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[bytes]] = []

    def endpoint(self, name: str = "w") -> str:
        return f"ipc://{self.directory}/{name}"

    def start(self, *options: str, name: str = "w") -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "model_core", "--models", "stub", "--listen", self.endpoint(name)]
        process = subprocess.Popen([*command, "--control", self.endpoint(f"{name}-control"), *options])
        self.started.append(process)
        return process


class Agent:
    """A `WorkerClient` that keeps what it is told."""

    def __init__(self, endpoints: Sequence[str]) -> None:
        self.replies: dict[int, Reply] = {}
        self.sizes: list[int] = []
        self.models: list[ModelInfo] = []
        self.versions: list[str] = []  # of each message of results
        self.changed = asyncio.Condition()
        self.client = WorkerClient(
            endpoints, "stub", on_replies=self.on_replies, on_model=self.models.append, heartbeat_s=0.05
        )

    def on_replies(self, replies: Sequence[Reply], version: str) -> None:
        self.sizes.append(len(replies))
        if any(isinstance(reply, RecommendResult) for reply in replies):
            self.versions.append(version)
        for reply in replies:
            assert reply.id not in self.replies, "answered twice"
            self.replies[reply.id] = reply

    def submit(self, ids: range, *members: str, budget_ms: int = PLENTY_MS) -> None:
        for request_id in ids:
            self.client.submit(request_id, (0, state(*members)), budget_ms)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(BOUND_S):
            while not condition():
                await asyncio.sleep(0.002)

    async def answered(self, count: int) -> None:
        await self.until(lambda: len(self.replies) >= count)


@asynccontextmanager
async def connected(*endpoints: str) -> AsyncIterator[Agent]:
    agent = Agent(endpoints)
    await agent.client.start()
    try:
        yield agent
    finally:
        await agent.client.stop()
