"""What an agent reads: everything that its queue holds, as one list of chunks. Knows nothing of what records mean."""

from collections.abc import AsyncIterator
from typing import Any

from agents.transport.consumer import Chunk

MAX_RECORDS = 512  # one pipeline to Redis; larger ones gain nothing and delay their first event


async def chunks(stream: Any) -> AsyncIterator[list[Chunk]]:
    """Yield what is there as soon as anything is there; ends when Faust stops the agent.

    There is no delay to set: at low load a list holds one record, under load it grows by itself up to `MAX_RECORDS`.
    """
    queue = stream.channel.queue
    try:
        while True:
            taken = [await queue.get()]
            count = len(taken[0].records)
            while count < MAX_RECORDS and not queue.empty():
                taken.append(queue.get_nowait())
                count += len(taken[-1].records)
            for chunk in taken:
                chunk.window.take(len(chunk.records))
            yield taken
    except StopAsyncIteration:  # Faust throws it into the queue to stop an agent
        return
