"""`footfall replay`: sends a data set to the topics and nothing else; it scores nothing and loads no histories."""

import asyncio
import contextlib
import math
import signal
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime

import click

from footfall import topics
from footfall.replay import material
from footfall.replay.kafka import KafkaTransport
from footfall.replay.runner import Pace, Progress, Replay
from footfall.replay.support import SupportMessages
from schemas.settings import Settings

LINE_S = 5.0


class WallClock:
    """The real one."""

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run_replay(*, dataset: str, speed: float, events: int | None, seed: int) -> int:
    """Send catalogue, stock, clicks, purchases and support messages in event time, until `events`, the end, or Ctrl-C.

    The same seed gives the same events with the same ids: a second replay to the same topics is a redelivery. Raises
    TopicsError when the broker cannot be reached.
    """
    return asyncio.run(_replay(Settings.from_environment(), dataset, speed, events, seed))


async def _replay(settings: Settings, dataset: str, speed: float, events: int | None, seed: int) -> int:
    await topics.create(settings)
    checkpoint, there = material.checkpoint_for(dataset, settings.home)
    from_ms = material.trained_until_ms(checkpoint) if there else None
    made = await asyncio.to_thread(material.prepare, dataset, from_ms, seed, str(seed))
    start = f"{made.from_local:%d %b %Y}"
    click.echo(
        f"{dataset} from {start} on to {settings.prefix}.*; all but the purchases is simulated: clicks, stock levels, "
        "orders, support messages"
    )
    progress = Progress()
    transport = KafkaTransport(topics.client_options(settings), settings.prefix, None)
    await transport.start()
    try:
        for message in made.opening():
            await transport.send(message)
        support = SupportMessages(await asyncio.to_thread(made.enquiries), made.run, transport.send, WallClock())
        replay = Replay(
            made.steps(), transport, None, Pace(speed, WallClock()), None, made.stock, events=events or math.inf,
            run_name=made.run.name, progress=progress, support=support,
        )
        async with asyncio.TaskGroup() as group, ended_by_signals(replay.stop):
            lines = group.create_task(_say(progress))
            await replay.run()
            await support.finish(lambda: replay.stopping)
            lines.cancel()
        await transport.flush()
    finally:
        await transport.stop()
    sent, levels = f"{progress.sent:,} events, {progress.purchases:,} of them purchases", f"{progress.stock_levels:,}"
    click.echo(f"sent {sent}, {levels} levels, {support.sent} support messages")
    return 0


async def _say(progress: Progress) -> None:
    while True:
        await asyncio.sleep(LINE_S)
        at = datetime.fromtimestamp((progress.now_ms or 0) / 1000, UTC)
        print(f"{at:%d %b %Y %H:%M} UTC  {progress.sent:,} events", flush=True)


@contextlib.asynccontextmanager
async def ended_by_signals(stop: Callable[[], None]) -> AsyncIterator[None]:
    """Ctrl-C and SIGTERM call `stop`; what was sent is still finished by the block."""
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stop)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
