"""When a process is well, when it says so, and when it ends itself."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence

import pytest

from agents.liveness import FROZEN, STALLED, Heartbeat, Progress, end_within, heartbeat_fd, now_s

LEASE_S = 15.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Ended(Exception):  # noqa: N818  what `os._exit` does to the loop that calls it
    pass


class Scene:
    """A heartbeat of one a second that wakes after each of `sleeps_s`, and then never again."""

    def __init__(self, sleeps_s: Sequence[float], fd: int | None, symptoms: Sequence[str | None] = ()) -> None:
        self.clock = Clock()
        self.asked_for_s: list[float] = []
        self.exit_codes: list[int] = []
        self.symptoms = iter(symptoms)
        self.asked = 0
        self._sleeps_s = iter(sleeps_s)
        self.heartbeat = Heartbeat(
            self._symptom, alive_within_s=5.0, lease_s=LEASE_S, fd=fd,
            end=self._end, clock=self.clock, sleep=self._sleep,
        )

    def _symptom(self) -> str | None:
        self.asked += 1
        return next(self.symptoms, None)

    def _end(self, code: int) -> None:
        self.exit_codes.append(code)
        raise Ended

    async def _sleep(self, asked_for_s: float) -> None:
        self.asked_for_s.append(asked_for_s)
        slept_s = next(self._sleeps_s, None)
        if slept_s is None:
            raise asyncio.CancelledError
        self.clock.now_s += slept_s

    async def run_until_cancelled(self) -> None:
        with pytest.raises(asyncio.CancelledError):
            await self.heartbeat.run()


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    heard, beat = os.pipe()
    os.set_blocking(heard, False)
    os.set_blocking(beat, False)
    yield heard, beat
    os.close(heard)
    os.close(beat)


def beats(heard: int) -> int:
    try:
        return len(os.read(heard, 65_536))
    except BlockingIOError:
        return 0


def test_behind_without_work_for_too_long_is_a_symptom_that_says_for_how_long() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    clock.now_s += 60
    assert progress.symptom(behind=True, holding=False) is None
    clock.now_s += 3
    symptom = progress.symptom(behind=True, holding=False)
    assert symptom is not None
    assert "for 63 s" in symptom


def test_work_keeps_a_process_well_that_is_always_behind() -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    for _ in range(10):
        clock.now_s += 59
        assert progress.symptom(behind=True, holding=False) is None
        progress.worked()


@pytest.mark.parametrize(("behind", "holding"), [(False, False), (True, True), (False, True)])
def test_nothing_to_do_and_waiting_for_what_is_away_are_well_and_the_time_begins_after_them(
    behind: bool, holding: bool  # noqa: FBT001
) -> None:
    clock = Clock()
    progress = Progress(60.0, clock)
    for _ in range(100):
        clock.now_s += 30
        assert progress.symptom(behind=behind, holding=holding) is None
    clock.now_s += 59
    assert progress.symptom(behind=True, holding=False) is None
    clock.now_s += 2
    assert progress.symptom(behind=True, holding=False) is not None


async def test_a_well_process_beats_five_times_in_the_time_it_is_given(pipe: tuple[int, int]) -> None:
    heard, beat = pipe
    scene = Scene([1.0] * 5, beat)
    await scene.run_until_cancelled()
    assert scene.asked_for_s == [1.0] * 6
    assert beats(heard) == 6
    assert not scene.exit_codes


async def test_a_symptom_silences_the_heart_for_good_and_is_logged(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture
) -> None:
    heard, beat = pipe
    scene = Scene([1.0] * 5, beat, [None, "it hangs", None])
    await scene.heartbeat.run()
    assert beats(heard) == 2
    assert not scene.exit_codes
    assert len(caplog.records) == 1
    assert "it hangs" in caplog.text


async def test_one_that_is_ill_from_the_start_beats_once_so_that_the_guard_judges_it(pipe: tuple[int, int]) -> None:
    heard, beat = pipe
    await Scene([1.0], beat, ["it hangs"]).heartbeat.run()
    assert beats(heard) == 1


async def test_without_a_guard_a_symptom_ends_the_process(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene([1.0] * 5, None, [None, "it hangs"])
    with pytest.raises(Ended):
        await scene.heartbeat.run()
    assert scene.exit_codes == [STALLED]
    assert "it hangs" in caplog.text


@pytest.mark.parametrize("guarded", [True, False])
async def test_one_that_stood_still_for_longer_than_its_lease_ends_before_anything_else(
    pipe: tuple[int, int], caplog: pytest.LogCaptureFixture, *, guarded: bool
) -> None:
    heard, beat = pipe
    scene = Scene([1.0, LEASE_S + 0.1, 1.0], beat if guarded else None, [None, "it hangs"])
    with pytest.raises(Ended):
        await scene.heartbeat.run()
    assert scene.exit_codes == [FROZEN]
    assert scene.asked == 1
    assert beats(heard) == (2 if guarded else 0)
    assert "stood still for 15 s" in caplog.text


async def test_one_that_stood_still_within_its_lease_goes_on() -> None:
    scene = Scene([LEASE_S] * 3, None)
    await scene.run_until_cancelled()
    assert not scene.exit_codes


async def test_a_full_pipe_does_not_stop_a_well_process(pipe: tuple[int, int]) -> None:
    heard, beat = pipe
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(beat, bytes(4096))
    await Scene([1.0] * 3, beat).run_until_cancelled()
    assert beats(heard) > 0


async def test_a_pipe_that_nobody_reads_does_not_stop_a_well_process() -> None:
    heard, beat = os.pipe()
    os.close(heard)
    try:
        await Scene([1.0] * 3, beat).run_until_cancelled()
    finally:
        os.close(beat)


def test_the_guards_pipe_is_never_waited_for_and_not_passed_on() -> None:
    heard, beat = os.pipe()
    try:
        os.set_inheritable(beat, True)
        assert heartbeat_fd({"FOOTFALL_HEARTBEAT_FD": str(beat)}) == beat
        assert not os.get_blocking(beat)
        assert not os.get_inheritable(beat)
    finally:
        os.close(heard)
        os.close(beat)
    assert heartbeat_fd({}) is None


def test_a_process_that_wakes_after_its_lease_ends() -> None:
    code = """
import asyncio
from agents.liveness import Heartbeat
symptom = lambda: print("well", flush=True)
asyncio.run(Heartbeat(symptom, alive_within_s=0.5, lease_s=1.0, fd=None).run())
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        try:
            assert child.stdout is not None
            child.stdout.readline()  # nothing, if this machine made it stand still before we did
            child.send_signal(signal.SIGSTOP)
            stopped_s = now_s()
            while now_s() <= stopped_s + 1.5:
                time.sleep(0.01)
            child.send_signal(signal.SIGCONT)
            assert child.wait(60) == FROZEN
        finally:
            child.kill()


def test_one_that_does_not_stop_in_time_is_ended_although_its_loop_hangs() -> None:
    code = """
import asyncio, threading
import agents.__main__ as agents, faust
agents.STOP_WITHIN_S = 0.2
class Hanging(agents.Worker):
    async def on_stop(self):
        threading.Event().wait()
worker = Hanging(faust.App("x", broker="gapless://127.0.0.1:1", store="memory://"), redirect_stdouts=False)
worker.loop.run_until_complete(worker.stop())
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert ended.returncode == STALLED, ended.stderr
    assert b"did not stop within" in ended.stderr


def test_one_that_stops_in_time_does_not_wait_for_the_end_of_its_time() -> None:
    code = "from agents.liveness import end_within; end_within(3600.0)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0


def test_who_is_asked_to_end_a_process_hears_its_exit_code() -> None:
    exit_codes: list[int] = []
    end_within(0.0, exit_codes.append).join()
    assert exit_codes == [STALLED]
