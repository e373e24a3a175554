"""Who answers the demo's support messages: a worker of its own, or one of those that the settings name.

Its own one is a second process in the background, so that replies never slow recommendations down. Knows how to find
out whether anybody will answer; whether somebody does, the ledger knows.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Literal

from agents.worker_client import WorkerClient
from footfall.demo import background
from footfall.replay.support import Answers
from footfall.supervisor import Process, ProcessState
from model_core.control import WorkerUnreachable, query_stats
from schemas.settings import Settings, ipc_endpoint

LOOK_S = 0.5
FIND_S = 20.0  # for workers that the settings name: they are there, or start at about the same time

State = Literal["starting", "ready", "failed", "absent"]


class SupportService:
    """`process` and `endpoint`: of its own worker, None and empty where the settings name workers."""

    def __init__(self, settings: Settings, logs: Path) -> None:
        self._workers = settings.workers
        self.models = ("encoder", "replier") if settings.reply_engine == "worker" else ("encoder",)
        self.state: State = "starting"
        self.process: Process | None = None
        self.endpoint = ""
        self._last_words = ""
        if settings.workers:
            return
        self.endpoint, self._control = ipc_endpoint("support"), ipc_endpoint("support-control")
        self.process = Process(name="support", log_path=logs / "support.log", argv=background.command((
            sys.executable, "-m", "model_core", "--models", ",".join(self.models), "--listen", self.endpoint,
            "--control", self._control, "--device", settings.device, "--threads", "1", "--cache", str(settings.home),
        )))

    @property
    def answers(self) -> Answers:
        """Whether anybody answers messages, as far as is known."""
        return "now" if self.state == "ready" else "later" if self.state == "starting" else "never"

    @property
    def note(self) -> str:
        """What there is to say to people."""
        names = " and ".join(self.models)
        if self.state == "absent":
            return (
                f"no worker of FOOTFALL_WORKERS serves {names}, so no support messages are sent: add one that runs "
                f"`footfall worker --models {','.join(self.models)}`, or unset FOOTFALL_WORKERS"
            )
        if self.state == "failed":
            return (
                f"the worker for {names} does not start, so no support messages are sent; `footfall doctor` says more. "
                f"The end of its log: {self._last_words}"
            )
        return "" if self.state == "ready" else f"{names} still to be loaded"

    @contextlib.asynccontextmanager
    async def watched(self, process: Callable[[], ProcessState]) -> AsyncIterator[None]:
        """Find out about it while the block runs. `process`: how its own worker is."""
        watching = asyncio.create_task(self._find() if self._workers else self._watch(process))
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    async def _watch(self, process: Callable[[], ProcessState]) -> None:
        while self.state != "ready":
            try:
                stats = await asyncio.to_thread(query_stats, self._control, 1.0)
            except WorkerUnreachable:
                stats = None
            state = process()
            if stats is not None and stats.models:
                self.state = "ready"
            elif state.restarts or state.given_up:
                self.state, self._last_words = "failed", state.log_tail.rsplit("\n", 1)[-1]
            await asyncio.sleep(LOOK_S)

    async def _find(self) -> None:
        clients = [WorkerClient(self._workers, model, on_replies=lambda *_: None) for model in self.models]
        try:
            for client in clients:
                await client.start()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FIND_S):
                    while not all(client.available for client in clients):  # noqa: ASYNC110 - others tell
                        await asyncio.sleep(LOOK_S)
            self.state = "ready" if all(client.available for client in clients) else "absent"
        finally:
            for client in clients:
                await client.stop()
