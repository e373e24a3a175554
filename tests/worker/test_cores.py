"""A worker's threads run where `--device-cpu` says: the device's on those cores, all others where they may."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from model_core import cores
from model_core.control import query_stats
from tests.waiting import wait_until
from tests.worker.processes import BOUND_S, Processes

linux = pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="cores are chosen on Linux only")


@pytest.mark.parametrize(
    ("text", "expected"), [("0", {0}), ("2,3", {2, 3}), ("0-3,8", {0, 1, 2, 3, 8}), ("5-5", {5})]
)
def test_a_list_of_cores_is_read_as_taskset_reads_it(text: str, expected: set[int]) -> None:
    assert cores.parse(text) == expected


@pytest.mark.parametrize("text", ["", "a", "-1", "3-1", "1,", "0x1"])
def test_what_is_no_list_of_cores_is_refused(text: str) -> None:
    with pytest.raises(cores.CoresError, match="is no list of cores"):
        cores.parse(text)


@linux
def test_the_device_keeps_to_its_core_and_the_other_threads_to_those_of_the_process(processes: Processes) -> None:
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        pytest.skip("needs two cores")
    device = usable[0]
    worker = processes.start("--device-cpu", str(device))
    wait_until(lambda: bool(query_stats(processes.endpoint("w-control"), BOUND_S).models))
    threads = [os.sched_getaffinity(int(task.name)) for task in Path(f"/proc/{worker.pid}/task").iterdir()]
    assert threads.count({device}) == 1
    assert threads.count(set(usable)) == len(threads) - 1
    assert len(threads) >= 5  # the sockets', ZeroMQ's, the device's, the collator's and the writer's


@linux
def test_cores_that_cannot_be_had_end_the_process_with_advice(processes: Processes) -> None:
    command = [sys.executable, "-m", "model_core", "--models", "stub", "--listen", processes.endpoint(),
               "--device-cpu", "1000"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert finished.returncode == 2
    assert "can use none" in finished.stderr


@linux
def test_who_leaves_cores_needs_another() -> None:
    with pytest.raises(cores.CoresError, match="no other core is left"):
        cores.leave(os.sched_getaffinity(0))
