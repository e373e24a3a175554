"""Runs one peer over one model: drains a backlog, or sends events at a steady rate; watches, checks and cleans up."""

import asyncio
import contextlib
import secrets
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from msgspec import Struct
from redis.asyncio import Redis

from benchmarks.agent_cpu import settle
from benchmarks.clicks import Clicks, fill
from benchmarks.peers import account
from benchmarks.peers.account import Counts, Latency, Output, Sample
from benchmarks.peers.packages import Peer
from benchmarks.peers.traffic import Monitor, Sender
from benchmarks.peers.work import MAX_BATCH, Task, decode_click, result_key
from footfall import topics
from footfall.errors import FootfallError
from footfall.stack import Stack
from footfall.stack.server import Server
from footfall.topic_reader import reading
from schemas.settings import Settings, ipc_endpoint
from schemas.topics import CLICKSTREAM, Topic

POLL_S = 0.05
QUIET_S = 5.0  # without a new result: nothing more comes
START_TIMEOUT_S = 60.0
COMMIT_TIMEOUT_S = 10.0  # Faust commits every 2.8 s
USERS = 3_000  # who caused the events, in random order
WARM_S = 3.0  # of a steady rate, not counted
PRIMER_EVENTS, PRIMER_S = 10, 0.1  # until the first result of a run at a steady rate
CANDIDATES = 2  # that the worker's stub answers with: about what `work.Model` does


class RunError(FootfallError):
    """A peer did not do its work."""


class Sink(Topic, frozen=True, kw_only=True):
    """An output topic whose records carry the time at which the broker appended them."""

    def config(self) -> dict[str, str]:
        return {**super().config(), "message.timestamp.type": "LogAppendTime"}


class Run(Struct, frozen=True, kw_only=True):
    """One measurement. `cpu_us`: of each process, per event. `stale_users`: whose stored result is not their newest.

    `committed_share` is None for who does not commit to Kafka. Latencies are there where events came at a steady rate:
    until the output record, until Redis, until both; `sender_late_ms`: how late events were sent themselves.
    """

    rate_eps: float
    cpu_us: dict[str, float]
    counts: Counts
    stale_users: int
    committed_share: float | None
    record_ms: Latency | None = None
    redis_ms: Latency | None = None
    both_ms: Latency | None = None
    sender_late_ms: Latency | None = None


class Bench:
    """Runs on one stack. `apart`: the Python that has the peers' own packages."""

    def __init__(self, stack: Stack, apart: Path, folder: Path) -> None:
        self._stack = stack
        self._apart = apart
        self._folder = folder
        self._backlogs: dict[int, tuple[Settings, list[tuple[str, str]]]] = {}  # by size: where, and (event, user)

    def drain(self, peer: Peer, service_ms: float, events: int) -> Run:
        """Have a peer drain a backlog of clicks, the same for all."""
        settings, sent = self._backlog(events)
        with self._task(settings, service_ms) as task:
            settle()
            return asyncio.run(self._drained(peer, task, settings, sent))

    def steady(self, peer: Peer, service_ms: float, rate_eps: float, seconds: float) -> Run:
        """Send a peer events at a rate that does not depend on it, after `WARM_S` that do not count."""
        settings = self._settings()
        clicks = Clicks(settings.prefix, int((WARM_S + seconds) * rate_eps), USERS)
        asyncio.run(topics.create(settings, [CLICKSTREAM]))
        try:
            with self._task(settings, service_ms) as task:
                settle()
                return asyncio.run(self._paced(peer, task, settings, clicks, rate_eps))
        finally:
            asyncio.run(topics.delete(settings, [CLICKSTREAM]))

    def close(self) -> None:
        """Delete the backlogs."""
        for settings, _ in self._backlogs.values():
            asyncio.run(topics.delete(settings, [CLICKSTREAM]))

    # -- what a run needs

    def _settings(self) -> Settings:
        return msgspec.structs.replace(self._stack.settings, prefix=f"p{secrets.token_hex(4)}")

    def _backlog(self, events: int) -> tuple[Settings, list[tuple[str, str]]]:
        if events not in self._backlogs:
            settings = self._settings()
            asyncio.run(topics.create(settings, [CLICKSTREAM]))
            asyncio.run(fill(settings, Clicks(settings.prefix, events, USERS)))
            sent = [(decode_click(value).id, user) for user, value in Clicks(settings.prefix, events, USERS).records()]
            self._backlogs[events] = (settings, sent)
        return self._backlogs[events]

    @contextlib.contextmanager
    def _task(self, settings: Settings, service_ms: float) -> Iterator[Task]:
        """A task with an output topic of its own, which is deleted afterwards."""
        run = f"r{secrets.token_hex(4)}"
        sink = Sink(name=f"results-{run}", key="user", direction="out")
        asyncio.run(topics.create(settings, [sink]))
        try:
            yield Task(
                bootstrap_servers=settings.bootstrap_servers, redis_url=settings.redis_url, prefix=settings.prefix,
                source=CLICKSTREAM.full_name(settings.prefix), sink=sink.full_name(settings.prefix), run=run,
                service_ms=service_ms,
            )
        finally:
            asyncio.run(topics.delete(settings, [sink]))

    @contextlib.contextmanager
    def _running(self, peer: Peer, task: Task, settings: Settings) -> Iterator[Mapping[str, Server]]:
        """The peer at work: one process, and for Footfall its worker."""
        environment = {**self._stack.environment(), "FOOTFALL_PREFIX": settings.prefix}
        servers: dict[str, Server] = {}
        try:
            if peer.name == "footfall":
                environment["FOOTFALL_WORKERS"] = endpoint = ipc_endpoint("worker")
                socket = Path(endpoint.removeprefix("ipc://"))
                servers["worker"] = Server("worker", [
                    sys.executable, "-m", "model_core", "--models", "stub", "--stub-ms", str(task.service_ms),
                    "--stub-candidates", str(CANDIDATES), "--max-batch", str(MAX_BATCH), "--listen", endpoint,
                ], self._folder / f"{task.run}-worker.log", socket.exists)
                servers["worker"].start(START_TIMEOUT_S)
            python = str(self._apart) if peer.apart else sys.executable
            servers["agent"] = Server(peer.name, [
                python, "-m", "benchmarks.peers.process", peer.name, msgspec.json.encode(task).decode(),
            ], self._folder / f"{task.run}.log", lambda: True)
            servers["agent"].start(START_TIMEOUT_S, environment)
            yield servers
        finally:
            for server in reversed(servers.values()):
                server.stop()

    # -- a run

    @contextlib.asynccontextmanager
    async def _watched(self, peer: Peer, task: Task, settings: Settings) -> AsyncIterator["_Watch"]:
        """The peer at work, looked at from its start."""
        async with _Watch(task, settings) as watch:
            with self._running(peer, task, settings) as watch.servers:
                yield watch

    async def _drained(self, peer: Peer, task: Task, settings: Settings, sent: list[tuple[str, str]]) -> Run:
        async with self._watched(peer, task, settings) as watch:
            await watch.first_result()
            await watch.results(len(sent))
            return await self._checked(peer, task, settings, watch, sent)

    async def _paced(self, peer: Peer, task: Task, settings: Settings, clicks: Clicks, rate_eps: float) -> Run:
        monitor, sender = Monitor(), Sender(settings.bootstrap_servers, task.source)
        events = [(decode_click(value).id, user, value) for user, value in clicks.records()]
        primer = [
            (decode_click(value).id, user, value) for user, value in Clicks(f"{task.run}-primer", 10_000, 100).records()
        ]
        primed: list[tuple[str, str]] = []
        async with self._watched(peer, task, settings) as watch:
            waiting = asyncio.create_task(watch.first_result())
            while not waiting.done():
                for event, user, value in primer[len(primed) : len(primed) + PRIMER_EVENTS]:
                    sender.send(user, value)
                    primed.append((event, user))
                await asyncio.wait([waiting], timeout=PRIMER_S)
            await waiting
            sent = [*primed, *((event, user) for event, user, _ in events)]
            with monitor.watching(settings.redis_url):
                watching = asyncio.create_task(watch.results(len(sent)))
                await sender.pace(events, rate_eps)
                sender.flush()
                await watching
            run = await self._checked(peer, task, settings, watch, sent)
            start_ms = min(sender.due_ms.values()) + 1000 * WARM_S
            due = {event: at_ms for event, at_ms in sender.due_ms.items() if at_ms >= start_ms}
            records, sets = account.first_arrivals(watch.outputs), monitor.sets()
            return msgspec.structs.replace(
                run,
                record_ms=Latency.of(account.latencies_ms(due, records)),
                redis_ms=Latency.of(account.latencies_ms(due, sets)),
                both_ms=Latency.of(account.latencies_ms(due, records, sets)),
                sender_late_ms=Latency.of(sender.late_ms),
            )

    async def _checked(
        self, peer: Peer, task: Task, settings: Settings, watch: "_Watch", sent: Sequence[tuple[str, str]]
    ) -> Run:
        """Hold what came out against what went in, while the peer still runs and may commit."""
        committed = await watch.committed(len(sent)) if peer.commits else None
        outputs = await watch.read()
        users = list({user for _, user in sent})
        keys = [result_key(task.run, user) for user in users]
        async with Redis.from_url(settings.redis_url) as redis:
            values: list[Any] = await redis.mget(keys)
            await redis.unlink(*keys)
        stored = {user: account.event_of(value) for user, value in zip(users, values, strict=True) if value}
        return Run(
            rate_eps=account.rate(outputs), cpu_us=account.cpu_us(watch.samples),
            counts=account.counts((event for event, _ in sent), outputs), stale_users=account.stale(sent, stored),
            committed_share=committed,
        )


class _Watch:
    """Looks at the output topic and at the CPU clocks of the processes, some times a second."""

    def __init__(self, task: Task, settings: Settings) -> None:
        self._task = task
        self._client = topics.client_options(settings)
        self._partitions = [TopicPartition(task.sink, number) for number in range(CLICKSTREAM.partitions)]
        self._consumer = AIOKafkaConsumer(**self._client, enable_auto_commit=False)
        self.servers: Mapping[str, Server] = {}
        self.samples: list[Sample] = []
        self.outputs: list[Output] = []

    async def __aenter__(self) -> Self:
        await self._consumer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._consumer.stop()

    async def _samples(self) -> AsyncIterator[Sample]:
        while True:
            for server in self.servers.values():
                if server.exit_code() is not None:
                    raise RunError(f"{server.name} ended in the middle of a run; the end of its log:\n{server.tail()}")
            with contextlib.suppress(KafkaError):  # of a topic this young
                ends = await self._consumer.end_offsets(self._partitions)
                used_s = {name: cpu_clock_s(server.pid) for name, server in self.servers.items()}
                self.samples.append(Sample(sum(ends.values()), used_s))
                yield self.samples[-1]
            await asyncio.sleep(POLL_S)

    async def first_result(self) -> None:
        """Return when there is one."""
        deadline = time.monotonic() + START_TIMEOUT_S
        async for sample in self._samples():
            if sample.outputs:
                return
            if time.monotonic() > deadline:
                raise RunError(f"no result within {START_TIMEOUT_S:g} s; the end of the log:\n{self._tail()}")

    async def results(self, expected: int) -> None:
        """Return when there are so many, or when no more come."""
        seen, quiet_since_s = -1, 0.0
        async for sample in self._samples():
            if sample.outputs >= expected:
                return
            if sample.outputs != seen:
                seen, quiet_since_s = sample.outputs, time.monotonic()
            elif time.monotonic() - quiet_since_s > QUIET_S:
                return  # the local broker says too low an end: the account tells whether anything is lost

    async def committed(self, expected: int) -> float:
        """What share of the input the group has committed, as soon as that is all, or after a while."""
        deadline = time.monotonic() + COMMIT_TIMEOUT_S
        consumer = AIOKafkaConsumer(**self._client, group_id=self._task.group, enable_auto_commit=False)
        async with consumer:
            partitions = [TopicPartition(self._task.source, number) for number in range(CLICKSTREAM.partitions)]
            consumer.assign(partitions)  # by hand: it asks about the group, and does not join it
            while True:
                done = sum([await consumer.committed(partition) or 0 for partition in partitions])
                if done >= expected or time.monotonic() > deadline:
                    return done / expected
                await asyncio.sleep(POLL_S)

    async def read(self) -> list[Output]:
        """All output records."""
        async with reading(self._client) as reader:
            self.outputs = [
                Output(account.event_of(record.value), record.timestamp)
                async for record in reader.records(dict.fromkeys(self._partitions, 0))
            ]
        return self.outputs

    def _tail(self) -> str:
        return "\n".join(server.tail() for server in self.servers.values())


def cpu_clock_s(pid: int) -> float:
    """CPU seconds of all threads of a process, those that ended included, to the nanosecond. Linux only.

    `clock_getcpuclockid(3)`, which Python does not have, computes this number.
    """
    return time.clock_gettime((~pid << 3) | 2)
