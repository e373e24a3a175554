"""FastStream on aiokafka with a batch subscriber, and one keyed record per event.

As its documentation says: `batch=True` with `max_records` and `batch_timeout_ms` ("Kafka: batch consuming"),
`AckPolicy.NACK_ON_ERROR` so that a batch is acknowledged only when the handler returned (the default acknowledges
first), `no_confirm=True` to gather the confirmations. Not `publish_batch`, which puts all of a batch into one
partition (faststream/kafka/publisher/producer.py). The model runs in an executor.
"""

import asyncio
from typing import Any

import uvloop
from faststream import AckPolicy, FastStream
from faststream.kafka import KafkaBroker
from redis.asyncio import Redis

from benchmarks.peers.work import (
    MAX_BATCH,
    SESSION_TIMEOUT_S,
    WAIT_S,
    Model,
    Task,
    decode_click,
    result_key,
    result_of,
)


def run(task: Task) -> None:
    uvloop.run(_serve(task))


async def _serve(task: Task) -> None:
    broker = KafkaBroker(task.bootstrap_servers, acks="all", logger=None)
    redis, model = Redis.from_url(task.redis_url), Model(task.service_ms)

    @broker.subscriber(  # type: ignore[untyped-decorator]  # it ships without what mypy needs
        task.source, group_id=task.group, auto_offset_reset="earliest", ack_policy=AckPolicy.NACK_ON_ERROR, batch=True,
        max_records=MAX_BATCH, batch_timeout_ms=int(WAIT_S * 1000), session_timeout_ms=int(SESSION_TIMEOUT_S * 1000),
        heartbeat_interval_ms=1000, decoder=_bodies,
    )
    async def handle(values: list[Any]) -> None:
        clicks = [decode_click(value) for value in values]
        answers = await asyncio.get_running_loop().run_in_executor(None, model, clicks)
        pipeline, sent = redis.pipeline(transaction=False), []
        for click, answer in zip(clicks, answers, strict=True):
            user = click.data.user_id
            result = result_of(click.id, user, answer)
            sent.append(await broker.publish(result, task.sink, key=user.encode(), no_confirm=True))
            pipeline.set(result_key(task.run, user), result)
        await pipeline.execute()
        await asyncio.gather(*sent)

    await FastStream(broker, logger=None).run()


async def _bodies(message: Any) -> Any:
    """The records' bytes as they are: decoding is ours."""
    return message.body
