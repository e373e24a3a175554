"""`python -m benchmarks.faults.proxy HOST:PORT`: between clients and a broker, to make its group coordinator slow.

A process of its own, so that it takes no time from the ledger. Prints its own address; then each line on stdin is two
numbers, the least and the most seconds by which answers of the coordinator are delayed from now on ("0 0": not at all).
Ends with its stdin. Knows the frames of Kafka's protocol, the numbers of the coordinator's requests, and that answers
on a connection come in the order of the requests; of what is in them only the broker's address, which it replaces by
its own in every answer, so that clients keep coming this way.
"""

import asyncio
import contextlib
import random
import struct
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any

# OffsetCommit, OffsetFetch, FindCoordinator, JoinGroup, Heartbeat, LeaveGroup, SyncGroup
COORDINATOR = frozenset({8, 9, 10, 11, 12, 13, 14})


class Proxy:
    """Passes every connection on. `delay_s`: from and to."""

    def __init__(self, host: str, port: int, chance: random.Random) -> None:
        self._host, self._port = host, port
        self._chance = chance
        self._theirs = _address(host, port)
        self._ours = b""
        self.delay_s = (0.0, 0.0)

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._connection, self._host, 0)
        self._ours = _address(self._host, server.sockets[0].getsockname()[1])
        return server

    async def _connection(self, client: asyncio.StreamReader, back: asyncio.StreamWriter) -> None:
        try:
            broker, forth = await asyncio.open_connection(self._host, self._port)
        except OSError:  # the broker is away: so are we
            back.close()
            return
        kinds: deque[int] = deque()  # of the requests that are not answered; clients bound them
        await _first_of(self._requests(client, forth, kinds), self._answers(broker, back, kinds))
        for writer in (forth, back):
            writer.close()

    async def _requests(self, client: asyncio.StreamReader, forth: asyncio.StreamWriter, kinds: deque[int]) -> None:
        while True:
            frame = await _frame(client)
            kinds.append(struct.unpack_from(">h", frame, 4)[0])
            forth.write(frame)
            await forth.drain()

    async def _answers(self, broker: asyncio.StreamReader, back: asyncio.StreamWriter, kinds: deque[int]) -> None:
        while True:
            frame = await _frame(broker)
            if kinds.popleft() in COORDINATOR and self.delay_s[1]:
                await asyncio.sleep(self._chance.uniform(*self.delay_s))
            if len(frame) < 65_536:  # answers that name brokers are small
                frame = frame.replace(self._theirs, self._ours)
            back.write(frame)
            await back.drain()


def _address(host: str, port: int) -> bytes:
    """A host and a port as Kafka's answers hold them: of equal length for all ports."""
    return host.encode() + struct.pack(">i", port)


async def _frame(reader: asyncio.StreamReader) -> bytes:
    size = await reader.readexactly(4)
    return size + await reader.readexactly(struct.unpack(">i", size)[0])


async def _first_of(*ways: Coroutine[Any, Any, None]) -> None:
    """Run both ways until one ends, as each does when its connection breaks."""
    tasks = [asyncio.create_task(way) for way in ways]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError, asyncio.IncompleteReadError, OSError):
            await task


async def main(broker: str) -> None:
    host, _, port = broker.rpartition(":")
    proxy = Proxy(host, int(port), random.Random(port))
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    server = await proxy.start()
    print(f"{host}:{server.sockets[0].getsockname()[1]}", flush=True)
    while line := await orders.readline():
        least_s, most_s = map(float, line.split())
        proxy.delay_s = (least_s, most_s)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
