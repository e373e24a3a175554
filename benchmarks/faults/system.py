"""What is broken: broker, cache, a worker and units of agents, each started, stopped, killed or frozen by name.

The units reach the broker through a proxy, which can make its group coordinator slow.

A *unit* is `footfall agents recommend`, a supervisor with one agent under it, as it is deployed. Linux only: the agent
of a unit is found in /proc.
"""

import asyncio
import contextlib
import sys
from pathlib import Path

from footfall.stack import Stack
from footfall.supervisor import Backoff, Process, ProcessEvent, Supervisor
from schemas.settings import Settings, ipc_endpoint

BOUND_S = 90.0  # for anything here to come up
BACKOFF = Backoff(first_s=0.3, longest_s=2.0)  # stands for systemd or Kubernetes, without their delay
WORKER = "worker"


class System:
    """All processes of one run. Logs are in `folder`."""

    def __init__(self, stack: Stack, settings: Settings, folder: Path, service_ms: float, *, static: bool) -> None:
        self.stack = stack
        self.settings = settings
        self._folder = folder
        self._service_ms = service_ms
        self._static = static
        self._endpoint = ipc_endpoint("faults")
        self._running: dict[str, tuple[Supervisor, asyncio.Event, asyncio.Task[None]]] = {}
        self._proxy: asyncio.subprocess.Process | None = None
        self._broker = ""  # as the units see it
        self.restarts = 0

    @property
    def units(self) -> list[str]:
        """The names of the units that run."""
        return [name for name in self._running if name != WORKER]

    async def start_proxy(self) -> None:
        """Start what stands between the units and the broker; before the first unit."""
        pipe = asyncio.subprocess.PIPE
        self._proxy = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "benchmarks.faults.proxy", self.stack.settings.bootstrap_servers,
            stdin=pipe, stdout=pipe,
        )
        assert self._proxy.stdout is not None
        self._broker = (await self._proxy.stdout.readline()).decode().strip()

    async def delay_coordinator(self, least_s: float, most_s: float) -> None:
        """Have the group coordinator answer the units late from now on."""
        assert self._proxy is not None
        assert self._proxy.stdin is not None
        self._proxy.stdin.write(f"{least_s} {most_s}\n".encode())
        await self._proxy.stdin.drain()

    async def start_worker(self, service_ms: float | None = None) -> None:
        """Start the worker with its stand-in model: `service_ms` a batch."""
        ms = self._service_ms if service_ms is None else service_ms
        await self._start(Process(name=WORKER, log_path=self._folder / "worker.log", argv=(
            sys.executable, "-m", "model_core", "--models", "stub", "--stub-name", "recommender", "--stub-ms", str(ms),
            "--listen", self._endpoint,
        )))

    async def start_unit(self, name: str, output: str = "/dev/stderr") -> None:
        """Start one more unit, whose output goes to a file of its name, or to `output`."""
        await self._start(Process(
            name=name, log_path=self._folder / f"{name}.log",
            argv=("sh", "-c", f'exec "$0" -m footfall agents recommend >>{output} 2>&1', sys.executable),
            environment={
                **self.stack.environment(), "KAFKA_BOOTSTRAP_SERVERS": self._broker,
                "FOOTFALL_PREFIX": self.settings.prefix, "FOOTFALL_WORKERS": self._endpoint,
                "FOOTFALL_GROUP_INSTANCE_ID": name if self._static else "",
            },
        ))

    async def stop(self, name: str) -> None:
        """Stop a unit or the worker for good, as on scaling down: SIGTERM and patience."""
        _, stopping, task = self._running.pop(name)
        stopping.set()
        await task

    async def agent_pid(self, unit: str) -> int:
        """Return the process that consumes; waits for it when the unit is just starting it."""
        async with asyncio.timeout(BOUND_S):
            while True:
                pid = self.pid(unit)
                if found := _agent_of(pid):
                    return found
                await asyncio.sleep(0.05)

    def process_tree(self, unit: str) -> list[int]:
        """The unit's supervisor, guard and agent, as far as they run, parents first."""
        pid = self.pid(unit)
        return [pid, *_descendants(pid)] if pid else []

    def agent_memory_mb(self) -> float:
        """The most memory that any agent that runs now has ever held."""
        return max((_peak_memory_mb(_agent_of(self.pid(unit))) for unit in self.units), default=0.0)

    def pid(self, name: str) -> int:
        """The process of a unit's supervisor, or of the worker; 0 while there is none."""
        return self._running[name][0].states[name].pid or 0

    async def close(self) -> None:
        await asyncio.gather(*(self.stop(name) for name in list(self._running)))
        if self._proxy is not None:
            assert self._proxy.stdin is not None
            self._proxy.stdin.close()
            await self._proxy.wait()

    async def _start(self, process: Process) -> None:
        stopping, started = asyncio.Event(), asyncio.Event()
        supervisor = Supervisor([process], on_event=self._happened, backoff=BACKOFF)

        async def run() -> None:
            async with supervisor:
                started.set()
                await stopping.wait()

        self._running[process.name] = (supervisor, stopping, asyncio.create_task(run(), name=process.name))
        await started.wait()

    def _happened(self, event: ProcessEvent) -> None:
        self.restarts += event.kind == "exited"


def _agent_of(supervisor: int) -> int:
    """0 while there is none."""
    for child in _descendants(supervisor) if supervisor else ():
        if b"agents\0recommend" in _command_line(child) and b"guard.py" not in _command_line(child):
            return child
    return 0


def _peak_memory_mb(pid: int) -> float:
    with contextlib.suppress(OSError):  # 0 is no process
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) / 1024
    return 0.0


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return sorted(found - {pid})


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
