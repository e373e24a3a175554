"""The stack as a context manager: what the settings name is used, what they leave open is started here and stopped.

Local servers listen on 127.0.0.1 only. A guard process (`footfall.guard`) stops them if this process is killed.
"""

import shutil
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import IO, Literal, Self

import msgspec
from msgspec import Struct

from footfall.stack.engines import Engine, find_broker, find_cache
from footfall.stack.environment import environment_of
from footfall.stack.locks import is_locked, try_lock
from footfall.stack.machine import Machine
from footfall.stack.probes import HOST, free_ports
from footfall.stack.server import AddressInUseError, Server, StackError
from schemas.settings import Settings

__all__ = ["Broker", "Cache", "Stack", "StackError"]

LOCAL_SESSION_TIMEOUT_S = 6.0  # the least that a Kafka with default settings accepts
TANSU_FETCH_WAIT_MS = 20  # it does not wake a waiting fetch; 7 ms p50 a hop with 20, 128 ms with 500
START_ATTEMPTS = 3  # each on new ports, should another process take one first
_TEMPORARY = "footfall-stack-"
_ABANDONED_AFTER_S = 60.0  # younger ones may not be locked yet


class Broker(Struct, frozen=True):
    """The broker in use. `limits`: what it cannot do, in words."""

    kind: Literal["tansu", "apache-kafka", "external"]
    version: str = "unknown"
    limits: tuple[str, ...] = ()


class Cache(Struct, frozen=True):
    kind: Literal["valkey", "redis", "external"]
    version: str = "unknown"


class Stack:
    """`with Stack(settings) as stack:` gives a broker and a cache; `stack.settings` says where they are.

    `directory` keeps their data and logs; without one a temporary directory is used and removed at the end.
    Raises StackError when something cannot be found or started.
    """

    broker: Broker
    cache: Cache

    def __init__(self, settings: Settings, directory: Path | None = None, machine: Machine | None = None) -> None:
        self.settings = msgspec.structs.replace(settings, home=settings.home.expanduser())
        self._directory = directory
        self._machine = machine or Machine()
        self.servers: dict[str, Server] = {}  # those that run here, as `broker` and `cache`
        self._lock: IO[str] | None = None
        self._temporary: Path | None = None

    def __enter__(self) -> Self:
        try:
            directory = self._own_directory()
            self._provide_broker(directory)
            self._provide_cache(directory)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def environment(self) -> dict[str, str]:
        """Return the variables for child processes, from which they read these very settings."""
        return environment_of(self.settings)

    @property
    def pids(self) -> dict[str, int]:
        """The processes of the servers that run here."""
        return {server.name: server.pid for server in self.servers.values()}

    def failure(self) -> str | None:
        """What a server that ended on its own left in its log, or None while all run."""
        for server in self.servers.values():
            if (code := server.exit_code()) is not None:
                return f"{server.name} ended with exit code {code}; the end of its log:\n{server.tail()}"
        return None

    def close(self) -> None:
        """Stop what runs here. Again is fine."""
        while self.servers:
            self.servers.popitem()[1].stop()
        if self._lock is not None:
            self._lock.close()
            self._lock = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)
            self._temporary = None

    def _own_directory(self) -> Path:
        if self._directory is None:
            _remove_abandoned(Path(tempfile.gettempdir()))
            directory = self._temporary = Path(tempfile.mkdtemp(prefix=_TEMPORARY))
        else:
            directory = self._directory.expanduser().absolute()
            try:
                directory.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise StackError(f"cannot use {directory} for the stack: {error}") from error
        self._lock = try_lock(directory / "lock")
        if self._lock is None:
            raise StackError(
                f"{directory} is in use by another stack: end that one (`footfall stack down`), or use --dir"
            )
        return directory

    def _provide_broker(self, directory: Path) -> None:
        if self.settings.bootstrap_servers:
            self.broker = Broker("external")
            return
        engine = find_broker(self.settings, self._machine, directory)
        port = self._start("broker", engine, directory)
        kind: Literal["tansu", "apache-kafka"] = "tansu" if engine.kind == "tansu" else "apache-kafka"
        wait_ms = self.settings.fetch_max_wait_ms
        self.broker = Broker(kind, engine.version, engine.limits)
        self.settings = msgspec.structs.replace(
            self.settings,
            bootstrap_servers=f"{HOST}:{port}",
            security_protocol="PLAINTEXT",
            sasl_mechanism="",
            sasl_username="",
            sasl_password="",
            session_timeout_s=min(self.settings.session_timeout_s, LOCAL_SESSION_TIMEOUT_S),
            fetch_max_wait_ms=min(wait_ms, TANSU_FETCH_WAIT_MS) if kind == "tansu" else wait_ms,
        )

    def _provide_cache(self, directory: Path) -> None:
        if self.settings.redis_url:
            self.cache = Cache("external")
            return
        engine = find_cache(self._machine, directory)
        port = self._start("cache", engine, directory)
        self.cache = Cache("redis" if engine.kind == "redis" else "valkey", engine.version)
        self.settings = msgspec.structs.replace(self.settings, redis_url=f"redis://{HOST}:{port}/0")

    def _start(self, role: str, engine: Engine, directory: Path) -> int:
        """Start a server and return its port."""
        log = directory / f"{engine.kind}.log"
        for attempt in range(1, START_ATTEMPTS + 1):
            ports = free_ports(engine.port_count)
            argv = engine.prepare(directory, ports)
            server = Server(engine.kind, argv, log, lambda ports=ports: engine.is_ready(ports))  # type: ignore[misc]
            try:
                server.start(engine.start_timeout_s)
            except AddressInUseError:
                if attempt == START_ATTEMPTS:
                    raise
            else:
                self.servers[role] = server
                return ports[0]
        raise AssertionError("unreachable")


def _remove_abandoned(parent: Path) -> None:
    """Remove temporary directories of our own stacks whose process was killed."""
    for directory in parent.glob(f"{_TEMPORARY}*"):
        try:
            old = time.time() - directory.stat().st_mtime > _ABANDONED_AFTER_S
            if old and not is_locked(directory / "lock"):
                shutil.rmtree(directory, ignore_errors=True)
        except OSError:  # another user's, or just removed by another of ours
            continue
