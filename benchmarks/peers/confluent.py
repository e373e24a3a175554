"""A bare loop around confluent-kafka, one batch after the other: the floor for what runs on librdkafka.

As its documentation has it ("Python client for Apache Kafka", synchronous commits): `consume` a batch, process it,
flush the producer, commit synchronously. All of it, the model included, runs in the one thread that polls. Only
deliveries that fail are reported, which librdkafka's documentation offers (`delivery.report.only.error`).
"""

from typing import Any

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from redis import Redis

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
    consumer = Consumer({
        "bootstrap.servers": task.bootstrap_servers, "group.id": task.group, "enable.auto.commit": False,
        "auto.offset.reset": "earliest", "session.timeout.ms": int(SESSION_TIMEOUT_S * 1000),
    })
    producer = Producer({
        "bootstrap.servers": task.bootstrap_servers, "acks": "all", "delivery.report.only.error": True,
        "on_delivery": _failed,
    })
    consumer.subscribe([task.source])
    redis, model = Redis.from_url(task.redis_url), Model(task.service_ms)
    while True:
        messages: list[Any] = consumer.consume(MAX_BATCH, WAIT_S)
        for message in messages:
            if message.error():
                raise KafkaException(message.error())
        if messages:
            _process(task, messages, model, producer, redis)
            ends = {message.partition(): message.offset() + 1 for message in messages}
            consumer.commit(
                offsets=[TopicPartition(task.source, partition, offset) for partition, offset in ends.items()],
                asynchronous=False,
            )


def _process(task: Task, messages: list[Any], model: Model, producer: Producer, redis: Redis) -> None:
    clicks = [decode_click(message.value()) for message in messages]
    pipeline = redis.pipeline(transaction=False)
    for click, answer in zip(clicks, model(clicks), strict=True):
        user = click.data.user_id
        result = result_of(click.id, user, answer)
        producer.produce(task.sink, result, user)
        pipeline.set(result_key(task.run, user), result)
    producer.poll(0)
    pipeline.execute()
    producer.flush()


def _failed(error: Any, _: Any) -> None:
    raise KafkaException(error)
