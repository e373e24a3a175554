"""One small process between us and a child, so that the child never outlives us.

    python -IS guard.py GRACE_S LOG ARGV…

Our end of the guard's stdin is a pipe. When it closes, however we ended, the guard stops the child: SIGTERM, GRACE_S
seconds, SIGKILL. When the guard itself is killed, Linux kills the child. The guard prints the child's pid, sends the
child's output to LOG (`-`: to its own stderr) and ends with the child's exit code (128 + signal where one ended it).

Runs as a script with the standard library only, and is imported for `command` and `die_with_parent`.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1


def command(argv: Sequence[str], grace_s: float, log: Path | None) -> list[str]:
    """What to start, with stdin and stdout as pipes, to have `argv` run under a guard."""
    return [sys.executable, "-IS", __file__, str(grace_s), str(log) if log else "-", *argv]


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Between fork and exec: have Linux send this signal when the parent is gone. Elsewhere the guard's pipe is all."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def exit_code(returncode: int) -> int:
    """A subprocess return code as a shell would show it."""
    return returncode if returncode >= 0 else 128 - returncode


def main(argv: Sequence[str]) -> int:
    grace_s, log, child_argv = float(argv[0]), argv[1], argv[2:]
    with contextlib.ExitStack() as files:
        output: IO[bytes] = sys.stderr.buffer if log == "-" else files.enter_context(Path(log).open("ab"))
        woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        for number in (signal.SIGCHLD, signal.SIGTERM):
            signal.signal(number, lambda *_: None)  # the number arrives at `woken`
        try:
            child = subprocess.Popen(
                child_argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=die_with_parent,  # noqa: PLW1509  a guard has one thread
            )
        except OSError as error:
            output.write(f"{error}\n".encode())
            return 127
        with contextlib.suppress(OSError):  # the parent may be gone already: `_watch` sees it
            print(child.pid, flush=True)
        return exit_code(_watch(child, woken, grace_s))


def _watch(child: "subprocess.Popen[bytes]", woken: int, grace_s: float) -> int:
    """Wait for the child's end, our parent's end or SIGTERM, whichever comes first."""
    while child.poll() is None:
        ready, _, _ = select.select([0, woken], [], [])
        parent_gone = 0 in ready and not os.read(0, 4096)
        told_to_stop = woken in ready and signal.SIGTERM in os.read(woken, 4096)
        if parent_gone or told_to_stop:
            child.terminate()
            try:
                return child.wait(grace_s)
            except subprocess.TimeoutExpired:
                child.kill()
                return child.wait()
    return child.returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
