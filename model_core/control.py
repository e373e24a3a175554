"""Asking a running worker how it is, and to serve another checkpoint. Needs no torch; the command line uses it."""

import time
from typing import Self

import zmq

from schemas.control import ControlQuery, ControlReply, Reload, Reloaded, StatsQuery, WorkerStats
from schemas.control import control_encoder as encoder
from schemas.control import control_reply_decoder as decoder
from schemas.inference import PROTOCOL, Refused

LOOK_S = 5.0  # how often it is asked whether it lives, while a reload is under way


class WorkerUnreachable(RuntimeError):  # noqa: N818 - a state of the worker
    """No usable answer came from a worker's control endpoint."""


class ReloadFailed(RuntimeError):  # noqa: N818 - what became of it
    """The worker goes on with the checkpoint that it had; the message says why."""


def query_stats(endpoint: str, timeout_s: float) -> WorkerStats:
    """The worker's counts; raises `WorkerUnreachable` when none come within `timeout_s`."""
    with _Question(endpoint, StatsQuery()) as question:
        reply = question.reply(timeout_s)
    if reply is None:
        raise WorkerUnreachable(
            f"no answer from {endpoint} within {timeout_s:g} s: is a worker running with --control {endpoint}?"
        )
    if not isinstance(reply, WorkerStats):
        raise WorkerUnreachable(f"{endpoint} answers something else: {reply}")
    return reply


def reload_model(endpoint: str, asked: Reload, timeout_s: float) -> Reloaded:
    """Have a worker serve another checkpoint, and return when it does.

    Raises `ReloadFailed` where it goes on with the old one, and `WorkerUnreachable` where it cannot be reached, is
    restarted meanwhile, or has not answered within `timeout_s`; then it may still reload.
    """
    until_s = time.monotonic() + timeout_s
    epoch = query_stats(endpoint, min(timeout_s, LOOK_S)).epoch
    with _Question(endpoint, asked) as question:
        while (reply := question.reply(min(LOOK_S, max(0.0, until_s - time.monotonic())))) is None:
            if time.monotonic() >= until_s:
                raise WorkerUnreachable(f"{endpoint} has not reloaded within {timeout_s:g} s, and may still")
            if query_stats(endpoint, LOOK_S).epoch != epoch:
                raise WorkerUnreachable(f"the worker at {endpoint} was restarted before it had reloaded: ask again")
    if isinstance(reply, Refused):
        raise ReloadFailed(reply.reason)
    if not isinstance(reply, Reloaded):
        raise WorkerUnreachable(f"{endpoint} answers something else: {reply}")
    return reply


class _Question:
    """One question on a socket of its own."""

    def __init__(self, endpoint: str, query: ControlQuery) -> None:
        self._endpoint = endpoint
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.connect(endpoint)
        self._socket.send_multipart([PROTOCOL, encoder.encode(query)])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        self._context.term()

    def reply(self, timeout_s: float) -> ControlReply | None:
        """None where there is none yet."""
        if not self._socket.poll(round(timeout_s * 1000)):
            return None
        protocol, *message = self._socket.recv_multipart()
        if protocol != PROTOCOL or len(message) != 1:
            raise WorkerUnreachable(
                f"{self._endpoint} speaks {protocol!r}, not {PROTOCOL!r}: upgrade the older of the two"
            )
        return decoder.decode(message[0])
