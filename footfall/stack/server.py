"""One guarded server process: start it, wait until it answers, show its log when it does not, stop it."""

import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, cast

from footfall import guard
from footfall.errors import FootfallError

STOP_GRACE_S = 8.0  # Apache Kafka takes about 4 s to leave on SIGTERM


class StackError(FootfallError):
    """The local stack cannot be started, or is not what it was asked to be."""


class AddressInUseError(StackError):
    """Someone took the port between our choice and the server's bind."""


class Server:
    """A broker or a cache on this machine. `probe` tells whether it answers."""

    def __init__(self, name: str, argv: list[str], log: Path, probe: Callable[[], bool]) -> None:
        self.name = name
        self.pid = 0
        self._argv = argv
        self._log = log
        self._probe = probe
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float, environment: Mapping[str, str] | None = None) -> None:
        """Return when the server answers. Raises StackError, with the end of its log, when it does not."""
        self._log.unlink(missing_ok=True)
        self._guard = subprocess.Popen(
            guard.command(self._argv, STOP_GRACE_S, self._log),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, **(environment or {})},
            # Ctrl-C in our terminal is ours to handle. No session of its own: Linux gives each of those an equal share
            # of a core (autogroup), and half of it to one with threads on two cores
            process_group=0,
        )
        try:
            self.pid = int(cast("IO[bytes]", self._guard.stdout).readline() or 0)
            self._wait_until_ready(timeout_s)
        except BaseException:
            self.stop()
            raise

    def _wait_until_ready(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not self._probe():
            self._raise_if_ended()
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} did not answer within {timeout_s:g} s\n{self.tail()}")
            time.sleep(0.02)
        self._raise_if_ended()  # or someone else answered on the port that ours wanted

    def _raise_if_ended(self) -> None:
        if (code := self.exit_code()) is None:
            return
        tail = self.tail()
        taken = any(words in tail for words in ("AddrInUse", "ddress already in use", "BindException"))
        raise (AddressInUseError if taken else StackError)(
            f"{self.name} ended with exit code {code} before it answered; the end of {self._log}:\n{tail}"
        )

    def exit_code(self) -> int | None:
        """The exit code, or None while the server runs."""
        return self._guard.poll() if self._guard else None

    def tail(self, lines: int = 15) -> str:
        """The end of the log."""
        try:
            text = self._log.read_text(errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(the log is empty)"

    def stop(self) -> None:
        """Stop the server within STOP_GRACE_S; again is fine."""
        if self._guard is None:
            return
        process, self._guard = self._guard, None
        try:
            process.communicate(timeout=STOP_GRACE_S + 4)  # closes its stdin, which is the order to stop
        except subprocess.TimeoutExpired:
            process.kill()  # the server follows its guard
            process.communicate()
