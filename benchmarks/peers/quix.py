"""Quix Streams with a sink of our own that takes a checkpoint's records as one batch.

As its documentation says under "Creating a custom sink": subclass `BaseSink`, collect in `add`, write in `flush`, which
the checkpoint calls before it commits; `commit_every` and `commit_interval` make a checkpoint of 256 events or 20 ms.
Not `BatchingSink`: it keeps a batch per partition (quixstreams/sinks/base/sink.py), which would be one model call for
every 32 events. Everything runs in the one thread that polls.
"""

from typing import Any

from quixstreams import Application
from quixstreams.sinks import BaseSink
from redis import Redis

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


class _Results(BaseSink):  # type: ignore[misc]  # it ships without what mypy needs
    def __init__(self, task: Task, producer: Any) -> None:
        super().__init__()
        self._task = task
        self._producer = producer
        self._redis = Redis.from_url(task.redis_url)
        self._model = Model(task.service_ms)
        self._clicks: list[Click] = []

    def add(
        self, value: bytes, key: Any, timestamp: int, headers: Any, topic: str, partition: int, offset: int  # noqa: ARG002
    ) -> None:
        self._clicks.append(decode_click(value))

    def flush(self) -> None:
        clicks, self._clicks = self._clicks, []
        if not clicks:
            return
        pipeline = self._redis.pipeline(transaction=False)
        for click, answer in zip(clicks, self._model(clicks), strict=True):
            user = click.data.user_id
            result = result_of(click.id, user, answer)
            self._producer.produce(self._task.sink, result, user)
            pipeline.set(result_key(self._task.run, user), result)
        pipeline.execute()
        if left := self._producer.flush():
            raise RuntimeError(f"{left} results were not delivered")

    def on_paused(self) -> None:
        self._clicks.clear()


def run(task: Task) -> None:
    app = Application(
        broker_address=task.bootstrap_servers, consumer_group=task.group, auto_offset_reset="earliest",
        commit_every=MAX_BATCH, commit_interval=WAIT_S, auto_create_topics=False, loglevel="WARNING",
        consumer_extra_config={"session.timeout.ms": int(SESSION_TIMEOUT_S * 1000)},
        producer_extra_config={"acks": "all"},
    )
    source = app.topic(task.source, value_deserializer="bytes", key_deserializer="bytes")
    with app.get_producer() as producer:
        app.dataframe(source).sink(_Results(task, producer))
        app.run()
