"""What a real worker process makes of messages that a `WorkerClient` would never send."""

import signal
from typing import Self

import msgspec
import pytest
import zmq

from model_core.control import WorkerUnreachable, query_stats
from model_core.stub import stub_result
from schemas.inference import (
    PROTOCOL,
    Draining,
    EncodeRequest,
    Goodbye,
    Hello,
    Ping,
    Pong,
    Ready,
    RecommendRequest,
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
from tests.worker.processes import BOUND_S, PLENTY_MS, Processes, state


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
        assert wire.receive() == Refused("this worker speaks footfall/4: upgrade the older of the two")


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
        wire.send(Submit(ready.epoch, "stub", (EncodeRequest(1, 1000, "hello"),)))
        assert wire.receive() == Refused("model 'stub' takes no requests of this kind")
        not_a_state = msgspec.Raw(b"\xa1x")
        wire.send(Submit(ready.epoch, "stub", (RecommendRequest(1, 1000, 0, not_a_state),)))
        assert isinstance(wire.receive(), Replies)
    assert query_stats(processes.endpoint("w-control"), BOUND_S).ignored == len(malformed) + 2


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
        assert ready.max_in_flight == 32
        requests = tuple(RecommendRequest(i, PLENTY_MS, 0, state()) for i in range(34))
        wire.send(Submit(ready.epoch, "stub", requests))
        wire.send(Submit(ready.epoch, "stub", requests[:3]))
        replies: list[Reply] = []
        while len(replies) < 34:
            message = wire.receive()
            assert isinstance(message, Replies)
            replies += message.replies
        assert sorted(reply.id for reply in replies) == list(range(34))
        assert {reply.id for reply in replies if isinstance(reply, Shed)} == {32, 33}
        wire.send(Ping(1))
        assert wire.receive() == Pong(1)


def test_a_client_may_never_have_more_outstanding_than_a_message_may_hold(processes: Processes) -> None:
    processes.start("--max-batch", "100")
    with Wire(processes.endpoint()) as wire:
        assert wire.hello().max_in_flight == 1024


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
