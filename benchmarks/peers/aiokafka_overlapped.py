"""The loop around aiokafka with three batches in flight, written and committed in order.

What a careful team writes by hand when one batch at a time leaves the device idle; no documentation shows it. While the
device has one batch, another is written and the next is read.
"""

import asyncio
from collections.abc import Sequence

import uvloop
from redis.asyncio import Redis

from benchmarks.peers.aiokafka import consumer_of, decoded, following, producer_of, write
from benchmarks.peers.work import MAX_BATCH, WAIT_S, Click, Model, Task

IN_FLIGHT = 3


def run(task: Task) -> None:
    uvloop.run(_serve(task))


async def _serve(task: Task) -> None:
    loop, model = asyncio.get_running_loop(), Model(task.service_ms)
    places = asyncio.Semaphore(IN_FLIGHT)
    async with (
        consumer_of(task) as consumer, producer_of(task) as producer, Redis.from_url(task.redis_url) as redis,
        asyncio.TaskGroup() as group,
    ):

        async def finish(
            clicks: Sequence[Click], offsets: dict[object, int], before: "asyncio.Task[None] | None"
        ) -> None:
            answers = await loop.run_in_executor(None, model, clicks)
            if before is not None:
                await before
            await write(task, producer, redis, clicks, answers)
            await consumer.commit(offsets)
            places.release()

        last: asyncio.Task[None] | None = None
        while True:
            await places.acquire()
            while not (fetched := await consumer.getmany(timeout_ms=int(WAIT_S * 1000), max_records=MAX_BATCH)):
                pass
            last = group.create_task(finish(decoded(fetched), following(fetched), last))
