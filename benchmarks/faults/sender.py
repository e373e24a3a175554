"""Sends inputs at a steady pace and tells the ledger of each. Knows Kafka, and nothing of what is being broken."""

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from itertools import islice
from typing import Any, Self

from aiokafka import AIOKafkaProducer

from benchmarks.faults.traffic import Input
from footfall.ledger import Ledger
from schemas.settings import Settings

TICK_S = 0.02
# Producers gather for 5 ms by default (Apache Kafka 4), all partitions of a broker in one request. aiokafka gathers by
# partition, which with few records in many partitions makes a request for each.
GATHER_S = 0.005
MAX_UNDER_WAY = 20_000  # records: while the broker is away the pace stands still


class Sender:
    """`async with Sender(…) as sender:`. Raises what the producer raises for good."""

    def __init__(self, client: Mapping[str, Any], settings: Settings, ledger: Ledger, *, idempotent: bool) -> None:
        # without idempotence a retry may append a record twice, and the second is not known to be the first again
        self._producer = AIOKafkaProducer(
            **client, acks="all", enable_idempotence=idempotent, request_timeout_ms=120_000
        )
        self._prefix = settings.prefix
        self._ledger = ledger
        self._under_way = 0
        self._error: BaseException | None = None
        self.bad = 0  # inputs that call for a dead letter
        self.newest: dict[tuple[str, int], int] = {}  # the newest offset of each partition

    async def __aenter__(self) -> Self:
        await self._producer.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._producer.stop()

    async def pace(self, inputs: Iterator[Input], count: int, rate_per_s: float) -> None:
        """Send the next `count` inputs, as far as there are any."""
        start, sent = time.monotonic(), 0
        while sent < count:
            due = min(count, int((time.monotonic() - start) * rate_per_s) + 1) - sent
            part = list(islice(inputs, due))
            if due and not part:
                break
            await self.send(part)
            sent += len(part)
            await asyncio.sleep(TICK_S)
        await self.flush()

    async def open_loop(self, inputs: Iterator[Input], due_s: Iterable[float]) -> None:
        """Send the next input when it is due, so many seconds from now, whatever became of those before it.

        Its time counts from when it was due: a sender that lags must not hide what a user would have felt. Nor does
        it hide that those of `GATHER_S` leave together.
        """
        start_s, start_ms = time.monotonic(), time.time_ns() // 1_000_000
        for at_s in due_s:
            early_s = start_s + at_s - time.monotonic()
            await asyncio.sleep(max(early_s, GATHER_S) if early_s > 0 else 0.0)
            await self._send(next(inputs), start_ms + int(1000 * at_s))
        await self.flush()

    async def send(self, inputs: Iterable[Input]) -> None:
        for one in inputs:
            await self._send(one, time.time_ns() // 1_000_000)

    async def flush(self) -> None:
        """Return when the broker has everything."""
        await self._producer.flush()
        await asyncio.sleep(0)  # the callbacks of the last batch
        if self._error is not None:
            raise self._error

    async def _send(self, one: Input, sent_ms: int) -> None:
        if self._error is not None:
            raise self._error
        while self._under_way >= MAX_UNDER_WAY:  # noqa: ASYNC110 - a pace looks at the clock anyway
            await asyncio.sleep(TICK_S)
        future = await self._producer.send(one.topic.full_name(self._prefix), one.value, one.key.encode())
        self._under_way += 1
        future.add_done_callback(partial(self._sent, one, sent_ms))

    def _sent(self, one: Input, sent_ms: int, future: "asyncio.Future[Any]") -> None:
        self._under_way -= 1
        if future.cancelled():
            return
        if future.exception() is not None:
            self._error = future.exception()
            return
        at = future.result()
        self.newest[at.topic, at.partition] = at.offset
        self.bad += one.bad
        self._ledger.record_sent(
            at.topic, at.partition, at.offset, sent_ms=sent_ms, user=one.user, event_ms=one.time_ms
        )
