"""Faust as its manual shows it: an agent that takes batches with `stream.take()` and sends with `topic.send()`.

`take(max_, within=)` is the manual's way to buffer ("Streams: take(): buffer up values"); it acknowledges a batch when
the body is over. `await topic.send()` returns a future for the acknowledgement, awaited here before the body ends. The
model runs in an executor: the manual warns that what blocks stops the worker. uvloop, and the log level `info`: at
`warn` every event is logged to a root logger that Faust itself sets to debug (faust/worker.py), a third dearer.
"""

import asyncio
from typing import Any

import mode.loop

mode.loop.use("uvloop")

import faust  # noqa: E402 - Faust takes the loop that is there when it is imported
from redis.asyncio import Redis  # noqa: E402

from benchmarks.peers.work import (  # noqa: E402
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
    app = faust.App(
        task.group, broker=f"kafka://{task.bootstrap_servers}", value_serializer="raw", store="memory://",
        consumer_auto_offset_reset="earliest", broker_session_timeout=SESSION_TIMEOUT_S, broker_heartbeat_interval=1.0,
        web_enabled=False, topic_disable_leader=True, topic_allow_declare=False,
    )
    sink = app.topic(task.sink, value_type=bytes, key_type=bytes)
    redis, model = Redis.from_url(task.redis_url), Model(task.service_ms)

    async def agent(stream: Any) -> None:
        async for values in stream.take(MAX_BATCH, within=WAIT_S):
            clicks = [decode_click(value) for value in values]
            answers = await asyncio.get_running_loop().run_in_executor(None, model, clicks)
            pipeline, sent = redis.pipeline(transaction=False), []
            for click, answer in zip(clicks, answers, strict=True):
                user = click.data.user_id
                result = result_of(click.id, user, answer)
                sent.append(await sink.send(key=user.encode(), value=result))
                pipeline.set(result_key(task.run, user), result)
            await pipeline.execute()
            await asyncio.gather(*sent)

    app.agent(app.topic(task.source, value_type=bytes))(agent)
    faust.Worker(app, loglevel="INFO", quiet=True, redirect_stdouts=False).execute_from_commandline()
