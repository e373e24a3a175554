"""The supervisor: with a fake clock and fake children for its decisions, with real processes for its promises."""

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.supervisor import Backoff, Process, ProcessEvent, Supervisor, describe_exit, run_until_signal, tail
from tests.waiting import alive, until, wait_until

SLEEPER = (sys.executable, "-c", "import time; print('up', flush=True); time.sleep(600)")
MISUSED = (sys.executable, "-c", "import sys; print('FOOTFALL_X is not set', flush=True); sys.exit(2)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)",
)


class FakeChild:
    """Ends with `code` when `lifetime` is over, or runs until it is stopped when there is none."""

    def __init__(self, pid: int = 1, lifetime: Callable[[], None] | None = None, code: int = 1) -> None:
        self.pid = pid
        self.code = code
        self.stopped = asyncio.Event()
        self._lifetime = lifetime

    async def wait(self) -> int:
        if self._lifetime is None:
            await self.stopped.wait()
            return 143
        self._lifetime()
        return self.code

    async def stop(self) -> int:
        self.stopped.set()
        return 143 if self._lifetime is None else self.code


class Scene:
    """A supervisor whose child lives for each of `lifetimes_s` of a fake clock, then stays."""

    def __init__(self, lifetimes_s: list[float]) -> None:
        self.now_s = 0.0
        self.delays_s: list[float] = []
        self.events: list[ProcessEvent] = []
        self.children: list[FakeChild] = []
        self.stays = asyncio.Event()
        self._lifetimes_s = iter(lifetimes_s)
        self.supervisor = Supervisor(
            [Process(name="a", argv=("x",))],
            on_event=self.events.append,
            backoff=Backoff(first_s=1, longest_s=8, stable_s=60),
            launch=self._launch,
            clock=lambda: self.now_s,
            pause=self._pass,
            chance=lambda: 1.0,
        )

    async def _launch(self, _process: Process, _grace_s: float) -> FakeChild:
        lifetime_s = next(self._lifetimes_s, None)
        if lifetime_s is None:
            self.stays.set()
        self.children.append(
            FakeChild(len(self.children) + 1, None if lifetime_s is None else partial(self._add, lifetime_s))
        )
        return self.children[-1]

    async def _pass(self, delay_s: float) -> None:
        self.delays_s.append(delay_s)
        self._add(delay_s)

    def _add(self, seconds: float) -> None:
        self.now_s += seconds

    async def run(self) -> None:
        async with asyncio.timeout(5), self.supervisor:
            await self.stays.wait()


async def test_restarts_wait_twice_as_long_each_time_up_to_a_limit() -> None:
    scene = Scene([0, 0, 0, 0, 0, 0])
    await scene.run()
    assert scene.delays_s == [1, 2, 4, 8, 8, 8]


async def test_a_long_run_starts_the_series_anew() -> None:
    scene = Scene([0, 0, 0, 61, 0])
    await scene.run()
    assert scene.delays_s == [1, 2, 4, 1, 2]


@given(failures=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_chance_takes_off_at_most_half_of_the_wait(failures: int, chance: float) -> None:
    backoff = Backoff(first_s=0.5, longest_s=30)
    full_s = backoff.delay_s(failures, 1.0)
    assert full_s / 2 <= backoff.delay_s(failures, chance) <= full_s <= 30


async def test_events_and_state_tell_what_happened() -> None:
    scene = Scene([0])
    await scene.run()

    assert [(e.kind, e.exit_code) for e in scene.events] == [
        ("started", None), ("exited", 1), ("started", None), ("stopped", 143),
    ]  # fmt: skip
    state = scene.supervisor.states["a"]
    assert (state.running, state.restarts, state.last_exit) == (False, 1, 143)
    assert scene.children[-1].stopped.is_set()


async def test_an_error_of_the_listener_ends_the_block_and_the_children() -> None:
    child = FakeChild()

    async def launch(_process: Process, _grace_s: float) -> FakeChild:
        return child

    def listener(_event: ProcessEvent) -> None:
        raise RuntimeError("listener")

    with pytest.raises(ExceptionGroup, match="unhandled"):
        async with Supervisor([Process(name="a", argv=("x",))], on_event=listener, launch=launch):
            await asyncio.Event().wait()
    assert child.stopped.is_set()


async def test_a_child_with_bad_settings_is_given_up_and_the_event_says_what_to_do() -> None:
    events: list[ProcessEvent] = []

    async def launch(_process: Process, _grace_s: float) -> FakeChild:
        return FakeChild(lifetime=lambda: None, code=2)

    async with asyncio.timeout(5), Supervisor(
        [Process(name="a", argv=("x",))], on_event=events.append, launch=launch
    ) as supervisor:
        await supervisor.until_given_up()
        state = supervisor.states["a"]
    assert [event.kind for event in events] == ["started", "given up"]
    assert str(events[-1]) == "a ended (exit code 2): fix the settings; not started again"
    assert (state.running, state.given_up, state.restarts, state.last_exit) == (False, True, 0, 2)


async def test_when_all_are_given_up_the_run_ends_with_2_and_the_reasons(tmp_path: Path) -> None:
    events: list[ProcessEvent] = []
    processes = [Process(name=name, argv=MISUSED, log_path=tmp_path / name) for name in "ab"]
    async with asyncio.timeout(60):
        assert await run_until_signal(processes, events.append) == 2
    given_up = [event for event in events if event.kind == "given up"]
    assert sorted(event.name for event in given_up) == ["a", "b"]
    assert all("FOOTFALL_X is not set" in str(event) for event in given_up)


async def test_one_that_is_given_up_does_not_end_the_others_and_a_signal_ends_the_run_with_0(tmp_path: Path) -> None:
    events: list[ProcessEvent] = []

    def listen(event: ProcessEvent) -> None:
        events.append(event)
        if {event.kind for event in events} == {"started", "given up"} and len(events) == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    processes = [
        Process(name=name, argv=argv, log_path=tmp_path / name) for name, argv in (("a", MISUSED), ("b", SLEEPER))
    ]
    async with asyncio.timeout(60):
        assert await run_until_signal(processes, listen) == 0
    assert (events[-1].name, events[-1].kind) == ("b", "stopped")


async def test_two_processes_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="names must differ"):
        Supervisor([Process(name="a", argv=("x",)), Process(name="a", argv=("y",))])


async def test_stopping_sends_sigterm_and_reports_it(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    async with Supervisor([Process(name="a", argv=SLEEPER, log_path=log)]) as supervisor:
        await until(lambda: "up" in tail(log))
        pid = supervisor.states["a"].pid
        assert pid is not None
        assert alive(pid)
        await supervisor.stop()
        state = supervisor.states["a"]
    assert not alive(pid)
    assert describe_exit(state.last_exit) == "SIGTERM"
    assert state.log_tail == "up"


async def test_a_child_that_ignores_sigterm_is_killed_in_time(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    process = Process(name="a", argv=STUBBORN, log_path=log)
    async with Supervisor([process], stop_grace_s=0.3) as supervisor:
        await until(lambda: "up" in tail(log))
        await supervisor.stop()
    assert describe_exit(supervisor.states["a"].last_exit) == "SIGKILL"


async def test_a_killed_child_is_started_again_with_its_environment(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    events: list[ProcessEvent] = []
    code = "import os, time; print(os.environ['WHO'], flush=True); time.sleep(600)"
    process = Process(name="a", argv=(sys.executable, "-c", code), environment={"WHO": "me"}, log_path=log)
    async with Supervisor([process], on_event=events.append, backoff=Backoff(first_s=0.05)) as supervisor:
        await until(lambda: tail(log) == "me")
        first = supervisor.states["a"].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await until(lambda: tail(log) == "me\nme")
        state = supervisor.states["a"]
    assert state.restarts == 1
    assert state.pid != first
    assert describe_exit(events[1].exit_code) == "SIGKILL"
    assert "SIGKILL" in str(events[1])


async def test_a_command_that_does_not_exist_is_reported_with_its_name(tmp_path: Path) -> None:
    events: list[ProcessEvent] = []
    process = Process(name="a", argv=("/no/such/program",), log_path=tmp_path / "a.log")
    async with Supervisor([process], on_event=events.append):
        await until(lambda: any(event.kind == "exited" for event in events))
    exited = next(event for event in events if event.kind == "exited")
    assert exited.exit_code == 127
    assert "/no/such/program" in exited.log_tail


def test_children_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    script = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from footfall.supervisor import Process, Supervisor
        async def main():
            processes = [Process(name=n, argv={SLEEPER!r}, log_path=Path({str(tmp_path)!r}, n)) for n in "ab"]
            started = []
            def listen(event):
                started.append(event.pid)
                if len(started) == 2:
                    print(*started, flush=True)
            async with Supervisor(processes, on_event=listen):
                await asyncio.Event().wait()
        asyncio.run(main())
    """)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(map(alive, pids))
        parent.kill()
    wait_until(lambda: not any(map(alive, pids)))
