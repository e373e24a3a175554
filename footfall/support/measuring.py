"""Asks the agents' own answering about every case: facts in a Redis, models in a worker, and how long each took."""

import asyncio
import itertools
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from agents.results import timestamp
from agents.state.connection import connect
from agents.state.conversations import Standing
from agents.state.facts_store import NO_LOCATION, Fact, FactsStore
from agents.state.orders_store import OrderRecord, OrdersStore
from agents.support.answering import Answer, Answering, Question, answering
from agents.support.lookup import order_ids
from footfall.stack.server import Server
from footfall.support.cases import Case
from footfall.support.shop import Customer
from model_core.control import WorkerUnreachable, query_stats
from schemas import keys
from schemas.events import ItemData, StockLevelData
from schemas.results import ModelVersion, Reason, RecommendationsData, RecommendedItem, Trigger
from schemas.settings import Settings, ipc_endpoint

WORKER_START_S = 180.0  # the first time, the language model is converted
STORED_TOGETHER = 200  # cases
FIRST = Standing(sequence=1, answered=0, turns=0, intent="", order_id="", handed_over="", reply=None)

_encode = msgspec.json.Encoder().encode


class Outcome(Struct, frozen=True):
    """A case and its answer."""

    case: Case
    answer: Answer
    took_ms: float


@contextmanager
def worker(settings: Settings, log: Path, *options: str) -> Iterator[Settings]:
    """A worker with encoder and replier, unless the settings name one; gives the settings that name it."""
    if settings.workers:
        yield settings
        return
    listen, control = ipc_endpoint("worker"), ipc_endpoint("control")
    models = "encoder,replier" if settings.reply_engine == "worker" else "encoder"
    server = Server(
        "worker",
        [sys.executable, "-m", "model_core", "--models", models, "--listen", listen, "--control", control,
         "--device", settings.device, "--cache", str(settings.home), *options],
        log, lambda: _is_ready(control),
    )  # fmt: skip
    server.start(WORKER_START_S)
    try:
        yield msgspec.structs.replace(settings, workers=(listen,))
    finally:
        server.stop()


async def ask_all(
    cases: Sequence[Case], settings: Settings, together: int, progress: Callable[[], None]
) -> list[Outcome]:
    """The answers to all cases, so many at a time, in the cases' order."""
    async with _answers(settings) as (redis, answers):
        await answers.learn()
        for start in range(0, len(cases), STORED_TOGETHER):
            await _store(redis, settings, cases[start : start + STORED_TOGETHER])
        turns, outcomes = asyncio.Semaphore(together), dict[int, Outcome]()

        async def ask(at: int, case: Case) -> None:
            async with turns:
                began_s = time.perf_counter()
                question = Question(case.who.user, (case.text,), order_ids(case.text), FIRST)
                answer = await answers.answer(question, case.who.now)
                outcomes[at] = Outcome(case, answer, (time.perf_counter() - began_s) * 1000)
                progress()

        async with asyncio.TaskGroup() as group:
            for at, case in enumerate(cases):
                group.create_task(ask(at, case))
        return [outcomes[at] for at in range(len(cases))]


@asynccontextmanager
async def _answers(settings: Settings) -> AsyncIterator[tuple[Redis, Answering]]:
    redis = connect(settings.redis_url)
    try:
        async with answering(settings, redis) as answers:
            yield redis, answers
    finally:
        await redis.aclose()


async def _store(redis: Redis, settings: Settings, cases: Iterable[Case]) -> None:
    """What the shop knows of these customers, as `facts` and `recommend` would have stored it."""
    for case in cases:
        time_ms = int(case.who.now.timestamp() * 1000)
        await OrdersStore(redis, settings).write([
            OrderRecord(order.order_id, order, time_ms) for order in (*case.who.orders, *case.foreign)
        ])
        await FactsStore(redis).write(list(itertools.chain.from_iterable(
            (
                Fact("item", item.item_id, "", _encode(ItemData(
                    item_id=item.item_id, title=item.title, price=item.price
                )), time_ms),
                Fact("stock", item.item_id, NO_LOCATION, _encode(StockLevelData(
                    item_id=item.item_id, on_hand=item.on_hand or 0
                )), time_ms),
            )
            for item in case.who.items
        )))
        await redis.set(keys.recommendations(case.who.user), _encode(_recommended(case.who, time_ms)))


def _recommended(who: Customer, time_ms: int) -> RecommendationsData:
    at = timestamp(time_ms)
    return RecommendationsData(
        recommendation_id="simulated", user_id=who.user, history_version=1, event_time=at, generated_at=at,
        trigger=Trigger("simulated", "1"), covers=(), model=ModelVersion("simulated", "1"), origin="model",
        items=tuple(RecommendedItem(item.item_id, 1.0, Reason("popular")) for item in who.recommended),
    )  # fmt: skip


def _is_ready(control: str) -> bool:
    try:
        return bool(query_stats(control, 1.0).models)
    except WorkerUnreachable:
        return False
