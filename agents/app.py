"""The Faust apps: one per capability, which is one consumer group. Knows how things are wired, not what they do."""

import asyncio
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from typing import Any, cast

import faust
from aiokafka.errors import ConsumerStoppedError, KafkaError
from faust.auth import SASLCredentials, SSLCredentials

import agents.transport  # noqa: F401 - registers gapless://
from agents import facts, recommend, reply
from agents.answers import Answers
from agents.coalescer import Work
from agents.dead_letters import DeadLetters
from agents.fallback import Fallback
from agents.liveness import Heartbeat, Progress, heartbeat_fd
from agents.publisher import Publisher
from agents.state.connection import connect
from agents.state.conversations import ConversationStore
from agents.state.facts_store import FactsStore
from agents.state.orders_store import OrdersStore
from agents.state.scripts import is_away as redis_is_away
from agents.state.store import UserStore
from agents.support.answering import answering
from agents.transport.consumer import Chunk, GaplessConsumer
from agents.transport.intake import chunks
from agents.worker_client import WorkerClient
from schemas.settings import Settings, SettingsError
from schemas.topics import RECOMMENDATIONS, REPLIES, Topic

logger = logging.getLogger(__name__)

UPKEEP_S = 1.0  # how old the list of unavailable items may be; readers check again anyway

Handle = Callable[[Sequence[Chunk]], Awaitable[None]]
LAG_S = 10.0  # between questions to the broker; several in the time that `Progress` allows
Running = Callable[[], "contextlib.AbstractAsyncContextManager[Handle]"]


class App(faust.App):
    """A Faust app that also knows how long a fetch may wait, and whether results are on their way to Kafka."""

    fetch_max_wait_ms: int = 500
    unsent: Callable[[], bool] = staticmethod(lambda: False)
    progress: Progress

    def _create_directories(self) -> None:
        """Do nothing: without tables there is nothing to keep in files, and the root may be read-only."""


def create_app(settings: Settings, capability: str) -> App:
    """Make the app of one capability.

    Raises SettingsError when something that it needs is not set.
    """
    if capability not in CAPABILITIES:
        raise SettingsError(f"there is no capability {capability!r}; choose from {', '.join(CAPABILITIES)}")
    for name, value in (("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap_servers), ("REDIS_URL", settings.redis_url)):
        if not value:
            raise SettingsError(f"{name} is not set; to try it: footfall stack exec -- footfall agents {capability}")
    topics, wiring, needs_worker = CAPABILITIES[capability]
    if needs_worker and not settings.workers:
        raise SettingsError("FOOTFALL_WORKERS is not set; give the endpoint that `footfall worker --listen` uses")
    app = App(
        f"{settings.prefix}.{capability}",
        broker=";".join(f"gapless://{server.strip()}" for server in settings.bootstrap_servers.split(",")),
        broker_credentials=_credentials(settings),
        broker_session_timeout=settings.session_timeout_s,
        broker_heartbeat_interval=settings.session_timeout_s / 6,
        broker_commit_interval=1.0,
        producer_max_batch_size=262_144,
        producer_max_request_size=1_048_576,
        producer_request_timeout=40.0,
        consumer_auto_offset_reset="earliest",
        consumer_group_instance_id=settings.group_instance_id or None,
        store="memory://",
        table_standby_replicas=0,
        topic_disable_leader=True,
        topic_allow_declare=False,
        web_enabled=False,
    )
    app.fetch_max_wait_ms = settings.fetch_max_wait_ms
    app.progress = Progress()
    _add_agent(app, settings, [topic.full_name(settings.prefix) for topic in topics], lambda: wiring(app, settings))
    return app


def _add_agent(app: App, settings: Settings, topics: Sequence[str], running: Running) -> None:
    async def agent(stream: Any) -> None:
        try:
            async with background(*_signs_of_life(app, settings)), running() as handle:
                async for taken in chunks(stream):
                    app.progress.worked()
                    await handle(taken)
                    app.progress.worked()
        except Exception as error:
            # fail-stop: nothing of what is in hand is acknowledged, all of it is read again after the restart
            logger.exception("the agent failed; this process stops and its events will be read again")
            await app.crash(error)

    app.agent(app.topic(*topics), name=app.conf.id)(agent)


def _signs_of_life(app: App, settings: Settings) -> Sequence[Callable[[], Coroutine[Any, Any, None]]]:
    behind = broker_away = False

    async def look() -> None:
        nonlocal behind, broker_away
        while True:
            await asyncio.sleep(LAG_S)
            try:
                async with asyncio.timeout(LAG_S):
                    behind, broker_away = await cast("GaplessConsumer", app.consumer).is_behind(), False
            except (KafkaError, ConsumerStoppedError):
                broker_away = True
            except TimeoutError:  # not even the consumer's own thread answers
                behind, broker_away = True, False

    heartbeat = Heartbeat(
        lambda: app.progress.symptom(behind=behind, holding=broker_away or redis_is_away()),
        alive_within_s=settings.alive_within_s, lease_s=settings.lease_s, fd=heartbeat_fd(os.environ),
    )
    return heartbeat.run, look


@contextlib.asynccontextmanager
async def _recommend(app: App, settings: Settings) -> AsyncIterator[Handle]:
    redis = connect(settings.redis_url)
    publisher = Publisher(await producer_of(app))
    app.unsent = lambda: publisher.unsent
    dead_letters = DeadLetters(publisher, settings.prefix, recommend.TOPICS)
    users, items, fallback = UserStore(redis, settings), FactsStore(redis), Fallback()
    fallback.popular = await items.popular()
    worker = WorkerClient(
        settings.workers, recommend.MODEL,
        on_replies=lambda replies, version: capability.on_replies(replies, version),
        on_model=lambda model: capability.on_model(model),
        on_lost=lambda request_ids: capability.on_lost(request_ids),
    )
    answers = Answers(
        users, publisher, dead_letters, fallback, RECOMMENDATIONS.full_name(settings.prefix),
        on_done=lambda work: done(work),
        restart=lambda work: capability.restart(work),
    )
    capability = recommend.Recommend(
        users, worker, answers, dead_letters, fallback, settings.prefix,
        window=lambda: cast("GaplessConsumer", app.consumer).window, budget_s=settings.budget_s,
    )

    def done(work: Work) -> None:
        app.progress.worked()
        capability.on_done(work)

    async def upkeep() -> None:
        saved: Sequence[str] = fallback.popular
        while True:
            answers.unavailable = await items.unavailable()
            if fallback.popular != saved:
                saved = fallback.popular
                await items.save_popular(saved)
            await asyncio.sleep(UPKEEP_S)

    try:
        await worker.start()
        async with background(publisher.run, answers.run, capability.watch_deadlines, capability.repay, upkeep):
            yield capability.handle
    finally:
        await worker.stop()
        await redis.aclose()


@contextlib.asynccontextmanager
async def _facts(app: App, settings: Settings) -> AsyncIterator[Handle]:
    redis = connect(settings.redis_url)
    publisher = Publisher(await producer_of(app))
    dead_letters = DeadLetters(publisher, settings.prefix, facts.TOPICS)
    try:
        async with background(publisher.run):
            yield facts.Facts(
                FactsStore(redis), OrdersStore(redis, settings), dead_letters, settings.prefix
            ).handle
    finally:
        await redis.aclose()


@contextlib.asynccontextmanager
async def _reply(app: App, settings: Settings) -> AsyncIterator[Handle]:
    redis = connect(settings.redis_url)
    publisher = Publisher(await producer_of(app))
    app.unsent = lambda: publisher.unsent
    async with answering(settings, redis) as answers:
        capability = reply.Reply(
            ConversationStore(redis, settings), answers, publisher,
            DeadLetters(publisher, settings.prefix, reply.TOPICS), settings.prefix, REPLIES.full_name(settings.prefix),
        )
        try:
            async with background(publisher.run), capability:
                yield capability.handle
        finally:
            await redis.aclose()


@contextlib.asynccontextmanager
async def background(*loops: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run loops beside the body; the first that fails ends everything."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(loop()) for loop in loops]
        try:
            yield
        finally:
            waiting: set[asyncio.Task[None]] = set(tasks)
            while waiting:  # asked again each second: on Python 3.11 a time-out that ends just then swallows a cancel
                for task in waiting:
                    task.cancel()
                _, waiting = await asyncio.wait(waiting, timeout=1.0)


async def producer_of(app: App) -> Any:
    producer: Any = await app.maybe_start_producer()
    return producer._ensure_producer()  # noqa: SLF001 - aiokafka's own: Faust's wrapper costs three loop turns a record


def _credentials(settings: Settings) -> Any:
    if settings.security_protocol == "PLAINTEXT":
        return None
    import ssl  # noqa: PLC0415

    context = None
    if settings.security_protocol.endswith("SSL"):
        context = ssl.create_default_context(cafile=settings.ssl_ca_location or None)
    if settings.security_protocol == "SSL":
        return SSLCredentials(context)
    return SASLCredentials(
        mechanism=settings.sasl_mechanism, username=settings.sasl_username, password=settings.sasl_password,
        ssl_context=context,
    )


Wiring = Callable[[App, Settings], "contextlib.AbstractAsyncContextManager[Handle]"]
# topics, wiring, and whether a worker is needed
CAPABILITIES: dict[str, tuple[Sequence[Topic], Wiring, bool]] = {
    "facts": (facts.TOPICS, _facts, False),
    "recommend": (recommend.TOPICS, _recommend, True),
    "reply": (reply.TOPICS, _reply, True),
}
