"""Sends events at a steady rate whatever becomes of them, and notes what Redis does meanwhile."""

import asyncio
import contextlib
import re
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import redis
from confluent_kafka import KafkaException, Producer

TICK_S = 0.001
LINGER_MS = 1  # of the sender
READ_S = 0.1
FLUSH_TIMEOUT_S = 10.0
SET = re.compile(rb'^(?P<at_s>[0-9.]+) \[.*?\] "SET" "(?P<key>[^"]*)" "\{\\"id\\":\\"(?P<event>[^"\\]+)', re.IGNORECASE)


class Sender:
    """Produces to one topic. `due_ms` says of every paced event when it should have been sent (wall clock)."""

    def __init__(self, bootstrap_servers: str, topic: str) -> None:
        self._producer = Producer({
            "bootstrap.servers": bootstrap_servers, "linger.ms": LINGER_MS, "acks": "all",
            "delivery.report.only.error": True, "on_delivery": _failed,
        })
        self._topic = topic
        self.due_ms: dict[str, float] = {}
        self.late_ms: list[float] = []  # of each, how much later than that it was

    def send(self, key: str, value: bytes) -> None:
        """Queue one event."""
        self._producer.produce(self._topic, value, key)
        self._producer.poll(0)

    async def pace(self, events: Iterable[tuple[str, str, bytes]], rate_eps: float) -> None:
        """Send (id, key, value) at this rate. When late, catch up: the waiting is part of the latency."""
        start_s = time.time()
        for number, (event, key, value) in enumerate(events):
            due_s = start_s + number / rate_eps
            while (now_s := time.time()) < due_s:
                self._producer.poll(0)
                await asyncio.sleep(min(TICK_S, due_s - now_s))
            self.due_ms[event] = 1000 * due_s
            self.late_ms.append(1000 * (now_s - due_s))
            self.send(key, value)

    def flush(self) -> None:
        """Wait until the broker has all. Raises TimeoutError."""
        if left := self._producer.flush(FLUSH_TIMEOUT_S):
            raise TimeoutError(f"{left} events were not delivered within {FLUSH_TIMEOUT_S:g} s: is the broker well?")


def _failed(error: Any, _: Any) -> None:
    raise KafkaException(error)


class Monitor:
    """Redis's own protocol of what it executes, by its own clock (MONITOR)."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    @contextlib.contextmanager
    def watching(self, url: str) -> Iterator[None]:
        """Note every command of the body."""
        with redis.Redis.from_url(url) as client:
            connection = client.connection_pool.get_connection()
            connection.send_command("MONITOR")
            connection.read_response()  # OK
            over = threading.Event()
            thread = threading.Thread(target=self._read, args=(connection, over), name="monitor")
            thread.start()
            try:
                yield
            finally:
                over.set()
                thread.join()
                connection.disconnect()

    def _read(self, connection: Any, over: threading.Event) -> None:
        """Read until nothing more comes after the body."""
        while True:
            if connection.can_read(timeout=READ_S):
                self._lines.append(connection.read_response())
            elif over.is_set():
                return

    def sets(self) -> Mapping[str, float]:
        """By event, when its result was first stored, in ms of Redis's wall clock."""
        found = [match for line in self._lines if (match := SET.match(line))]
        return {match["event"].decode(): 1000 * float(match["at_s"]) for match in reversed(found)}
