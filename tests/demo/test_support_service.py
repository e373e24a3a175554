"""The demo knows whether anybody will answer support messages, and its own worker for them yields to all others."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from footfall.demo import background, support
from footfall.demo.support import SupportService
from footfall.supervisor import ProcessState
from model_core.control import WorkerUnreachable
from schemas.control import WorkerStats
from schemas.inference import ModelInfo
from schemas.settings import Settings, ipc_endpoint

LOADING = WorkerStats(
    epoch="e", models=(), device="cpu", uptime_s=0, batches=0, requests=0, failures=0, ignored=0, clients=0,
    mean_batch_size=0, queued=0, busy_share=0,
)
LOADED = WorkerStats(
    epoch="e", models=(ModelInfo("encoder", "v1", ()),), device="cpu", uptime_s=0, batches=0, requests=0, failures=0,
    ignored=0, clients=0, mean_batch_size=0, queued=0, busy_share=0,
)
SHOWS = """
import os, pathlib
group = pathlib.Path("/proc/self/autogroup")
print(os.getpid(), os.nice(0), group.read_text().split()[-1] if group.exists() else 10)
"""


@pytest.fixture
def answers_of_the_worker(monkeypatch: pytest.MonkeyPatch) -> list[WorkerStats | None]:
    """What the worker says of itself, one after the other, the last for ever; None while it cannot be reached."""
    said: list[WorkerStats | None] = []

    def query(_endpoint: str, _timeout_s: float) -> WorkerStats:
        stats = said.pop(0) if len(said) > 1 else said[0]
        if stats is None:
            raise WorkerUnreachable("away")
        return stats

    monkeypatch.setattr(support, "query_stats", query)
    monkeypatch.setattr(support, "LOOK_S", 0.001)
    return said


async def watched(service: SupportService, process: Callable[[], ProcessState], until: str) -> None:
    async with service.watched(process), asyncio.timeout(10):
        while service.state != until:
            await asyncio.sleep(0.001)


async def test_messages_wait_while_the_models_load_and_leave_when_they_are_there(
    tmp_path: Path, answers_of_the_worker: list[WorkerStats | None]
) -> None:
    service = SupportService(Settings(), tmp_path)
    before = service.answers
    assert "encoder and replier still to be loaded" in service.note
    answers_of_the_worker += [None, LOADING, LOADED]
    await watched(service, lambda: ProcessState(running=True), "ready")
    assert (before, service.answers) == ("later", "now")
    assert service.note == ""


async def test_a_worker_without_its_models_does_not_answer_yet(
    tmp_path: Path, answers_of_the_worker: list[WorkerStats | None]
) -> None:
    service = SupportService(Settings(), tmp_path)
    answers_of_the_worker += [LOADING] * 20
    async with service.watched(lambda: ProcessState(running=True)), asyncio.timeout(10):
        while len(answers_of_the_worker) > 1:
            await asyncio.sleep(0.001)
        assert service.answers == "later"


@pytest.mark.parametrize("ended", [
    ProcessState(restarts=1, log_tail="some lines\nNo module named 'peft'"),
    ProcessState(given_up=True, log_tail="some lines\nNo module named 'peft'"),
])
async def test_nobody_writes_where_the_worker_does_not_start_and_people_learn_why(
    tmp_path: Path, answers_of_the_worker: list[WorkerStats | None], ended: ProcessState
) -> None:
    service = SupportService(Settings(), tmp_path)
    answers_of_the_worker.append(None)
    await watched(service, lambda: ended, "failed")
    assert service.answers == "never"
    assert "No module named 'peft'" in service.note
    assert "some lines" not in service.note


async def test_a_worker_that_comes_after_a_restart_answers(
    tmp_path: Path, answers_of_the_worker: list[WorkerStats | None]
) -> None:
    service = SupportService(Settings(), tmp_path)
    answers_of_the_worker += [None, None, LOADED]
    await watched(service, lambda: ProcessState(restarts=1), "ready")
    assert service.answers == "now"


@pytest.mark.parametrize(("engine", "models"), [
    ("worker", "encoder,replier"), ("template", "encoder"), ("endpoint", "encoder"),
])
def test_the_worker_has_the_models_that_the_engine_needs_and_runs_in_the_background(
    tmp_path: Path, engine: str, models: str
) -> None:
    service = SupportService(Settings(reply_engine=engine), tmp_path)
    assert service.process is not None
    argv = service.process.argv
    assert argv[: len(background.command(()))] == background.command(())
    assert argv[argv.index("--models") + 1] == models
    assert argv[argv.index("--threads") + 1] == "1"
    assert argv[argv.index("--listen") + 1] == service.endpoint


async def test_workers_that_the_settings_name_are_used_and_are_absent_where_nobody_serves_the_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(support, "FIND_S", 0.2)
    service = SupportService(Settings(workers=(ipc_endpoint("nobody"),)), tmp_path)
    assert service.process is None
    await watched(service, ProcessState, "absent")
    assert service.answers == "never"
    assert "FOOTFALL_WORKERS" in service.note
    assert "--models encoder,replier" in service.note


def test_a_command_in_the_background_is_nice_with_all_of_its_session() -> None:
    started = subprocess.Popen(
        background.command((sys.executable, "-c", SHOWS)), stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    output, _ = started.communicate(timeout=30)
    pid, niceness, of_group = output.split()
    assert int(pid) == started.pid  # whoever started it can stop it
    assert int(niceness) == min(19, os.nice(0) + background.NICENESS)
    assert int(of_group) == background.NICENESS
    assert started.returncode == 0
