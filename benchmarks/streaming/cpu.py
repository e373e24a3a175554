"""Who used the cores: CPU time of processes and threads, from /proc. Linux only."""

import os
import time
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
DEVICE = "/device"


class Cpu:
    """CPU time of some processes from its making on; that of threads confined to `cores` is told apart."""

    def __init__(self, pids: Mapping[str, int], cores: AbstractSet[int]) -> None:
        self._pids = pids
        self._cores = cores
        self._used_s = self._seconds()
        self._start_s = time.monotonic()

    def shares(self) -> dict[str, float]:
        """Cores in use on average since then, by name; `<name>/device`: by its threads on `cores`."""
        wall_s = time.monotonic() - self._start_s
        return {name: round((used_s - self._used_s[name]) / wall_s, 4) for name, used_s in self._seconds().items()}

    def _seconds(self) -> dict[str, float]:
        used_s: dict[str, float] = {}
        for name, pid in self._pids.items():
            process = Path(f"/proc/{pid}")
            confined = [task for task in (process / "task").iterdir()
                        if os.sched_getaffinity(int(task.name)) <= self._cores]
            if confined:
                used_s[name + DEVICE] = sum(map(_used_s, confined))
            used_s[name] = _used_s(process) - used_s.get(name + DEVICE, 0.0)
        return used_s


def beside_the_device(shares: Mapping[str, float]) -> float:
    """How many of the other cores were in use."""
    return round(sum(share for name, share in shares.items() if not name.endswith(DEVICE)), 4)


def _used_s(of: Path) -> float:
    fields = (of / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S  # user and system
