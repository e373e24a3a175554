"""What is measured: a real worker and real agents on a prefix of their own, who sends to them, and what they answer.

Nothing but the worker runs on the device's cores: its device thread, confined to them, and its other threads, which
may be there too, as the bare model's collating and wording is. Processes are started and stopped by name; one
that ends on its own ends the measurement.
"""

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import msgspec

from agents.state.connection import connect
from benchmarks.faults.sender import Sender
from benchmarks.faults.traffic import Input
from benchmarks.streaming.cpu import Cpu
from footfall import topics
from footfall.ledger import Ledger
from footfall.ledger_reader import LedgerReader
from footfall.stack import Stack
from footfall.stack.server import Server
from model_core import cores
from model_core.control import WorkerUnreachable, query_stats
from schemas.control import WorkerStats
from schemas.settings import ipc_endpoint

START_S = 120.0  # for anything here to come up, on a busy machine
ANSWER_S = 60.0  # for everything that was sent to be answered, once nothing more is
LOOK_S = 0.05
READ_WAIT_MS = 200  # the ledger may lag: latency comes from time stamps. Fewer fetches leave others more of a core
STATS_S = 10.0


class Rig:
    """`async with Rig(…) as rig:`. `device_cores`: of the worker's device thread."""

    def __init__(
        self, stack: Stack, folder: Path, *, checkpoint: Path, device: str, device_cores: frozenset[int], agents: int
    ) -> None:
        self.settings = msgspec.structs.replace(
            stack.settings, prefix=f"b{secrets.token_hex(4)}", workers=(ipc_endpoint("worker"),)
        )
        self.device_cores = device_cores
        self._stack = stack
        self._folder = folder
        self._device = device
        self._checkpoint = checkpoint
        self._agents = agents
        self._control = ipc_endpoint("control")
        self._running: dict[str, Server] = {}
        self._cleanup = AsyncExitStack()
        client = topics.client_options(self.settings)
        self.reader = LedgerReader(client, self.settings.prefix, fetch_wait_ms=READ_WAIT_MS, fetch_min_bytes=1 << 20)
        self._client = client

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as cleanup:
            await self._keep_log()
            await topics.create(self.settings)
            cleanup.push_async_callback(topics.delete, self.settings)
            await self.reader.connect()
            cleanup.push_async_callback(self.reader.stop)
            await self.reader.start()
            self.sender = await cleanup.enter_async_context(Sender(
                self._client, self.settings, self.ledger, idempotent=self._stack.broker.kind != "tansu"
            ))
            cleanup.push_async_callback(self.stop, *self._names())
            self._cleanup = cleanup.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._cleanup.aclose()

    @property
    def ledger(self) -> Ledger:
        return self.reader.ledger

    async def start_worker(self, stub_ms: float | None = None) -> None:
        """Start a worker; it is ready when this returns. `stub_ms`: a stand-in model, which takes so long a batch."""
        model = ["recommender"]
        if stub_ms is not None:
            model = ["stub", "--stub-name", "recommender", "--stub-ms", str(stub_ms)]
        await self._start("worker", (
            "model_core", "--models", *model, "--checkpoint", str(self._checkpoint), "--device", self._device,
            "--listen", self.settings.workers[0], "--control", self._control,
            "--device-cpu", ",".join(map(str, sorted(self.device_cores))),
        ), self._has_models, more_cores=self.device_cores)

    async def start_agents(self, budget_s: float) -> None:
        """Start the agents. `budget_s`: how long an event may wait for the model."""
        for name in self._agent_names():
            await self._start(name, ("agents", "recommend"), lambda: True, {
                **self._stack.environment(), "FOOTFALL_PREFIX": self.settings.prefix,
                "FOOTFALL_WORKERS": self.settings.workers[0], "FOOTFALL_BUDGET_S": str(budget_s),
            })

    async def stop_agents(self) -> None:
        await self.stop(*self._agent_names())

    async def stop(self, *names: str) -> None:
        """Stop processes, as far as they run."""
        for name in names:
            if server := self._running.pop(name, None):
                await asyncio.to_thread(server.stop)

    async def stats(self) -> WorkerStats:
        """What the worker has done so far."""
        return await asyncio.to_thread(query_stats, self._control, STATS_S)

    async def answering(self, probe: Iterator[Input]) -> None:
        """Return when the agents are connected to the worker and answer."""
        deadline_s = time.monotonic() + START_S
        while (await self.stats()).clients < self._agents:
            self._check(deadline_s, "the agents did not connect to the worker")
            await asyncio.sleep(LOOK_S)
        await self.sender.send([next(probe)])
        await self.sender.flush()
        await self.answered(START_S)

    async def answered(self, timeout_s: float = ANSWER_S) -> None:
        """Return when everything that was sent is answered."""
        await self.until(lambda: not self.ledger.waiting, timeout_s, "not everything was answered")

    async def until(self, condition: Callable[[], bool], timeout_s: float, complaint: str) -> None:
        """Raises RuntimeError when it is not so in time, or a process has ended."""
        deadline_s = time.monotonic() + timeout_s
        while not condition():
            self._check(deadline_s, complaint)
            await asyncio.sleep(LOOK_S)

    async def lost(self) -> int:
        """As docs/contract.md has it; to be asked once, at the end."""
        async with connect(self.settings.redis_url) as redis:
            await self.reader.check_stored(redis)
        return self.ledger.counts().lost

    def cpu(self) -> Cpu:
        """Start to count the CPU time of all processes, this one's as `benchmark`."""
        pids = {"benchmark": os.getpid(), **self._stack.pids}
        return Cpu(pids | {name: server.pid for name, server in self._running.items()}, self.device_cores)

    async def _keep_log(self) -> None:
        """Have our own cache not rewrite its log in the middle: that takes a core for a second or two."""
        if self._stack.cache.kind in self._stack.pids:
            async with connect(self.settings.redis_url) as redis:
                await redis.config_set("auto-aof-rewrite-percentage", 0)

    def _agent_names(self) -> list[str]:
        return [f"agent-{number}" for number in range(self._agents)]

    def _names(self) -> list[str]:
        return [*self._agent_names(), "worker"]

    async def _start(
        self, name: str, command: tuple[str, ...], probe: Callable[[], bool],
        environment: dict[str, str] | None = None, more_cores: frozenset[int] = frozenset(),
    ) -> None:
        server = Server(name, [sys.executable, "-m", *command], self._folder / f"{name}.log", probe)
        self._running[name] = server

        def start() -> None:
            with cores.on(cores.affinity() | more_cores):
                server.start(START_S, environment)

        await asyncio.to_thread(start)

    def _has_models(self) -> bool:
        try:
            return bool(query_stats(self._control, 1.0).models)
        except WorkerUnreachable:
            return False

    def _check(self, deadline_s: float, complaint: str) -> None:
        for server in self._running.values():
            if (code := server.exit_code()) is not None:
                raise RuntimeError(f"{server.name} ended with exit code {code}; the end of its log:\n{server.tail()}")
        if time.monotonic() > deadline_s:
            tails = "\n".join(f"{server.name}: {server.tail(5)}" for server in self._running.values())
            raise RuntimeError(f"{complaint}; the ends of the logs:\n{tails}")
