"""The demo from start to report: what is started, in which order, and what ends it. Holds no logic of its own parts."""

import asyncio
import contextlib
import math
import os
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from redis.asyncio import Redis
from rich.console import Console

from agents.state.backfill import Backfill
from agents.state.connection import connect
from footfall import topics
from footfall.demo.customers import Customers
from footfall.demo.display import Display
from footfall.demo.replies import Replies
from footfall.demo.report import Report, Wall, build_report, render_report, with_replies, write_report
from footfall.demo.sampler import Sampler
from footfall.demo.services import Services
from footfall.history import load_history
from footfall.ledger_reader import LedgerReader
from footfall.replay import material
from footfall.replay.baselines import DemoBaselines
from footfall.replay.command import WallClock, ended_by_signals
from footfall.replay.enquiries import Enquiries
from footfall.replay.kafka import KafkaTransport, RedisStorefront, total_records
from footfall.replay.runner import Pace, Progress, Replay
from footfall.replay.support import SupportMessages
from footfall.stack import Stack
from schemas.settings import Settings
from schemas.topics import CATALOG, INVENTORY, REPLIES, SOURCES, SUPPORT_MESSAGES

DEFAULT_EVENTS_PER_S = 200.0  # on average, twice that at the busiest hour; 20,000 events take 100 s
DRAIN_S = 30.0
REPLIES_S = 60.0  # for what is not answered when the events end; each takes a model on a CPU some seconds
COMMITS_S = 10.0  # for the last commit to arrive; the agents commit every second
FAILED, PASSED = 1, 0
_MESSAGES = (SUPPORT_MESSAGES,)
_NOT_MESSAGES = tuple(topic for topic in SOURCES if topic not in _MESSAGES)


@dataclass(frozen=True)
class _Loaded:
    """What is there before the first event: the material, and the past of so many users and purchases."""

    material: material.Material
    baselines: DemoBaselines
    enquiries: Enquiries
    users: int
    purchases: int


def run_demo(
    *, dataset: str, events: int | None, speed: float | None, seed: int, headless: bool, report: Path | None
) -> int:
    """Run the demo until `events` clicks and purchases were sent, the data ends, or Ctrl-C.

    Returns 0, or 1 when something was lost, duplicated, overtaken or dead-lettered. Raises FootfallError when something
    cannot be started.
    """
    started_s = time.monotonic()
    settings = Settings.from_environment()
    external = bool(settings.bootstrap_servers or settings.redis_url)
    if external and "FOOTFALL_PREFIX" not in os.environ:
        settings = msgspec.structs.replace(settings, prefix=f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}")
    display = Display(Console(highlight=False), live=not headless and sys.stdout.isatty(), started_s=started_s)
    if external:
        display.say(
            f"This writes to your own servers: topics {settings.prefix}.* at "
            f"{settings.bootstrap_servers or 'the local broker'}, and user, item, stock and order keys at "
            f"{settings.redis_url or 'the local cache'}."
        )
    logs = Path(tempfile.mkdtemp(prefix="footfall-demo-"))
    try:
        with Stack(settings) as stack:
            for what, server in (("broker", stack.broker), ("cache", stack.cache)):
                if server.kind != "external":
                    display.say(f"{what}: {server.kind} {server.version}")
            demo = Demo(
                stack, dataset, events, speed, seed, display, logs, started_s,
                run_name=f"{seed}-{datetime.now(UTC):%Y%m%d%H%M%S}" if external else str(seed),
            )
            made = asyncio.run(demo.run())
    except KeyboardInterrupt:
        shutil.rmtree(logs, ignore_errors=True)
        raise
    except BaseException:
        display.say(f"The logs of the processes are in {logs}")
        raise
    shutil.rmtree(logs, ignore_errors=True)
    display.console.print(render_report(made))
    if report is not None:
        write_report(made, report)
    return PASSED if made.passed else FAILED


class Demo:
    """One run on a stack that is there."""

    def __init__(
        self, stack: Stack, dataset: str, events: int | None, speed: float | None, seed: int, display: Display,
        logs: Path, started_s: float, *, run_name: str,
    ) -> None:
        self._stack = stack
        self._settings = stack.settings
        self._client = topics.client_options(stack.settings)
        self._dataset = dataset
        self._events = events
        self._speed = speed
        self._seed = seed
        self._run_name = run_name
        self._display = display
        self._logs = logs
        self._started_s = started_s
        self._replies = Replies(lambda: time.time_ns() // 1_000_000)

    async def run(self) -> Report:
        """Start, load, stream, drain, report, stop."""
        settings, say = self._settings, self._display.say
        checkpoint = await self._checkpoint()
        await topics.create(settings)
        services = Services(settings, self._stack.environment(), checkpoint, self._logs)
        redis = Redis.from_url(settings.redis_url)
        wait_ms = settings.fetch_max_wait_ms
        reader = LedgerReader(self._client, settings.prefix, fetch_wait_ms=wait_ms, inputs=_NOT_MESSAGES)
        replies = LedgerReader(
            self._client, settings.prefix, fetch_wait_ms=wait_ms, answered=_MESSAGES, inputs=_MESSAGES, results=REPLIES,
            capability="reply", once=True, seen=lambda record: self._replies.answered(record.value, record.timestamp),
        )
        async with contextlib.AsyncExitStack() as cleanup:
            cleanup.push_async_callback(redis.aclose)
            for each in (reader, replies):
                await each.connect()
                cleanup.push_async_callback(each.stop)
            await cleanup.enter_async_context(services.supervisor)
            await cleanup.enter_async_context(services.support_watched())
            say("workers and agents start")
            loaded = await self._get_ready(services, checkpoint, redis)
            await reader.start()
            await replies.start()
            transport = KafkaTransport(self._client, settings.prefix, reader.ledger, replies.ledger)
            await transport.start()
            cleanup.push_async_callback(transport.stop)
            if services.support.note:
                say(f"support: {services.support.note}")
            return await self._stream(loaded, services, reader, replies, transport, redis)

    async def _checkpoint(self) -> Path:
        checkpoint, there = material.checkpoint_for(self._dataset, self._settings.home)
        if not there:
            from footfall.datasets import load  # noqa: PLC0415 - numpy
            from footfall.training import train_recommender  # noqa: PLC0415

            self._display.say(f"no model of {self._dataset} comes with footfall: training a small one in {checkpoint}")
            await asyncio.to_thread(
                train_recommender, load(self._dataset), checkpoint, minutes=material.SYNTHETIC_MINUTES, validate=False
            )
        return checkpoint

    async def _get_ready(
        self, services: Services, checkpoint: Path, redis: Redis
    ) -> "_Loaded":
        say, settings = self._display.say, self._settings
        begin = await total_records(self._client, (CATALOG, INVENTORY), settings.prefix)

        async def load() -> _Loaded:
            made = await asyncio.to_thread(
                material.prepare, self._dataset, material.trained_until_ms(checkpoint), self._seed, self._run_name
            )
            say(f"{self._dataset} is loaded: {len(made.past):,} lines before {made.from_local:%d %b %Y}")
            published = await self._publish(made)
            packing = connect(settings.redis_url)  # a million arguments: packed in C
            try:
                progress = self._display.progress("histories in Redis")
                users, purchases = await load_history(made.past, made.run.source, Backfill(packing, settings), progress)
            finally:
                await packing.aclose()
            say(f"histories of {users:,} customers, {purchases:,} purchases, are in Redis")
            baselines = await asyncio.to_thread(made.baselines)
            enquiries = await asyncio.to_thread(made.enquiries)
            await services.facts_ready(self._client, begin, published, self._display.progress("facts in Redis"))
            say(f"catalogue and stock levels, {published:,} records, are in Redis")
            return _Loaded(made, baselines, enquiries, users, purchases)

        async def wait() -> None:
            await services.worker_ready()
            say("the worker is warm")
            await services.recommend_ready(self._client, redis)
            say("recommend answers")

        async with asyncio.TaskGroup() as group:
            loading = group.create_task(load())
            group.create_task(wait())
        return loading.result()

    async def _publish(self, made: material.Material) -> int:
        transport = KafkaTransport(self._client, self._settings.prefix, None)
        await transport.start()
        try:
            count = 0
            for message in made.opening():
                await transport.send(message)
                count += 1
            await transport.flush()
        finally:
            await transport.stop()
        return count

    async def _stream(
        self, loaded: "_Loaded", services: Services, reader: LedgerReader, replies: LedgerReader,
        transport: KafkaTransport, redis: Redis,
    ) -> Report:
        made = loaded.material
        storefront = RedisStorefront(redis, reader.answered)
        customers = Customers({item.item_id: item.title for item in made.dataset.catalog}, redis, time.monotonic)
        progress = Progress()
        speed = self._speed or made.speed_for(DEFAULT_EVENTS_PER_S)
        support = SupportMessages(
            loaded.enquiries, made.run, transport.send, WallClock(), answers=lambda: services.support.answers,
            asked=self._replies.asked,
        )
        replay = Replay(
            made.steps(), transport, storefront, Pace(speed, WallClock()), loaded.baselines, made.stock,
            events=self._events or math.inf, run_name=self._run_name, progress=progress, support=support,
            watch=customers.watch,
        )
        sampler = Sampler(
            made.dataset, progress, reader, services, customers, self._replies, speed=speed, wanted=self._events,
            started_s=self._started_s, phase="starting",
        )
        streamed_s = time.monotonic()
        async with self._display.showing(sampler), ended_by_signals(replay.stop):
            sampler.phase = ""
            await replay.run()
            await transport.flush()
            stopped_s = time.monotonic()
            sampler.phase = "draining"
            drained = await reader.drained(DRAIN_S)
            await _acknowledged(reader)
            await reader.check_stored(redis)
            drained_s = time.monotonic()
            sampler.phase = "last messages"
            await support.finish(lambda: replay.stopping)
            await transport.flush()  # the ledger knows of what the broker has
            drained = await self._replied(replies, sampler) and drained
        replied_s = time.monotonic()
        stats = await services.worker_stats()
        counts = with_replies(reader.ledger.counts(), replies.ledger.counts())
        event_s = ((progress.now_ms or 0) - (progress.first_ms or 0)) / 1000
        return build_report(
            counts, progress.scores.rates(), stats,
            device=stats.device if stats else self._settings.device, broker=self._stack.broker, cache=self._stack.cache,
            late_scores=progress.late_scores, purchases=progress.purchases, stock_levels=progress.stock_levels,
            catalog_items=len(made.dataset.catalog), history_users=loaded.users, history_purchases=loaded.purchases,
            replies=self._replies.report(services.support.note),
            dataset=self._dataset, provenance=made.dataset.provenance, trained_until=made.from_local.isoformat(),
            replayed_until=made.local(progress.now_ms or made.from_ms).isoformat(), restarts=services.restarts,
            seed=self._seed, prefix=self._settings.prefix, speed=speed,
            speed_achieved=event_s / max(1e-9, stopped_s - streamed_s), drained=drained,
            wall_s=Wall(
                first_result=round((sampler.first_result_s or drained_s) - self._started_s, 2),
                streaming=round(stopped_s - streamed_s, 2), drain=round(drained_s - stopped_s, 2),
                replies=round(replied_s - drained_s, 2), total=round(replied_s - self._started_s, 2),
            ),
        )


    async def _replied(self, replies: LedgerReader, sampler: Sampler) -> bool:
        """Wait for the replies that are still to come, and tell so; returns whether all came in time."""
        if waiting := replies.ledger.waiting:
            sampler.phase, sampler.note = "last replies", f"the others are waited for, {REPLIES_S:g} s at most"
            self._display.say_beside(f"waits for {waiting} replies, {REPLIES_S:g} s at most")
        drained = await replies.drained(REPLIES_S)
        await _acknowledged(replies)
        return drained


async def _acknowledged(reader: LedgerReader) -> None:
    deadline = time.monotonic() + COMMITS_S
    while await reader.read_commits() > 0 and time.monotonic() < deadline:  # noqa: ASYNC110 - a broker is asked
        await asyncio.sleep(0.2)
