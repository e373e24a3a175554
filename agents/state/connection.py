"""Connects to Redis, and sends it many commands at once."""

from collections.abc import Sequence
from typing import Any

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import DefaultParser


class _Parser(DefaultParser):  # type: ignore[misc, valid-type]  # which class it is depends on hiredis, which we have
    """redis-py's parser, which also gives, in one go, all answers that have arrived."""

    def on_connect(self, connection: Any) -> None:
        super().on_connect(connection)
        self._nothing = self._reader.gets()  # what stands for "not enough data"
        connection.arrived = self._arrived

    def _arrived(self, at_most: int) -> list[Any]:
        """Answers, errors among them, whose bytes were read together with those of earlier ones. Reads no socket."""
        answers: list[Any] = []
        while len(answers) < at_most and (answer := self._reader.gets()) is not self._nothing:
            answers.append(answer)
        return answers


def connect(url: str, max_connections: int = 8) -> Redis:
    """A client for one Redis. Opens nothing yet; time-outs are those of `agents.state.scripts`.

    With RESP2, which has no pushed messages among the answers.
    """
    return Redis.from_url(
        url, socket_timeout=None, max_connections=max_connections, protocol=2, parser_class=_Parser,
    )


async def send_all(redis: Redis, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Send commands in one write and return their answers in order. `redis`: of `connect`.

    As redis-py's pipeline, at a fraction of its CPU time per command (docs/performance.md): packed by hiredis, in C,
    without the per-command hooks, and answers that arrive together are taken together. Raises the first error that is
    among the answers.
    """
    pool = redis.connection_pool
    connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        await connection.send_packed_command(b"".join([hiredis.pack_command(command) for command in commands]))
        answers: list[Any] = []
        while len(answers) < len(commands):
            answers.append(await connection.read_response())
            answers += connection.arrived(len(commands) - len(answers))
    except BaseException:
        await connection.disconnect(nowait=True)  # or answers not read yet would be taken for the next caller's
        raise
    finally:
        await pool.release(connection)
    error = next((answer for answer in answers if isinstance(answer, Exception)), None)
    if error is not None:
        raise error
    return answers
