"""The system under test: a stub worker and one process each of `facts` and `recommend`, under a prefix of its own.

Knows how to start, stop and kill them, and where they log. What they read and write is not known here.
"""

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from footfall.guard import die_with_parent
from footfall.stack import Stack
from schemas.settings import ipc_endpoint

STOP_WITHIN_S = 30.0
TAIL_BYTES = 4000


class Process:
    """One process of the system. It may be started again after it has ended; its log goes on in the same file."""

    def __init__(self, name: str, arguments: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.name = name
        self._command = [sys.executable, "-m", *arguments]
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        self._log = log
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def is_running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._child = subprocess.Popen(
                self._command, env=self._environment, stdout=log, stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - a test run that is killed leaves nothing behind
            )

    def signal(self, number: signal.Signals) -> None:
        assert self._child is not None
        self._child.send_signal(number)

    def wait(self) -> int:
        """Wait for the end that a signal brings; returns the exit code (negative: the signal that killed it)."""
        assert self._child is not None
        return self._child.wait(STOP_WITHIN_S)

    def stop(self) -> int:
        """End it as an operator does; returns the exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            if self.is_running:
                self.kill()

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.wait()

    def tail(self) -> str:
        return self._log.read_bytes()[-TAIL_BYTES:].decode(errors="replace") if self._log.exists() else ""


class System:
    """`prefix`, `bootstrap_servers` and `redis_url` are all that a client needs to know."""

    def __init__(self, stack: Stack, logs: Path) -> None:
        endpoint = ipc_endpoint("worker")
        self.settings = msgspec.structs.replace(stack.settings, prefix=f"c{uuid.uuid4().hex[:10]}", workers=(endpoint,))
        self.prefix = self.settings.prefix
        self.bootstrap_servers = self.settings.bootstrap_servers
        self.redis_url = self.settings.redis_url
        environment = stack.environment() | {"FOOTFALL_PREFIX": self.prefix, "FOOTFALL_WORKERS": endpoint}

        def process(name: str, *arguments: str) -> Process:
            return Process(name, list(arguments), environment, logs / f"{name}.log")

        self.worker = process(
            "worker", "model_core", "--models", "stub", "--stub-name", "recommender", "--listen", endpoint
        )
        self.facts = process("facts", "agents", "facts")
        self.recommend = process("recommend", "agents", "recommend")
        self.processes = (self.recommend, self.facts, self.worker)

    @contextmanager
    def running(self) -> Iterator["System"]:
        """Run all three; at the end each must stop when asked to, with exit code 0."""
        try:
            for process in self.processes:
                process.start()
            yield self
            assert {process.name: process.stop() for process in self.processes} == dict.fromkeys(
                ("recommend", "facts", "worker"), 0
            ), "\n".join(process.tail() for process in self.processes)
        finally:
            for process in self.processes:
                if process.is_running:
                    process.kill()

    def topic(self, name: str) -> str:
        return f"{self.prefix}.{name}.v1"
