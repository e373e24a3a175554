"""One small process between us and a child, so that the child never outlives us.

    python -IS guard.py GRACE_S ALIVE_WITHIN_S LOG ARGV…

Our end of the guard's stdin is a pipe. When it closes, however we ended, the guard stops the child: SIGTERM, GRACE_S
seconds, SIGKILL. When the guard itself is killed, Linux kills the child. The guard prints the child's pid, sends the
child's output to LOG (`-`: to its own stderr) and ends with the child's exit code (128 + signal where one ended it).

A child that stands still (SIGSTOP, swap, a debugger) may come back after others took over its work. So, unless
ALIVE_WITHIN_S is 0, it inherits the write end of a pipe; FOOTFALL_HEARTBEAT_FD is its number. Once the child has
written a byte, silence for ALIVE_WITHIN_S and a second more ends it by SIGKILL, which, unlike SIGTERM, takes effect
before it wakes. While it is being stopped only GRACE_S counts. `agents/liveness.py` is the child's side of this.

Runs as a script with the standard library only, and is imported for `command` and `die_with_parent`.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1
_HEARTBEAT_FD = "FOOTFALL_HEARTBEAT_FD"  # agents/liveness.py reads it; this script can import nothing of ours
_LAST_S = 1.0


def command(argv: Sequence[str], grace_s: float, log: Path | None, alive_within_s: float = 0.0) -> list[str]:
    """What to start, with stdin and stdout as pipes, to have `argv` run under a guard. 0: no heartbeats."""
    return [sys.executable, "-IS", __file__, str(grace_s), str(alive_within_s), str(log) if log else "-", *argv]


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Between fork and exec: have Linux send this signal when the parent is gone. Elsewhere the guard's pipe is all."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def exit_code(returncode: int) -> int:
    """A subprocess return code as a shell would show it."""
    return returncode if returncode >= 0 else 128 - returncode


def main(argv: Sequence[str]) -> int:
    grace_s, alive_within_s, log, child_argv = float(argv[0]), float(argv[1]), argv[2], argv[3:]
    with contextlib.ExitStack() as files:
        output: IO[bytes] = sys.stderr.buffer if log == "-" else files.enter_context(Path(log).open("ab"))
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the number arrives at `woken`
        environment, inherited, pulse = dict(os.environ), [], None
        environment.pop(_HEARTBEAT_FD, None)  # of a guard above us
        if alive_within_s:
            heard, beat = os.pipe()
            os.set_blocking(heard, False)
            environment[_HEARTBEAT_FD] = str(beat)
            inherited.append(beat)  # our own copy stays open, so the pipe has no end of file to watch for
            pulse = _Pulse(heard, alive_within_s)
        try:
            child = subprocess.Popen(
                child_argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                pass_fds=inherited,
                preexec_fn=die_with_parent,  # noqa: PLW1509  a guard has one thread
            )
        except OSError as error:
            output.write(f"{error}\n".encode())
            return 127
        with contextlib.suppress(OSError):  # the parent may be gone already: `_watch` sees it
            print(child.pid, flush=True)
        return exit_code(_watch(child, woken, grace_s, pulse, output))


class _Pulse:
    """Whether the child is heard. It is judged from its first byte on: one that never writes is left alone.

    That time has passed is no proof of silence. Where this process was stopped, the beats wait in the pipe: all is read
    before anything is judged. Where both were frozen (a container, a virtual machine), the pipe is empty although the
    child is as awake as we are. It may have lost its partitions, and ending it would be right; but that would end every
    child of every machine that ever pauses. So a child is ended only when it is silent for a *last second* too, in
    which we were awake. One that knows how long it may stand still ends itself (`lease_s` in agents/liveness.py).
    """

    def __init__(self, pipe: int, alive_within_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.pipe = pipe
        self._alive_within_s = alive_within_s
        self._clock = clock
        self._heard_s = 0.0
        self._due_s: float | None = None
        self._is_last = False

    @property
    def silent_s(self) -> float:
        return self._clock() - self._heard_s

    def wait_s(self) -> float | None:
        """How long to wait for the pipe; None: there is nothing to judge yet."""
        return None if self._due_s is None else max(0.0, self._due_s - self._clock())

    def is_lost(self) -> bool:
        """Read all there is, and say whether the child must be ended."""
        now_s = self._clock()  # before the pipe is read: or to be stopped in between would look like its silence
        if self._read():
            self._heard_s = self._clock()
            self._due_s, self._is_last = self._heard_s + self._alive_within_s, False
        elif self._due_s is not None and now_s >= self._due_s:
            if self._is_last and now_s < self._due_s + _LAST_S:  # later: we were not awake in that second, so another
                return True
            self._due_s, self._is_last = self._clock() + _LAST_S, True
        return False

    def _read(self) -> bool:
        try:
            return bool(os.read(self.pipe, 65_536))  # as much as a pipe holds
        except BlockingIOError:
            return False


def _watch(
    child: "subprocess.Popen[bytes]", woken: int, grace_s: float, pulse: _Pulse | None, output: IO[bytes]
) -> int:
    """Wait for the child's end, its silence, our parent's end or SIGTERM, whichever comes first."""
    while child.poll() is None:
        ready, _, _ = select.select(
            [0, woken, pulse.pipe] if pulse else [0, woken], [], [], pulse.wait_s() if pulse else None
        )
        parent_gone = 0 in ready and not os.read(0, 4096)
        told_to_stop = woken in ready and signal.SIGTERM in os.read(woken, 4096)
        if parent_gone or told_to_stop:
            child.terminate()
            try:
                return child.wait(grace_s)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()
        if pulse is not None and pulse.is_lost():
            child.kill()
            with contextlib.suppress(OSError):  # a full disk
                output.write(
                    f"footfall: killed process {child.pid}, silent for {pulse.silent_s:.0f} s: it was frozen (SIGSTOP, "
                    "swap, a debugger), its event loop blocked, or it stalled, which the lines above then say; what it "
                    "had in hand will be read again\n".encode()
                )
                output.flush()
            return child.wait()
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
