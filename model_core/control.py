"""Asking a running worker how it is. Needs no torch; the command line uses it."""

import zmq

from schemas.inference import (
    PROTOCOL,
    Refused,
    StatsQuery,
    WorkerStats,
    control_encoder,
    control_reply_decoder,
)


class WorkerUnreachable(RuntimeError):  # noqa: N818 - a state of the worker
    """No usable answer came from a worker's control endpoint."""


def query_stats(endpoint: str, timeout_s: float) -> WorkerStats:
    """The worker's counts; raises `WorkerUnreachable` when none come within `timeout_s`."""
    with zmq.Context() as context, context.socket(zmq.REQ) as socket:
        socket.linger = 0
        socket.connect(endpoint)
        socket.send_multipart([PROTOCOL, control_encoder.encode(StatsQuery())])
        if not socket.poll(round(timeout_s * 1000)):
            raise WorkerUnreachable(
                f"no answer from {endpoint} within {timeout_s:g} s: is a worker running with --control {endpoint}?"
            )
        protocol, *message = socket.recv_multipart()
    if protocol != PROTOCOL or len(message) != 1:
        raise WorkerUnreachable(f"{endpoint} speaks {protocol!r}, not {PROTOCOL!r}: upgrade the older of the two")
    reply = control_reply_decoder.decode(message[0])
    if isinstance(reply, Refused):
        raise WorkerUnreachable(f"{endpoint} refused: {reply.reason}")
    return reply
