"""The guard's ear: with a fake clock for its judgement, with real processes for its promises."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from footfall import guard
from footfall.guard import _Pulse
from footfall.supervisor import Backoff, Process, ProcessEvent, Supervisor, describe_exit, tail
from tests import waiting
from tests.waiting import alive

until, wait_until = partial(waiting.until, within_s=60), partial(waiting.wait_until, within_s=60)

ALIVE_WITHIN_S = 2.0  # a child that a busy machine holds up for longer, and a second, is killed: so not less
BEATING = """
import asyncio, os, signal, sys
from agents.liveness import Heartbeat, heartbeat_fd

async def sleep(seconds):
    print("beat", flush=True)
    await asyncio.sleep(seconds)

signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
heartbeat = Heartbeat(
    lambda: None, alive_within_s=float(sys.argv[1]), lease_s=3600.0, fd=heartbeat_fd(os.environ), sleep=sleep
)
asyncio.run(heartbeat.run())
"""
BEATS = (sys.executable, "-c", BEATING, str(ALIVE_WITHIN_S))


class Ear:
    """A pulse on a real pipe, with a clock of the test's own."""

    def __init__(self) -> None:
        self.now_s = 100.0
        heard, self.beat = os.pipe()
        os.set_blocking(heard, False)
        self.pulse = _Pulse(heard, 10.0, lambda: self.now_s)

    def beats(self, count: int = 1) -> None:
        os.write(self.beat, b"." * count)

    def sleeps(self, seconds: float) -> bool:
        """The guard wakes after this time; whether it would kill."""
        self.now_s += seconds
        return self.pulse.is_lost()


@pytest.fixture
def ear() -> Iterator[Ear]:
    ear = Ear()
    yield ear
    os.close(ear.pulse.pipe)
    os.close(ear.beat)


def test_silence_for_the_time_given_and_a_second_is_death(ear: Ear) -> None:
    ear.beats()
    assert not ear.pulse.is_lost()
    assert ear.pulse.wait_s() == 10
    assert not ear.sleeps(10)
    assert ear.pulse.wait_s() == 1
    assert ear.sleeps(1)
    assert ear.pulse.silent_s == 11


def test_a_child_that_never_beat_is_not_judged(ear: Ear) -> None:
    assert ear.pulse.wait_s() is None
    assert not ear.sleeps(1000)
    assert not ear.sleeps(1)


def test_a_beat_in_the_last_second_saves_and_the_time_begins_anew(ear: Ear) -> None:
    ear.beats()
    ear.pulse.is_lost()
    assert not ear.sleeps(10)
    ear.beats()
    assert not ear.sleeps(0.5)
    assert ear.pulse.wait_s() == 10
    assert not ear.sleeps(10)
    assert ear.sleeps(1)


def test_the_beats_of_the_time_in_which_only_the_guard_stood_still_count(ear: Ear) -> None:
    ear.beats()
    ear.pulse.is_lost()
    ear.beats(50)
    assert not ear.sleeps(100)
    assert ear.pulse.wait_s() == 10


def test_when_both_stood_still_the_child_has_a_second_in_which_the_guard_is_awake(ear: Ear) -> None:
    ear.beats()
    ear.pulse.is_lost()
    assert not ear.sleeps(3600)
    assert not ear.sleeps(3600)  # frozen again in that second: it proves nothing
    assert ear.pulse.wait_s() == 1
    assert ear.sleeps(1)


async def test_a_frozen_child_is_killed_in_its_sleep_and_started_again(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    events: list[ProcessEvent] = []
    process = Process(name="a", argv=BEATS, log_path=log, alive_within_s=ALIVE_WITHIN_S)
    async with Supervisor([process], on_event=events.append, backoff=Backoff(first_s=0.05)):
        await until(lambda: log.exists() and _beats(log) >= 2)
        frozen = events[-1].pid
        os.kill(frozen, signal.SIGSTOP)
        await until(lambda: events[-1].kind == "started" and events[-1].pid != frozen)
        assert not alive(frozen)
        before = _beats(log)
        await until(lambda: _beats(log) >= before + 2)
    exited = next(event for event in events if event.kind == "exited")
    assert describe_exit(exited.exit_code) == "SIGKILL"
    assert f"killed process {frozen}" in exited.log_tail.splitlines()[-1]


def test_a_healthy_child_is_left_alone_while_its_guard_is_stopped_and_after(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    enough = 10  # five in ALIVE_WITHIN_S
    with _guarded(BEATS, log, alive_within_s=ALIVE_WITHIN_S) as (guarding, child):
        wait_until(lambda: log.exists() and _beats(log) >= 2)
        for number in (signal.SIGSTOP, signal.SIGCONT):
            guarding.send_signal(number)
            before = _beats(log)
            wait_until(lambda before=before: _beats(log) >= before + enough)  # type: ignore[misc]
        assert guarding.poll() is None
        assert alive(child)
    assert "killed" not in tail(log)


def test_a_child_that_never_beats_is_left_alone(tmp_path: Path) -> None:
    code = "import sys, time; time.sleep(2); sys.exit(3)"
    with _guarded((sys.executable, "-c", code), tmp_path / "a.log", alive_within_s=0.1) as (guarding, _):
        assert guarding.wait(60) == 3


def test_while_a_child_is_being_stopped_only_the_grace_counts(tmp_path: Path) -> None:
    code = f"""
import os, signal, sys, time
def stop(*_):
    time.sleep({ALIVE_WITHIN_S} + 2)
    os._exit(5)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
while True:
    os.write(int(os.environ["FOOTFALL_HEARTBEAT_FD"]), b".")
    time.sleep(0.1)
"""
    log = tmp_path / "a.log"
    with _guarded((sys.executable, "-c", code), log, grace_s=60, alive_within_s=ALIVE_WITHIN_S) as (guarding, _):
        wait_until(lambda: tail(log) == "up")
        guarding.terminate()
        assert guarding.wait(60) == 5


def test_a_frozen_child_ends_with_its_guard(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with _guarded(BEATS, log, alive_within_s=60) as (guarding, child):
        wait_until(lambda: log.exists() and _beats(log) >= 1)
        os.kill(child, signal.SIGSTOP)
        guarding.kill()
        wait_until(lambda: not alive(child))


def test_a_frozen_child_is_killed_when_its_stop_takes_longer_than_the_grace(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    with _guarded(BEATS, log, grace_s=0.3, alive_within_s=60) as (guarding, child):
        wait_until(lambda: log.exists() and _beats(log) >= 1)
        os.kill(child, signal.SIGSTOP)
        guarding.communicate(timeout=60)  # closes its stdin
        assert guarding.returncode == 137
        assert not alive(child)


def test_a_child_that_is_not_listened_to_does_not_inherit_a_pipe_of_another_guard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOOTFALL_HEARTBEAT_FD", "9")
    log = tmp_path / "a.log"
    code = "import os; print(os.environ.get('FOOTFALL_HEARTBEAT_FD'))"
    with _guarded((sys.executable, "-c", code), log) as (guarding, _):
        assert guarding.wait(60) == 0
    assert tail(log) == "None"


@contextmanager
def _guarded(
    argv: tuple[str, ...], log: Path, *, grace_s: float = 0.0, alive_within_s: float = 0.0
) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """A guard and its child's pid; both are gone after the block."""
    command = guard.command(argv, grace_s, log, alive_within_s)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guarding:
        try:
            assert guarding.stdout is not None
            yield guarding, int(guarding.stdout.readline())
        finally:
            guarding.kill()


def _beats(log: Path) -> int:
    return log.read_text().count("beat\n")
