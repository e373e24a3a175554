"""Where the demo shows itself: a live screen on a terminal, plain lines elsewhere. Knows rich and refresh rates."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from rich.console import Console
from rich.live import Live

from footfall.demo.sampler import Sampler, pause
from footfall.demo.screen import plain_line, render

REFRESH_S = 0.25
LINE_S = 5.0
PROGRESS_S = 2.0


class Display:
    """`live`: take over the terminal while events stream. Otherwise a line every few seconds."""

    def __init__(self, console: Console, *, live: bool, started_s: float) -> None:
        self.console = console
        self._live = live
        self._started_s = started_s

    def say(self, text: str) -> None:
        """One line about what happens."""
        self.console.print(f"{time.monotonic() - self._started_s:6.1f} s  {text}", markup=False)

    def say_beside(self, text: str) -> None:
        """The same while the view is shown; a live screen says it itself."""
        if not self._live:
            self.say(text)

    def progress(self, what: str) -> Callable[[int, int], None]:
        """A function that says how far something is, every other second."""
        said_s = time.monotonic()

        def say(done: int, of: int) -> None:
            nonlocal said_s
            if time.monotonic() - said_s >= PROGRESS_S:
                said_s = time.monotonic()
                self.say(f"  {what}: {done:,} of {of:,}")

        return say

    @contextlib.asynccontextmanager
    async def showing(self, sampler: Sampler) -> AsyncIterator[None]:
        """Show the view until the block ends. What ends the showing early ends the block."""
        async with asyncio.TaskGroup() as group:
            for loop in (sampler.ask(), sampler.follow_customers(), self._show(sampler)):
                group.create_task(loop)
            try:
                yield
            finally:
                sampler.stopping.set()

    async def _show(self, sampler: Sampler) -> None:
        if not self._live:
            next_line_s = time.monotonic() + LINE_S
            while not sampler.stopping.is_set():
                view = sampler.view()
                if time.monotonic() >= next_line_s:
                    next_line_s += LINE_S
                    self.console.print(plain_line(view), markup=False, soft_wrap=True)
                await pause(REFRESH_S, sampler.stopping)
            return
        with Live(console=self.console, screen=True, auto_refresh=False) as live:
            while not sampler.stopping.is_set():
                width, height = self.console.size
                live.update(render(sampler.view(), width, height), refresh=True)
                await pause(REFRESH_S, sampler.stopping)
