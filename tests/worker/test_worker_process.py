"""A real worker process with the stub model, over a real socket."""

import asyncio
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import msgspec
import pytest
import zmq

from model_core.control import WorkerUnreachable, query_stats, reload_model
from model_core.stub import stub_result
from schemas.control import Reload
from schemas.inference import (
    PROTOCOL,
    Draining,
    Failure,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Ready,
    RecommendRequest,
    RecommendResult,
    Refused,
    Replies,
    Reply,
    Shed,
    Submit,
    ToAgent,
    ToWorker,
    to_agent_decoder,
    to_worker_encoder,
)
from tests.worker.processes import BOUND_S, PLENTY_MS, Processes, connected, state


@pytest.fixture
def processes() -> Iterator[Processes]:
    # ipc paths are limited to 107 bytes, which pytest's own directories may exceed
    with tempfile.TemporaryDirectory(prefix="fw-") as directory:
        owner = Processes(Path(directory))
        yield owner
        for process in owner.started:
            process.kill()
            process.wait()


async def test_requests_are_answered_with_their_own_results(processes: Processes) -> None:
    processes.start()
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(200))  # before the worker is there
        await agent.answered(200)
        assert agent.replies == {i: stub_result(i) for i in range(200)}
        # a second hello, sent before the first was answered, is answered too
        assert {(m.name, m.version, len(m.popular)) for m in agent.models} == {("stub", "stub-1", 100)}
        assert agent.client.available
        assert agent.client.away_s == 0.0
        assert (agent.client.outstanding, agent.client.queued) == (0, 0)


async def test_failing_members_fail_alone(processes: Processes) -> None:
    processes.start()
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(10))
        agent.submit(range(10, 11), "stub-raise")
        agent.submit(range(11, 12), "stub-invalid")
        agent.submit(range(12, 20))
        await agent.answered(20)
        failures = {i: reply for i, reply in agent.replies.items() if isinstance(reply, Failure)}
        assert set(failures) == {10, 11}
        assert failures[10].error.startswith("RuntimeError in stub.py:")
        assert failures[11].error == "InvalidInput: the state holds the marker stub-invalid"


async def test_the_stub_can_be_given_larger_batches_and_smaller_answers(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "256", "--stub-candidates", "2")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(300))
        await agent.answered(300)
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
        assert agent.replies == {i: stub_result(i, 2) for i in range(300)}
    assert len(stub_result(0, 2).item_ids) == 2
    assert stats.batches <= 3  # one may leave before the message is read to its end; of 64 it would be five


async def test_a_spent_budget_is_shed(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "1")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(2))  # one on the device, one prefetched
        agent.submit(range(2, 4), budget_ms=50)
        await agent.answered(4)
        assert {i for i, reply in agent.replies.items() if isinstance(reply, Shed)} == {2, 3}


async def test_batches_grow_while_the_worker_is_busy(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "32")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        for request_id in range(40):  # one message each
            agent.submit(range(request_id, request_id + 1))
            await asyncio.sleep(0)
        await agent.answered(40)
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
    # how many arrive during one batch is the machine's affair; one by one they would take 40 batches
    assert max(agent.sizes) >= 5
    assert stats.batches <= 12
    assert (stats.requests, stats.failures, stats.queued, stats.clients) == (40, 0, 0, 1)
    assert stats.mean_batch_size == stats.requests / stats.batches
    assert 0 < stats.busy_share <= 1
    (runs,) = stats.runs
    assert (runs.batches, runs.requests, runs.padding_share) == (stats.batches, 40, 0.0)
    assert runs.forward_ms > 0


async def test_sigterm_answers_what_was_accepted_and_leaves_the_rest_for_the_next(processes: Processes) -> None:
    first = processes.start("--stub-ms", "30", "--max-batch", "4")
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(40))  # 16 are accepted at a time
        await agent.answered(1)
        first.send_signal(signal.SIGTERM)
        await agent.until(lambda: not agent.client.available)
        assert await asyncio.to_thread(first.wait, BOUND_S) == 0
        await agent.until(lambda: agent.client.outstanding == 0)
        assert len(agent.replies) >= 16
        assert len(agent.replies) + agent.client.queued == 40
        processes.start(name="w")
        await agent.answered(40)
        assert all(isinstance(reply, RecommendResult) for reply in agent.replies.values())


async def test_a_worker_reloads_while_requests_stream(processes: Processes) -> None:
    processes.start("--stub-ms", "1", "--max-batch", "4")
    folder = processes.directory / "stub-2"
    folder.mkdir()
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        asked = Reload(model="stub", path=str(folder))
        reloading = asyncio.create_task(
            asyncio.to_thread(reload_model, processes.endpoint("w-control"), asked, BOUND_S)
        )
        count = 0
        while not reloading.done() or count < 100:
            agent.submit(range(count, count + 5))
            count += 5
            await agent.answered(count - 10)
        agent.submit(range(count, count + 5))
        await agent.answered(count + 5)
        assert (await reloading).previous == "stub-1"
        await agent.until(lambda: agent.models[-1].version == "stub-2")
    assert agent.versions == sorted(agent.versions)
    assert agent.versions[-1] == "stub-2"
    for request_id, reply in agent.replies.items():
        assert reply in (stub_result(request_id), stub_result(request_id, version="stub-2"))
    assert agent.replies[count] == stub_result(count, version="stub-2")


async def test_a_killed_worker_loses_nothing(processes: Processes) -> None:
    first = processes.start("--stub-ms", "20", "--max-batch", "4")
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(60))
        await agent.answered(4)
        first.kill()
        await agent.until(lambda: not agent.client.available)
        assert agent.client.outstanding == 0
        assert agent.client.away_s >= 0
        assert len(agent.replies) + agent.client.queued == 60
        processes.start()
        await agent.answered(60)
        assert agent.replies == {i: stub_result(i) for i in range(60)}
        assert len(agent.models) >= 2


async def test_another_worker_takes_over_at_once(processes: Processes) -> None:
    first = processes.start("--stub-ms", "20", "--max-batch", "4", name="a")
    processes.start("--stub-ms", "20", "--max-batch", "4", name="b")
    async with connected(processes.endpoint("a"), processes.endpoint("b")) as agent:
        await agent.until(lambda: len(agent.models) == 2)
        agent.submit(range(60))
        await agent.answered(4)
        first.kill()
        await agent.answered(60)
        assert agent.client.available


async def test_a_broken_device_ends_the_process_with_70_and_its_successor_answers(processes: Processes) -> None:
    first = processes.start()
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(1), "stub-fault")
        assert await asyncio.to_thread(first.wait, BOUND_S) == 70
        await agent.until(lambda: not agent.client.available)
        agent.client.cancel([0])
        agent.submit(range(1, 3))
        processes.start()
        await agent.answered(2)


async def test_a_cancelled_request_is_not_answered(processes: Processes) -> None:
    processes.start("--stub-ms", "20", "--max-batch", "1")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(12))  # four are accepted at a time: some of the cancelled wait here, some there
        await agent.answered(1)
        agent.client.cancel([2, 3, 4, 10])
        await agent.until(lambda: agent.client.outstanding + agent.client.queued == 0)
        assert set(agent.replies) == set(range(12)) - {2, 3, 4, 10}
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
        assert stats.requests < 12


class Wire:
    """A bare DEALER, for what a `WorkerClient` would never send."""

    def __init__(self, endpoint: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.linger = 0
        self.socket.connect(endpoint)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
        self.context.term()

    def send(self, message: ToWorker) -> None:
        self.socket.send_multipart([PROTOCOL, to_worker_encoder.encode(message)])

    def receive(self) -> ToAgent:
        assert self.socket.poll(BOUND_S * 1000), "the worker is silent"
        protocol, payload = self.socket.recv_multipart()
        assert protocol == PROTOCOL
        return to_agent_decoder.decode(payload)

    def hello(self) -> Ready:
        self.send(Hello("test"))
        ready = self.receive()
        assert isinstance(ready, Ready)
        return ready


def test_another_protocol_is_refused_by_name(processes: Processes) -> None:
    processes.start()
    with Wire(processes.endpoint()) as wire:
        wire.socket.send_multipart([b"footfall/99", to_worker_encoder.encode(Hello("test"))])
        assert wire.receive() == Refused("this worker speaks footfall/2: upgrade the older of the two")


def test_malformed_messages_are_refused_and_do_no_harm(processes: Processes) -> None:
    processes.start()
    malformed: list[list[bytes]] = [
        [b""],
        [PROTOCOL],
        [PROTOCOL, b""],
        [PROTOCOL, b"\xc1"],
        [PROTOCOL, b"\x91" * 2000],  # nested deeper than any decoder goes
        [PROTOCOL, b"\x93\xa4ping\x01" + b"\x91" * 3000 + b"\xc0"],  # and where nobody reads it
        [PROTOCOL, msgspec.msgpack.encode(["submit", "e"])],
        [PROTOCOL, msgspec.msgpack.encode(["hello", 7])],
        [PROTOCOL, msgspec.msgpack.encode(["no such message"])],
        [PROTOCOL, b"x", b"y"],
    ]
    with Wire(processes.endpoint()) as wire:
        for frames in malformed:
            wire.socket.send_multipart(frames)
            assert isinstance(wire.receive(), Refused)
        ready = wire.hello()
        wire.send(Submit(ready.epoch, "no such model", (RecommendRequest(1, 1000, 0, state()),)))
        assert wire.receive() == Refused("model 'no such model' is not served here: see Ready.models")
        not_a_state = msgspec.Raw(b"\xa1x")
        wire.send(Submit(ready.epoch, "stub", (RecommendRequest(1, 1000, 0, not_a_state),)))
        assert isinstance(wire.receive(), Replies)
    assert query_stats(processes.endpoint("w-control"), BOUND_S).ignored == len(malformed) + 1


def test_requests_of_another_epoch_are_ignored(processes: Processes) -> None:
    processes.start()
    with Wire(processes.endpoint()) as wire:
        ready = wire.hello()
        wire.send(Submit("older", "stub", (RecommendRequest(1, 1000, 0, state()),)))
        wire.send(Submit(ready.epoch, "stub", (RecommendRequest(2, 1000, 0, state()),)))
        assert wire.receive() == Replies(ready.epoch, "stub-1", (stub_result(2),))
        wire.send(Ping(5))
        assert wire.receive() == Pong(5)


def test_more_than_max_in_flight_is_shed_and_a_repeated_id_is_answered_once(processes: Processes) -> None:
    processes.start("--stub-ms", "50", "--max-batch", "2")
    with Wire(processes.endpoint()) as wire:
        ready = wire.hello()
        assert ready.max_in_flight == 8
        requests = tuple(RecommendRequest(i, PLENTY_MS, 0, state()) for i in range(10))
        wire.send(Submit(ready.epoch, "stub", requests))
        wire.send(Submit(ready.epoch, "stub", requests[:3]))
        replies: list[Reply] = []
        while len(replies) < 10:
            message = wire.receive()
            assert isinstance(message, Replies)
            replies += message.replies
        assert sorted(reply.id for reply in replies) == list(range(10))
        assert {reply.id for reply in replies if isinstance(reply, Shed)} == {8, 9}
        wire.send(Ping(1))
        assert wire.receive() == Pong(1)


def test_a_client_that_says_hello_again_starts_with_nothing_outstanding(processes: Processes) -> None:
    processes.start("--stub-ms", "300", "--max-batch", "1")
    with Wire(processes.endpoint()) as wire:
        epoch = wire.hello().epoch
        wire.send(Submit(epoch, "stub", tuple(RecommendRequest(i, PLENTY_MS, 0, state()) for i in range(4))))
        assert wire.hello().epoch == epoch
        wire.send(Submit(epoch, "stub", (RecommendRequest(9, PLENTY_MS, 0, state()),)))
        assert wire.receive() == Replies(epoch, "stub-1", (stub_result(9),))


def test_a_draining_worker_says_so_answers_and_says_goodbye(processes: Processes) -> None:
    process = processes.start("--stub-ms", "50", "--max-batch", "1")
    with Wire(processes.endpoint()) as wire:
        epoch = wire.hello().epoch
        wire.send(Submit(epoch, "stub", tuple(RecommendRequest(i, PLENTY_MS, 0, state()) for i in range(4))))
        assert wire.receive() == Replies(epoch, "stub-1", (stub_result(0),))
        process.send_signal(signal.SIGINT)
        rest = [wire.receive() for _ in range(5)]
        assert rest.index(Draining(epoch)) < 4
        assert [message for message in rest if message != Draining(epoch)] == [
            *(Replies(epoch, "stub-1", (stub_result(i),)) for i in (1, 2, 3)),
            Goodbye(epoch),
        ]
        assert process.wait(BOUND_S) == 0


def test_a_control_endpoint_refuses_what_it_does_not_know_and_goes_on(processes: Processes) -> None:
    processes.start()
    endpoint = processes.endpoint("w-control")
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        for frames in ([b"x"], [PROTOCOL, b"\xc1"], [b"footfall/99", b"\x91\xa5stats"],
                       [PROTOCOL, b"\x92\xa5stats" + b"\x91" * 3000 + b"\xc0"]):
            socket.send_multipart(frames)
            assert socket.poll(BOUND_S * 1000)
            assert b"refused" in socket.recv_multipart()[1]
    assert query_stats(endpoint, BOUND_S).ignored == 4


def test_a_worker_that_is_not_there_is_said_to_be_unreachable(processes: Processes) -> None:
    with pytest.raises(WorkerUnreachable, match="is a worker running with --control"):
        query_stats(processes.endpoint("nobody"), 0.01)


def test_an_endpoint_that_cannot_be_bound_ends_the_process_with_advice(processes: Processes) -> None:
    command = [sys.executable, "-m", "model_core", "--models", "stub", "--listen", f"ipc://{processes.directory}/no/w"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert finished.returncode == 2
    assert "does the directory of an ipc path exist" in finished.stderr
    assert finished.stdout == ""
