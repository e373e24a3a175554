"""The processes of the demo: workers and agents, supervised, and when they are ready by their protocols.

Knows how to start them and how to ask them. What they work on is the business of `demo`.
"""

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from footfall.demo.support import SupportService
from footfall.errors import FootfallError
from footfall.replay.clicks import CURRENCY, SIMULATOR
from footfall.replay.kafka import encode, stored_result
from footfall.supervisor import Process, ProcessEvent, Supervisor
from model_core.control import WorkerUnreachable, query_stats
from schemas import keys
from schemas.control import WorkerStats
from schemas.events import VISITOR_PREFIX, ClickData, ViewItemList
from schemas.settings import Settings, ipc_endpoint
from schemas.topics import CATALOG, CLICKSTREAM, INVENTORY

if TYPE_CHECKING:
    from redis.asyncio import Redis

READY_TIMEOUT_S = 120.0
POLL_S = 0.1
GIVE_UP_AFTER_EXITS = 3


class ServiceError(FootfallError):
    """A process of the demo does not become ready; the message holds the end of its log."""


class Services:
    """Workers and agents of one run. `settings.workers` empty: two workers are started here, else those are used."""

    def __init__(self, settings: Settings, environment: Mapping[str, str], checkpoint: Path, logs: Path) -> None:
        self.settings = settings
        self.restarts = 0
        self._control = "" if settings.workers else ipc_endpoint("control")
        self._exits: dict[str, ProcessEvent] = {}
        self.support = SupportService(settings, logs)
        listen = ipc_endpoint("worker")
        workers = settings.workers or (listen, self.support.endpoint)
        threads = max(1, (os.cpu_count() or 2) // 2)  # the other half is for broker, agents and replay
        worker = Process(name="worker", log_path=logs / "worker.log", argv=(
            sys.executable, "-m", "model_core", "--models", "recommender", "--checkpoint", str(checkpoint),
            "--listen", listen, "--control", self._control, "--device", settings.device, "--threads", str(threads),
        ))
        environment = {**environment, "FOOTFALL_WORKERS": ",".join(workers)}
        if "FOOTFALL_CURRENCY" not in os.environ:
            environment["FOOTFALL_CURRENCY"] = CURRENCY
        agents = [
            Process(name=name, log_path=logs / f"{name}.log", environment=environment,
                    argv=(sys.executable, "-m", "agents", name), alive_within_s=settings.alive_within_s)
            for name in ("facts", "recommend", "reply")
        ]
        own = [worker, self.support.process] if self.support.process else []
        self.supervisor = Supervisor([*own, *agents], on_event=self._happened)

    async def worker_ready(self) -> None:
        """Return when the worker has its models warm. Raises ServiceError with the end of its log."""
        if self._control:
            await self._until("worker", self._has_models)

    async def recommend_ready(self, client: Mapping[str, Any], redis: "Redis") -> None:
        """Return when a probe, one visitor's arrival, was answered by the model. Raises ServiceError.

        The probe is sent before the ledger is opened, and its visitor is forgotten.
        """
        visitor = f"probe-{uuid.uuid4().hex}"
        user = f"{VISITOR_PREFIX}{visitor}"
        probe = ViewItemList(specversion="1.0", id=visitor, source=SIMULATOR, time=datetime.now(UTC),
                             data=ClickData(visitor_id=visitor))
        producer = AIOKafkaProducer(**client, acks="all")
        await producer.start()
        try:
            await producer.send_and_wait(
                CLICKSTREAM.full_name(self.settings.prefix), encode(probe), user.encode()
            )
        finally:
            await producer.stop()

        async def answered() -> bool:
            result = await stored_result(redis, user)
            return result is not None and result.origin == "model"

        await self._until("recommend", answered)
        leftovers = [key async for key in redis.scan_iter(match=f"{keys.user(user)}*", count=1000)]
        if leftovers:
            await redis.delete(*leftovers)

    async def facts_ready(
        self, client: Mapping[str, Any], begin: int, records: int, progress: Callable[[int, int], None]
    ) -> None:
        """Return when `facts` has acknowledged all its topics held at first (`begin`), and `records` more.

        Raises ServiceError.
        """
        admin = AIOKafkaAdminClient(**client)
        await admin.start()
        try:
            group = f"{self.settings.prefix}.facts"
            partitions = [
                TopicPartition(topic.full_name(self.settings.prefix), number)
                for topic in (CATALOG, INVENTORY) for number in range(topic.partitions)
            ]

            async def acknowledged() -> bool:
                try:
                    offsets = await admin.list_consumer_group_offsets(group, partitions=partitions)
                except KafkaError:  # no group yet
                    return False
                done = int(sum(max(0, meta.offset) for meta in offsets.values())) - begin
                if done > 0:
                    progress(min(done, records), records)
                return done >= records

            await self._until("facts", acknowledged)
        finally:
            await admin.close()

    def support_watched(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Find out, while the block runs, whether anybody answers support messages: see `support`."""
        return self.support.watched(lambda: self.supervisor.states["support"])

    async def worker_stats(self) -> WorkerStats | None:
        """What the worker says of itself; None while it is away, or when it is not ours."""
        if not self._control:
            return None
        try:
            return await asyncio.to_thread(query_stats, self._control, 1.0)
        except WorkerUnreachable:
            return None

    async def _has_models(self) -> bool:
        stats = await self.worker_stats()
        return stats is not None and bool(stats.models)

    async def _until(self, name: str, ready: Callable[[], Any]) -> None:
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not await ready():
            state = self.supervisor.states.get(name)
            gave_up = state is not None and (state.given_up or state.restarts >= GIVE_UP_AFTER_EXITS)
            if gave_up or time.monotonic() > deadline:
                late = f"was not ready within {READY_TIMEOUT_S:g} s"
                why = f"ended {state.restarts + state.given_up} times" if gave_up and state else late
                tail = state.log_tail if state and state.log_tail else "(its log is empty)"
                raise ServiceError(
                    f"{name} {why}; the end of its log:\n{tail}\nRun `footfall doctor` to see what is wrong with the "
                    "machine or the settings"
                )
            await asyncio.sleep(POLL_S)

    def _happened(self, event: ProcessEvent) -> None:
        self.restarts += event.kind == "exited"


__all__: Sequence[str] = ("ServiceError", "Services")
