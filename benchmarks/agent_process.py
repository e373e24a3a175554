"""`python -m benchmarks.agent_process VARIANT EVENTS FILE`: one process that drains a backlog and measures itself.

Measured is the CPU time of all threads of this process, user and system, from the moment the consumer group gives it
its partitions, so that every fetch counts, until the last event is done. FILE then holds a `Usage`; the process is
stopped by who started it. Settings come from the environment.

The agent's variants are `python -m agents recommend` with other collaborators, not with other code.
"""

import asyncio
import contextlib
import logging
import resource
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from schemas.events import VISITOR_PREFIX
from schemas.inference import RecommendResult, Reply, UserState
from schemas.settings import Settings
from schemas.topics import CLICKSTREAM


class Usage(Struct, frozen=True):
    """What draining took."""

    cpu_s: float
    wall_s: float


class Meter:
    """Counts this process's CPU time until `events` are done, and writes it down."""

    def __init__(self, events: int, file: Path) -> None:
        self._left = events
        self._file = file
        self._start: Usage | None = None

    def start(self) -> None:
        """Note that the partitions were assigned. Raises RuntimeError the second time: a rebalance spoils the run."""
        if self._start is not None:
            raise RuntimeError("the group was rebalanced in the middle of the run: run it again on a quieter machine")
        self._start = _usage()

    def took(self, events: int) -> bool:
        """Count events; whether those were the last."""
        self._left -= events
        return self._left <= 0

    def finish(self) -> None:
        """Write FILE, whole or not at all."""
        now, start = _usage(), self._start
        assert start is not None, "events came before the assignment was seen"
        partial = self._file.with_suffix(".partial")
        partial.write_bytes(msgspec.json.encode(Usage(now.cpu_s - start.cpu_s, now.wall_s - start.wall_s)))
        partial.rename(self._file)


def _usage() -> Usage:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(used.ru_utime + used.ru_stime, time.monotonic())


# -- without our agent


def raw_getmany(meter: Meter) -> None:
    """Consume as cheaply as Python can: aiokafka's `getmany` and orjson, on uvloop."""
    import aiokafka  # noqa: PLC0415 - each variant loads what it needs
    import orjson  # noqa: PLC0415
    import uvloop  # noqa: PLC0415

    from footfall.topics import client_options  # noqa: PLC0415

    settings = Settings.from_environment()

    class Assigned(aiokafka.ConsumerRebalanceListener):  # type: ignore[misc]
        def on_partitions_revoked(self, revoked: Any) -> None: ...

        def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002
            meter.start()

    async def drain() -> None:
        consumer = aiokafka.AIOKafkaConsumer(
            **client_options(settings), group_id=f"{settings.prefix}.raw", auto_offset_reset="earliest",
            fetch_max_wait_ms=settings.fetch_max_wait_ms, session_timeout_ms=int(settings.session_timeout_s * 1000),
            heartbeat_interval_ms=int(settings.session_timeout_s * 1000 / 6),
        )
        consumer.subscribe([CLICKSTREAM.full_name(settings.prefix)], listener=Assigned())
        async with consumer:
            while True:
                fetched = await consumer.getmany(timeout_ms=1000, max_records=512)
                for records in fetched.values():
                    for record in records:
                        orjson.loads(record.value)
                if meter.took(sum(map(len, fetched.values()))):
                    return meter.finish()

    uvloop.run(drain())


def stock_take(meter: Meter) -> None:
    """Do what Faust's manual shows: a JSON topic, and `take()`."""
    import faust  # noqa: PLC0415

    settings = Settings.from_environment()
    app = faust.App(
        f"{settings.prefix}.stock", broker=f"kafka://{settings.bootstrap_servers}", value_serializer="json",
        store="memory://", web_enabled=False, topic_disable_leader=True, table_standby_replicas=0,
        broker_session_timeout=settings.session_timeout_s, broker_heartbeat_interval=settings.session_timeout_s / 6,
    )

    async def agent(stream: Any) -> None:
        async for clicks in stream.take(512, within=0.02):
            if meter.took(len(clicks)):
                meter.finish()

    _measure_from_assignment(app, meter)
    app.agent(app.topic(CLICKSTREAM.full_name(settings.prefix)))(agent)
    faust.Worker(app, loglevel="INFO", quiet=True, redirect_stdouts=False).execute_from_commandline()


# -- our agent


def consume(meter: Meter) -> None:
    """Hops 1 and 8 alone: records come in chunks and are acknowledged, undecoded."""
    from agents.transport.consumer import Chunk  # noqa: PLC0415

    async def acknowledge(taken: Sequence[Chunk]) -> None:
        for chunk in taken:
            for record in chunk.records:
                chunk.window.done(chunk.partition, record.offset)

    @contextlib.asynccontextmanager
    async def wiring(*_: Any) -> AsyncIterator[Any]:
        yield acknowledge

    _agent(meter, wiring)


def decode_dispatch(meter: Meter) -> None:
    """Hops 1, 2, 4 and 8: no state, and a worker and a topic that answer at once."""
    from agents.state.store import Applied, UserChanges, UserStore  # noqa: PLC0415
    from benchmarks.clicks import device_of  # noqa: PLC0415

    state = Raw(msgspec.msgpack.encode(UserState((), (), b"", ())))

    class NoState(UserStore):
        async def apply(self, batch: Sequence[UserChanges]) -> list[Applied]:
            return [
                Applied(
                    1, user.changes[-1].time_ms, len(user.changes), -1, (), f"{VISITOR_PREFIX}{device_of(user.user)}",
                    state,
                )
                for user in batch
            ]

    _agent(meter, _stubbed(NoState))


def with_history(meter: Meter) -> None:
    """As `decode_dispatch`, with hop 3: the users' state in Redis."""
    from agents.state.store import UserStore  # noqa: PLC0415

    _agent(meter, _stubbed(UserStore))


def full(meter: Meter) -> None:
    """Measure `python -m agents recommend` as it is."""
    from agents.app import CAPABILITIES  # noqa: PLC0415

    _agent(meter, CAPABILITIES["recommend"][1])


def _agent(meter: Meter, wiring: Any) -> None:
    """Run `python -m agents recommend` with this wiring."""
    from agents import __main__ as process  # noqa: PLC0415
    from agents.app import CAPABILITIES  # noqa: PLC0415
    from agents.transport.consumer import Chunk  # noqa: PLC0415

    @contextlib.asynccontextmanager
    async def measured(app: Any, settings: Settings) -> AsyncIterator[Any]:
        _measure_from_assignment(app, meter)
        async with wiring(app, settings) as handle:

            async def counted(taken: Sequence[Chunk]) -> None:
                await handle(taken)
                if meter.took(sum(len(chunk.records) for chunk in taken)):
                    while taken[0].window.in_hand:  # noqa: ASYNC110 - the agent has no such event, and no use for one
                        await asyncio.sleep(0.002)
                    meter.finish()

            yield counted

    topics, _, needs_worker = CAPABILITIES["recommend"]
    CAPABILITIES["recommend"] = (topics, measured, needs_worker)
    sys.exit(process.main(["recommend"]))


def _stubbed(store: Any) -> Any:
    """Wire `Recommend` to a store, and to a worker and a topic that answer at once."""
    from agents.answers import FALLBACK, Answers, Outcome  # noqa: PLC0415
    from agents.coalescer import Work  # noqa: PLC0415
    from agents.fallback import Fallback  # noqa: PLC0415
    from agents.recommend import Recommend  # noqa: PLC0415
    from agents.state.connection import connect  # noqa: PLC0415

    class Acknowledging(Answers):
        def add(self, work: Work, outcome: Outcome, model: tuple[str, str] = FALLBACK) -> None:  # noqa: ARG002
            self._acknowledge(work)

    @contextlib.asynccontextmanager
    async def wiring(_: Any, settings: Settings) -> AsyncIterator[Any]:
        redis = connect(settings.redis_url)
        nothing: Any = None  # neither dead letters nor output records occur
        answers = Acknowledging(
            nothing, nothing, nothing, Fallback(), "",
            on_done=lambda work: capability.on_done(work), restart=lambda work: capability.restart(work),
        )
        worker = InstantWorker(lambda replies, version: capability.on_replies(replies, version))
        capability = Recommend(
            store(redis, settings), worker, answers, nothing, Fallback(), settings.prefix, window=lambda: None
        )
        try:
            yield capability.handle
        finally:
            await redis.aclose()

    return wiring


class InstantWorker:
    """Replies to everything in the next turn of the loop, in one message, as a worker that takes no time would."""

    away_s = 0.0
    spare = 0

    def __init__(self, on_replies: Callable[[Sequence[Reply], str], None]) -> None:
        self._on_replies = on_replies
        self._ids: list[int] = []

    def submit(self, request_id: int, body: tuple[int, Raw], budget_ms: int) -> None:  # noqa: ARG002
        if not self._ids:
            asyncio.get_running_loop().call_soon(self._reply)
        self._ids.append(request_id)

    def cancel(self, ids: Sequence[int]) -> None: ...

    def _reply(self) -> None:
        ids, self._ids = self._ids, []
        self._on_replies([RecommendResult(request_id, "", b"") for request_id in ids], "instant")


def _measure_from_assignment(app: Any, meter: Meter) -> None:
    async def assigned(*_: Any, **__: Any) -> None:
        meter.start()

    app.on_partitions_assigned.connect(assigned)


VARIANTS: dict[str, Callable[[Meter], None]] = {
    run.__name__: run for run in (raw_getmany, stock_take, consume, decode_dispatch, with_history, full)
}


if __name__ == "__main__":
    name, events, path = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    VARIANTS[name](Meter(int(events), Path(path)))
