"""Keeps child processes running: restarts with exponential backoff, stops them with us, says what happens to them.

A child that ends with BAD_SETTINGS is given up: started again, it would end the same way. Each child runs under
`footfall.guard`, so it ends even when this process is killed. Knows nothing of what the children do.
"""

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, Self, cast

import msgspec
from msgspec import Struct

from agents.backoff import spread_s
from footfall import guard

BAD_SETTINGS = 2  # what our own commands, and argparse and click, exit with
STOP_GRACE_S = 10.0
TAIL_LINES = 15
_TAIL_BYTES = 8192


class Process(Struct, frozen=True, kw_only=True):
    """What to run. `environment` adds to ours. Without `log_path` the child's output goes to our stderr.

    A child that has once written to FOOTFALL_HEARTBEAT_FD and is then silent for `alive_within_s` and a second is
    killed, and started again as after any end; 0: nobody listens. See `footfall.guard`.
    """

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str] = {}
    log_path: Path | None = None
    alive_within_s: float = 0.0


class Backoff(Struct, frozen=True, kw_only=True):
    """How long to wait before a restart: doubles from `first_s` to `longest_s`, half of it by chance.

    Chance keeps several children from returning at the same moment. A run of `stable_s` starts the series anew.
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    stable_s: float = 30.0

    def delay_s(self, failures: int, chance: float) -> float:
        """Seconds before the restart after this many failures in a row (at least 1); `chance` in [0, 1)."""
        ceiling_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return spread_s(ceiling_s, chance)


class ProcessEvent(Struct, frozen=True, kw_only=True):
    """Something happened to a child. `exit_code` is 128 + signal where a signal ended it."""

    name: str
    kind: Literal["started", "exited", "stopped", "given up"]
    pid: int
    exit_code: int | None = None
    restart_in_s: float | None = None
    log_tail: str = ""

    def __str__(self) -> str:
        if self.kind == "started":
            return f"{self.name} started (pid {self.pid})"
        if self.kind == "stopped":
            return f"{self.name} stopped ({describe_exit(self.exit_code)})"
        tail = f"; the end of its log:\n{self.log_tail}" if self.log_tail else ""
        if self.kind == "given up":
            return f"{self.name} ended ({describe_exit(self.exit_code)}): fix the settings; not started again{tail}"
        return f"{self.name} ended ({describe_exit(self.exit_code)}), starts again in {self.restart_in_s:.1f} s{tail}"


class ProcessState(Struct, frozen=True, kw_only=True):
    """A child as it is now."""

    running: bool = False
    given_up: bool = False
    pid: int | None = None
    restarts: int = 0
    last_exit: int | None = None
    log_tail: str = ""


class Child(Protocol):
    """A running process, as the supervisor sees it."""

    @property
    def pid(self) -> int: ...
    async def wait(self) -> int:
        """Wait for its end; the exit code."""
        ...

    async def stop(self) -> int:
        """Ask it to end, make it end when it does not; the exit code."""
        ...


class Supervisor:
    """`async with Supervisor([...]) as supervisor:` runs the processes until the block ends or `stop` is called.

    An error of `on_event` ends the block, in an ExceptionGroup.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        *,
        on_event: Callable[[ProcessEvent], None] = lambda _: None,
        backoff: Backoff = Backoff(),  # noqa: B008  frozen
        stop_grace_s: float = STOP_GRACE_S,
        launch: Callable[[Process, float], Awaitable[Child]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        names = [process.name for process in processes]
        if len(set(names)) != len(names):
            raise ValueError(f"process names must differ: {', '.join(names)}")
        self._processes = {process.name: process for process in processes}
        self._states = dict.fromkeys(names, ProcessState())
        self._on_event = on_event
        self._backoff = backoff
        self._stop_grace_s = stop_grace_s
        self._launch = launch or GuardedChild.start
        self._clock = clock
        self._pause = pause
        self._chance = chance
        self._stopping = asyncio.Event()
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        for process in self._processes.values():
            task = self._group.create_task(self._keep_running(process), name=f"supervise {process.name}")
            self._tasks.append(task)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        await self._group.__aexit__(kind, error, trace)

    async def stop(self) -> None:
        """Stop all children and return when they have ended: within `stop_grace_s` and a little. Again is fine."""
        self._stopping.set()
        await asyncio.wait(self._tasks)

    async def until_given_up(self) -> None:
        """Return when no child is left to look after: every one was given up, or stopped."""
        await asyncio.wait(self._tasks)

    @property
    def states(self) -> dict[str, ProcessState]:
        """How each child is, with the end of its log."""
        return {
            name: msgspec.structs.replace(state, log_tail=tail(self._processes[name].log_path))
            for name, state in self._states.items()
        }

    async def _keep_running(self, process: Process) -> None:
        failures = 0
        restarts = 0
        while True:
            started_s = self._clock()
            child = await self._launch(process, self._stop_grace_s)
            event = partial(ProcessEvent, name=process.name, pid=child.pid)
            try:
                self._states[process.name] = ProcessState(
                    running=True, pid=child.pid, restarts=restarts, last_exit=self._states[process.name].last_exit
                )
                self._on_event(event(kind="started"))
                await _first(child.wait(), self._stopping.wait())
            finally:
                code = await child.stop()
                self._states[process.name] = ProcessState(restarts=restarts, last_exit=code)
            if self._stopping.is_set():
                self._on_event(event(kind="stopped", exit_code=code))
                return
            if code == BAD_SETTINGS:
                self._states[process.name] = ProcessState(given_up=True, restarts=restarts, last_exit=code)
                self._on_event(event(kind="given up", exit_code=code, log_tail=tail(process.log_path)))
                return
            failures = 1 if self._clock() - started_s >= self._backoff.stable_s else failures + 1
            delay_s = self._backoff.delay_s(failures, self._chance())
            self._on_event(
                event(kind="exited", exit_code=code, restart_in_s=delay_s, log_tail=tail(process.log_path))
            )
            await _first(self._pause(delay_s), self._stopping.wait())
            if self._stopping.is_set():
                return
            restarts += 1


class GuardedChild:
    """A process under a guard. `pid` is the process's own, not the guard's."""

    def __init__(self, guarding: asyncio.subprocess.Process, pid: int, grace_s: float) -> None:
        self.pid = pid
        self._guarding = guarding
        self._grace_s = grace_s

    @classmethod
    async def start(cls, process: Process, grace_s: float) -> "GuardedChild":
        """Start it. A command that cannot be run shows as exit code 127, with the reason in its log."""
        if process.log_path is not None:
            process.log_path.parent.mkdir(parents=True, exist_ok=True)
        guarding = await asyncio.create_subprocess_exec(
            *guard.command(process.argv, grace_s, process.log_path, process.alive_within_s),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **process.environment},
            start_new_session=True,  # Ctrl-C in our terminal reaches us alone, and we stop them in order
        )
        first_line = await cast("asyncio.StreamReader", guarding.stdout).readline()
        return cls(guarding, int(first_line or 0), grace_s)

    async def wait(self) -> int:
        return await self._guarding.wait()

    async def stop(self) -> int:
        cast(
            "asyncio.StreamWriter", self._guarding.stdin
        ).close()  # the guard sends SIGTERM, and SIGKILL after the grace
        try:
            async with asyncio.timeout(self._grace_s + 4):
                return await self._guarding.wait()
        except TimeoutError:
            self._guarding.kill()  # the child follows its guard
            return await self._guarding.wait()


async def run_until_signal(
    processes: Sequence[Process], on_event: Callable[[ProcessEvent], None], stop_grace_s: float = STOP_GRACE_S
) -> int:
    """Run the processes until SIGTERM or Ctrl-C, then stop them: 0. BAD_SETTINGS once all of them are given up."""
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT)
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    try:
        async with Supervisor(processes, on_event=on_event, stop_grace_s=stop_grace_s) as supervisor:
            await _first(told.wait(), supervisor.until_given_up())
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
    return 0 if told.is_set() else BAD_SETTINGS


def describe_exit(code: int | None) -> str:
    """`exit code 1`, or `SIGKILL` for 137."""
    if code is not None and code > 128:
        try:
            return signal.Signals(code - 128).name
        except ValueError:
            pass
    return f"exit code {code}"


def tail(log: Path | None, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log; nothing when there is none."""
    if log is None or not log.exists():
        return ""
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL_BYTES))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])


async def _first(*coroutines: Coroutine[Any, Any, object]) -> None:
    """Return when the first is done; the others are cancelled. An error of any is raised."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
    for result in results:
        if isinstance(result, Exception):
            raise result
