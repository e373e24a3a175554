"""Bytewax with the Kafka operators, `collect` for the batch, and two sinks.

As its documentation says: `bytewax.connectors.kafka.operators` for input and output, `op.collect` to gather items "up
to a size or a timeout" (it needs a key: one for all, so that batches form across partitions), a `DynamicSink` for a
system without a connector, and a recovery store in place of the consumer group: Bytewax never commits to Kafka, its
epochs of 1 s are what acknowledges. One worker; sinks and model run in its thread.
"""

import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

import bytewax.operators as op
from bytewax.connectors.kafka import KafkaSinkMessage
from bytewax.connectors.kafka import operators as kafka
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.recovery import RecoveryConfig, init_db_dir
from bytewax.run import cli_main
from redis import Redis

from benchmarks.peers.work import MAX_BATCH, WAIT_S, Model, Task, decode_click, result_key, result_of

EPOCH = timedelta(seconds=1)

Results = list[tuple[str, bytes]]  # user, result


class _Sets(StatelessSinkPartition):  # type: ignore[misc]  # it ships without what mypy needs
    def __init__(self, task: Task) -> None:
        self._task = task
        self._redis = Redis.from_url(task.redis_url)

    def write_batch(self, items: list[Results]) -> None:
        pipeline = self._redis.pipeline(transaction=False)
        for results in items:
            for user, result in results:
                pipeline.set(result_key(self._task.run, user), result)
        pipeline.execute()


class _RedisSink(DynamicSink):  # type: ignore[misc]
    def __init__(self, task: Task) -> None:
        self._task = task

    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Sets:  # noqa: ARG002
        return _Sets(self._task)


def run(task: Task) -> None:
    with tempfile.TemporaryDirectory(prefix="footfall-bytewax-") as folder:
        init_db_dir(Path(folder), 1)
        cli_main(_flow(task), epoch_interval=EPOCH, recovery_config=RecoveryConfig(folder))


def _flow(task: Task) -> Any:
    model = Model(task.service_ms)

    def answer(batch: tuple[str, list[Any]]) -> Results:
        clicks = [decode_click(message.value) for message in batch[1]]
        return [
            (click.data.user_id, result_of(click.id, click.data.user_id, answer))
            for click, answer in zip(clicks, model(clicks), strict=True)
        ]

    def records(results: Results) -> list[Any]:
        return [KafkaSinkMessage(user.encode(), result) for user, result in results]

    flow, brokers = Dataflow("peer"), [task.bootstrap_servers]
    source = kafka.input("source", flow, brokers=brokers, topics=[task.source])
    batches = op.collect("batch", op.key_on("all", source.oks, lambda _: "all"), timedelta(seconds=WAIT_S), MAX_BATCH)
    results = op.map("model", batches, answer)
    op.output("redis", results, _RedisSink(task))
    kafka.output(
        "sink", op.flat_map("records", results, records), brokers=brokers, topic=task.sink, add_config={"acks": "all"}
    )
    return flow
