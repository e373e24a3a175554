"""The client's own part: time, silence, strangers. A ROUTER in the test plays the worker."""

import asyncio
import logging
import select
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvloop
import zmq
from msgspec import Raw

from agents.worker_client import WorkerClient
from schemas.inference import (
    PROTOCOL,
    Hello,
    ModelInfo,
    Ping,
    Pong,
    Ready,
    RecommendResult,
    Replies,
    Reply,
    Submit,
    ToAgent,
    ToWorker,
    Updated,
    to_agent_encoder,
    to_worker_decoder,
)

BOUND_S = 20.0
STATE = Raw(b"\x90")


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeWorker:
    """Says what the test tells it to."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.router = self.context.socket(zmq.ROUTER)
        self.router.linger = 0
        self.router.bind(endpoint)
        self.identity = b""

    def close(self) -> None:
        self.router.close()
        self.context.term()

    def say(self, message: ToAgent) -> None:
        self.router.send_multipart([self.identity, PROTOCOL, to_agent_encoder.encode(message)])

    async def hear(self, kind: type[ToWorker]) -> ToWorker:
        """The next message of this kind; pings are answered on the way, others are passed over."""
        async with asyncio.timeout(BOUND_S):
            while True:
                while not self.router.poll(0):
                    await asyncio.sleep(0.002)
                self.identity, _, payload = self.router.recv_multipart()
                message = to_worker_decoder.decode(payload)
                if isinstance(message, kind):
                    return message
                if isinstance(message, Ping):
                    self.say(Pong(message.n))


@pytest.fixture
def endpoint() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="fw-") as directory:
        yield f"ipc://{directory}/w"


@asynccontextmanager
async def client_of(
    endpoint: str, clock: Clock, on_replies: Callable[[Sequence[Reply]], None] = lambda _: None,
    on_model: Callable[[ModelInfo], None] = lambda _: None,
    on_lost: Callable[[Sequence[int]], None] = lambda _: None,
) -> AsyncIterator[WorkerClient]:
    client = WorkerClient(
        [endpoint], "m", on_replies=lambda replies, _: on_replies(replies), on_model=on_model, on_lost=on_lost,
        clock=clock, heartbeat_s=0.01,
    )
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND_S):
        while not condition():
            await asyncio.sleep(0.002)


def ready(epoch: str, model: str = "m") -> Ready:
    return Ready(epoch, (ModelInfo(model, "1", ("7",)),), 2)


async def test_away_grows_until_a_worker_is_ready(endpoint: str) -> None:
    clock = Clock()
    async with client_of(endpoint, clock) as client:
        assert client.away_s == 0.0
        clock.now_s += 2.5
        assert (client.available, client.away_s, client.model) == (False, 2.5, None)
        worker = FakeWorker(endpoint)
        await worker.hear(Hello)
        worker.say(ready("e"))
        await until(lambda: client.available)
        assert client.away_s == 0.0
        assert client.model == ModelInfo("m", "1", ("7",))
        worker.close()
        await until(lambda: not client.available)
        clock.now_s += 1.5
        assert client.away_s == 1.5


async def test_a_silent_worker_is_lost_and_what_it_held_goes_to_its_next_epoch(endpoint: str) -> None:
    clock, replies, lost = Clock(), list[Reply](), list[int]()
    worker = FakeWorker(endpoint)
    async with client_of(endpoint, clock, replies.extend, on_lost=lost.extend) as client:
        await worker.hear(Hello)
        worker.say(ready("one"))
        client.submit(1, (0, STATE), 60_000)
        first = await worker.hear(Submit)
        assert isinstance(first, Submit)
        clock.now_s += 3.1  # silent, though connected
        await until(lambda: not client.available)
        assert (client.outstanding, client.queued, lost) == (0, 1, [1])
        late = RecommendResult.of(1, [])
        worker.say(Replies("one", "1", (late,)))
        await worker.hear(Hello)
        worker.say(ready("two"))
        second = await worker.hear(Submit)
        assert isinstance(second, Submit)
        assert (first.epoch, second.epoch) == ("one", "two")
        assert [(r.id, r.budget_ms) for r in second.requests] == [(1, 56_900)]
        assert replies == []
        worker.say(Replies("two", "1", (late, late)))
        await until(lambda: replies == [late])
        assert (client.outstanding, client.queued) == (0, 0)
    worker.close()


async def test_a_new_epoch_without_a_break_gets_the_outstanding_again(endpoint: str) -> None:
    worker = FakeWorker(endpoint)
    async with client_of(endpoint, Clock()) as client:
        await worker.hear(Hello)
        worker.say(ready("one"))
        client.submit(1, (0, STATE), 1000)
        await worker.hear(Submit)
        worker.say(ready("two"))
        again = await worker.hear(Submit)
        assert isinstance(again, Submit)
        assert (again.epoch, [r.id for r in again.requests]) == ("two", [1])
    worker.close()


async def test_what_is_submitted_in_one_turn_leaves_in_one_message_within_the_credit(endpoint: str) -> None:
    worker = FakeWorker(endpoint)
    async with client_of(endpoint, Clock()) as client:
        await worker.hear(Hello)
        worker.say(ready("e"))
        await until(lambda: client.available)
        for request_id in range(3):
            client.submit(request_id, (0, STATE), 1000)
        first = await worker.hear(Submit)
        assert isinstance(first, Submit)
        assert [r.id for r in first.requests] == [0, 1]
        assert (client.outstanding, client.queued) == (2, 1)
        worker.say(Replies("e", "1", (RecommendResult.of(0, []),)))
        second = await worker.hear(Submit)
        assert isinstance(second, Submit)
        assert [r.id for r in second.requests] == [2]
    worker.close()


async def test_a_worker_of_another_protocol_is_reported_once(
    endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    worker = FakeWorker(endpoint)
    async with client_of(endpoint, Clock()) as client:
        for _ in range(3):
            await worker.hear(Hello)
            worker.router.send_multipart([worker.identity, b"footfall/99", b"?"])
        worker.router.send_multipart([worker.identity, PROTOCOL, b"\xc1"])
        await until(lambda: "MessagePack data is malformed" in caplog.text)
        worker.router.send_multipart([worker.identity, PROTOCOL, b"\x93\xa4pong\x01" + b"\x91" * 3000 + b"\xc0"])
        await until(lambda: "recursion" in caplog.text)
        assert not client.available
    worker.close()
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 3
    assert "it does not speak footfall/4: upgrade the older of the two" in errors[0]


async def test_who_was_connected_all_the_time_hears_of_a_reload_and_of_who_answered(endpoint: str) -> None:
    worker, models, versions = FakeWorker(endpoint), list[ModelInfo](), list[str]()
    client = WorkerClient(
        [endpoint], "m", on_replies=lambda _, version: versions.append(version), on_model=models.append,
        heartbeat_s=0.01,
    )
    await client.start()
    await worker.hear(Hello)
    worker.say(ready("e"))
    for request_id in (1, 2):
        client.submit(request_id, (0, STATE), 60_000)
    await worker.hear(Submit)
    new = ModelInfo("m", "2", ("8", "7"))
    worker.say(Updated("e", new))
    worker.say(Replies("e", "1", (RecommendResult.of(1, []),)))
    worker.say(Replies("e", "2", (RecommendResult.of(2, []),)))
    await until(lambda: len(versions) == 2)
    assert versions == ["1", "2"]
    assert models == [ModelInfo("m", "1", ("7",)), new]
    assert (client.model, client.outstanding, client.queued) == (new, 0, 0)
    await client.stop()
    worker.close()


async def test_a_worker_without_our_model_does_not_count(endpoint: str) -> None:
    worker = FakeWorker(endpoint)
    async with client_of(endpoint, Clock()) as client:
        await worker.hear(Hello)
        worker.say(ready("e", model="other"))
        await worker.hear(Ping)
        assert not client.available
    worker.close()


def test_no_endpoint_is_an_error_that_names_the_setting() -> None:
    with pytest.raises(ValueError, match="FOOTFALL_WORKERS"):
        WorkerClient([], "m", on_replies=lambda *_: None)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run], ids=["asyncio", "uvloop"])
def test_no_message_waits_for_a_heartbeat(endpoint: str, run: Callable[[Coroutine[Any, Any, None]], None]) -> None:
    """ZeroMQ's descriptor signals edges: one that is missed would stall the client until its next heartbeat."""

    async def ping_pong() -> None:
        answered = asyncio.Event()
        client = WorkerClient([endpoint], "m", on_replies=lambda *_: answered.set(), heartbeat_s=3600)
        worker = FakeWorker(endpoint)
        await client.start()
        await worker.hear(Hello)
        worker.say(ready("e"))
        for request_id in range(300):
            client.submit(request_id, (0, STATE), 1000)
            await worker.hear(Submit)
            worker.say(Replies("e", "1", (RecommendResult.of(request_id, []),)))
            async with asyncio.timeout(BOUND_S):
                await answered.wait()
            answered.clear()
        await client.stop()
        worker.close()

    run(ping_pong())


async def test_a_reply_that_arrives_while_the_client_sends_is_not_overlooked(endpoint: str) -> None:
    answered = asyncio.Event()
    client = WorkerClient([endpoint], "m", on_replies=lambda *_: answered.set(), heartbeat_s=3600)
    worker = FakeWorker(endpoint)
    await client.start()
    await worker.hear(Hello)
    worker.say(ready("e"))
    client.submit(1, (0, STATE), 1000)
    client.submit(2, (0, STATE), 1000)
    await worker.hear(Submit)
    await asyncio.sleep(0)
    worker.say(Replies("e", "1", (RecommendResult.of(1, []),)))
    descriptor = client._links[0].dealer.fileno()
    assert select.select([descriptor], [], [], BOUND_S)[0]  # it has arrived, and the loop has not seen it
    client.cancel([2])  # sends, which takes the signal away
    assert not select.select([descriptor], [], [], 0)[0]
    async with asyncio.timeout(BOUND_S):
        await answered.wait()
    await client.stop()
    worker.close()
