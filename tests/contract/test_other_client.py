"""The same contract for a client of another make: confluent-kafka, which partitions keys in its own way."""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, Producer, TopicPartition

from tests.contract.storefront import Storefront
from tests.contract.system import System

ERRORS = "__streams.errors."
WITHIN_S = 15.0
NOW = "2026-01-05T10:00:00.250Z"


class Client:
    """A producer, and a reader of results and dead letters."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._producer = Producer({"bootstrap.servers": system.bootstrap_servers, "linger.ms": 0})
        self._consumer = Consumer({
            "bootstrap.servers": system.bootstrap_servers, "group.id": f"{system.prefix}.reader",
            "enable.auto.commit": False, "fetch.wait.max.ms": 20,
        })
        topics = self._consumer.list_topics(timeout=10).topics
        sources = (system.topic("clickstream"), system.topic("purchases"))
        names = (system.topic("recommendations"), *(f"{source}.dlq" for source in sources))
        self._consumer.assign([
            TopicPartition(name, number, OFFSET_BEGINNING) for name in names for number in topics[name].partitions
        ])

    def close(self) -> None:
        self._consumer.close()

    def send(self, topic: str, key: str, value: bytes, headers: dict[str, str | bytes | None] | None = None) -> Message:
        delivered: list[Message] = []

        def keep(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            delivered.append(message)

        self._producer.produce(self._system.topic(topic), value, key, headers=headers or {}, on_delivery=keep)
        assert self._producer.flush(WITHIN_S) == 0
        (message,) = delivered
        return message

    def read_until(self, wanted: Callable[[Message], bool]) -> Message:
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            message = self._consumer.poll(0.2)
            if message is not None:
                assert message.error() is None, message.error()
                if wanted(message):
                    return message
        raise AssertionError(f"not read within {WITHIN_S:g} s")


@pytest.fixture
def client(system: System, storefront: Storefront) -> Iterator[Client]:
    client = Client(system)  # `storefront` has seen that the system is up
    yield client
    client.close()


def click(user: str) -> dict[str, Any]:
    return {
        "specversion": "1.0", "id": f"{user}/1", "source": "kiosk", "type": "retail.add_to_cart.v1", "time": NOW,
        "datacontenttype": "application/json",
        "data": {"user_id": user, "items": [{"item_id": "1044078", "price": 2.99, "quantity": 1}]},
    }


def check_result(message: Message, user: str, sent: Message, event: dict[str, Any]) -> None:
    assert message.key() == user.encode()
    envelope = json.loads(message.value() or b"")
    assert (envelope["specversion"], envelope["type"]) == ("1.0", "retail.recommendations.v1")
    data = envelope["data"]
    assert (data["user_id"], data["history_version"], data["origin"]) == (user, 1, "model")
    assert data["event_time"] == event["time"]
    assert data["trigger"] == {"source": event["source"], "id": event["id"]}
    assert data["covers"] == [
        {"topic": sent.topic(), "partition": sent.partition(), "from": sent.offset(), "to": sent.offset()}
    ]
    assert len(data["items"]) == 20


def test_a_click_of_another_client_is_answered(client: Client, user: str) -> None:
    event = click(user)

    sent = client.send("clickstream", user, json.dumps(event).encode())

    check_result(client.read_until(lambda message: message.key() == user.encode()), user, sent, event)


def test_a_purchase_in_binary_mode_of_another_client_is_answered(client: Client, user: str) -> None:
    event = click(user) | {"type": "retail.purchase.v1"}
    event["data"] |= {"transaction_id": "t-1", "currency": "EUR", "value": 2.99}
    headers = {f"ce_{name}": event[name] for name in ("specversion", "id", "source", "type", "time")}
    headers["content-type"] = "application/json"

    sent = client.send("purchases", user, json.dumps(event["data"]).encode(), headers)

    check_result(client.read_until(lambda message: message.key() == user.encode()), user, sent, event)


def test_a_bad_record_of_another_client_is_a_dead_letter(client: Client, user: str) -> None:
    sent = client.send("purchases", user, b"hello", {"traceparent": "00-1"})

    letter = client.read_until(lambda message: message.key() == user.encode())

    assert letter.topic() == f"{sent.topic()}.dlq"
    assert letter.value() == b"hello"
    headers = dict(letter.headers() or [])
    assert headers["traceparent"] == b"00-1"
    assert [headers[ERRORS + name] for name in ("topic", "partition", "offset")] == [
        str(part).encode() for part in (sent.topic(), sent.partition(), sent.offset())
    ]
    assert all(headers[ERRORS + name] for name in ("exception", "message", "stacktrace"))
