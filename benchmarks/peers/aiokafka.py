"""A bare loop around aiokafka, one batch after the other: the floor for what runs on asyncio.

As aiokafka's documentation has it ("Consumer client", manual commit): `getmany` takes what is there, and the offsets
of exactly these records are committed when they are done. The model runs in an executor, as asyncio's documentation
recommends for what blocks; the produce requests and the pipeline to Redis overlap.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRecord
from redis.asyncio import Redis

from benchmarks.peers.work import (
    MAX_BATCH,
    SESSION_TIMEOUT_S,
    WAIT_S,
    Click,
    Model,
    Task,
    decode_click,
    result_key,
    result_of,
)


def run(task: Task) -> None:
    uvloop.run(_serve(task))


async def _serve(task: Task) -> None:
    loop, model = asyncio.get_running_loop(), Model(task.service_ms)
    async with consumer_of(task) as consumer, producer_of(task) as producer, Redis.from_url(task.redis_url) as redis:
        while True:
            fetched = await consumer.getmany(timeout_ms=int(WAIT_S * 1000), max_records=MAX_BATCH)
            clicks = decoded(fetched)
            if clicks:
                answers = await loop.run_in_executor(None, model, clicks)
                await write(task, producer, redis, clicks, answers)
                await consumer.commit(following(fetched))


def consumer_of(task: Task) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        task.source, bootstrap_servers=task.bootstrap_servers, group_id=task.group, enable_auto_commit=False,
        auto_offset_reset="earliest", session_timeout_ms=int(SESSION_TIMEOUT_S * 1000), heartbeat_interval_ms=1000,
    )


def producer_of(task: Task) -> AIOKafkaProducer:
    return AIOKafkaProducer(bootstrap_servers=task.bootstrap_servers, acks="all")


def decoded(fetched: Mapping[Any, Sequence[ConsumerRecord]]) -> list[Click]:
    return [decode_click(record.value) for records in fetched.values() for record in records]


def following(fetched: Mapping[Any, Sequence[ConsumerRecord]]) -> dict[Any, int]:
    """The offsets to commit once these records are done."""
    return {partition: records[-1].offset + 1 for partition, records in fetched.items() if records}


async def write(
    task: Task, producer: AIOKafkaProducer, redis: Redis, clicks: Sequence[Click], answers: Sequence[bytes]
) -> None:
    """Put the results on the topic and into Redis; returns when both have them."""
    pipeline, sent = redis.pipeline(transaction=False), []
    for click, answer in zip(clicks, answers, strict=True):
        user = click.data.user_id
        result = result_of(click.id, user, answer)
        sent.append(await producer.send(task.sink, result, user.encode()))
        pipeline.set(result_key(task.run, user), result)
    await pipeline.execute()
    await asyncio.gather(*sent)
