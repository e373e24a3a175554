"""What operations ask of a running worker: how it is, and to serve another checkpoint, while it serves clients."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from click.testing import CliRunner
from msgspec import Raw

from footfall.cli import cli
from model_core.control import ReloadFailed, WorkerUnreachable, query_stats, reload_model
from model_core.runner import CheckpointError
from model_core.server import EXIT_DEVICE_FAULT, WorkerServer
from model_core.stub import StubRunner, stub_result
from schemas.control import Reload, ReloadCounts, Reloaded, ShedCounts
from schemas.inference import (
    Cancel,
    Goodbye,
    Hello,
    ModelInfo,
    Ping,
    Pong,
    Ready,
    RecommendRequest,
    Replies,
    Shed,
    Submit,
    ToAgent,
    Updated,
)
from tests.worker.serving import BOUND_S, Bench, StoppedClock, serving

STATE = Raw(b"\x94\x90\x90\xc4\x00\x90")


@pytest.fixture
def ask() -> Iterator[ThreadPoolExecutor]:
    """Someone else, who waits for the answer."""
    with ThreadPoolExecutor(4) as pool:
        yield pool


def checkpoint(directory: Path, version: str) -> str:
    (directory / version).mkdir()
    return str(directory / version)


def reload(bench: Bench, path: str, sha256: str = "") -> Reloaded:
    return reload_model(bench.control, Reload(model="stub", path=path, sha256=sha256), BOUND_S)


def hello(bench: Bench, client: str) -> Ready:
    bench.send(client, Hello(client))
    ready = bench.receive(client)
    assert isinstance(ready, Ready)
    return ready


def submit(bench: Bench, epoch: str, *ids: int, client: str = "a", budget_ms: int = 60_000) -> None:
    requests = tuple(RecommendRequest(number, budget_ms, 0, STATE) for number in ids)
    bench.send(client, Submit(epoch, "stub", requests))


def replies(bench: Bench, count: int, client: str = "a") -> list[ToAgent]:
    messages: list[ToAgent] = []
    answered = 0
    while answered < count:
        message = bench.receive(client)
        messages.append(message)
        answered += len(message.replies) if isinstance(message, Replies) else 0
    return messages


class Reading(StubRunner):
    """Takes as long to read a checkpoint as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.gate = threading.Event(), threading.Event()

    def successor(self, folder: Path, sha256: str = "") -> StubRunner:
        self.begun.set()
        assert self.gate.wait(BOUND_S)
        return super().successor(folder, sha256)


def test_clients_are_told_of_a_new_version_before_its_first_answer(tmp_path: Path) -> None:
    with serving(lambda: [StubRunner()]) as bench:
        ready = hello(bench, "a")
        submit(bench, ready.epoch, 1)
        assert replies(bench, 1) == [Replies(ready.epoch, "stub-1", (stub_result(1),))]
        done = reload(bench, checkpoint(tmp_path, "stub-2"))
        assert (done.model, done.version, done.previous) == ("stub", "stub-2", "stub-1")
        assert done.overlap == pytest.approx(0.95)
        submit(bench, ready.epoch, 1)
        popular = tuple(str(item) for item in range(1, 101))
        assert replies(bench, 1) == [
            Updated(ready.epoch, ModelInfo("stub", "stub-2", popular)),
            Replies(ready.epoch, "stub-2", (stub_result(1, version="stub-2"),)),
        ]
        assert hello(bench, "b").models == (ModelInfo("stub", "stub-2", popular),)  # who comes later
        stats = query_stats(bench.control, BOUND_S)
        assert stats.models == (ModelInfo("stub", "stub-2", popular),)
        assert stats.reloads == ReloadCounts(ok=1)


def test_clients_and_other_questions_are_answered_while_a_checkpoint_is_read(
    tmp_path: Path, ask: ThreadPoolExecutor
) -> None:
    model = Reading()
    with serving(lambda: [model]) as bench:
        ready = hello(bench, "a")
        first: Future[Reloaded] = ask.submit(reload, bench, checkpoint(tmp_path, "stub-2"))
        assert model.begun.wait(BOUND_S)
        with pytest.raises(ReloadFailed, match="a reload is under way"):
            reload(bench, checkpoint(tmp_path, "stub-3"))
        submit(bench, ready.epoch, 1)
        assert replies(bench, 1) == [Replies(ready.epoch, "stub-1", (stub_result(1),))]
        assert query_stats(bench.control, BOUND_S).reloads == ReloadCounts()
        model.gate.set()
        assert first.result(BOUND_S).version == "stub-2"
        assert reload(bench, str(tmp_path / "stub-3")).previous == "stub-2"


@pytest.mark.parametrize(
    ("version", "sha256", "why"),
    [
        ("stub-other", "", "below 0.3"),
        ("stub-2", "stub-3", "holds no checkpoint stub-3"),
        ("missing", "", "holds no checkpoint"),
    ],
)
def test_a_checkpoint_that_fails_changes_nothing_and_is_logged_and_counted(
    tmp_path: Path, version: str, sha256: str, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = str(tmp_path / version) if version == "missing" else checkpoint(tmp_path, version)
    with serving(lambda: [StubRunner()]) as bench:
        ready = hello(bench, "a")
        with pytest.raises(ReloadFailed, match=why):
            reload(bench, path, sha256)
        submit(bench, ready.epoch, 1)
        assert replies(bench, 1) == [Replies(ready.epoch, "stub-1", (stub_result(1),))]
        assert query_stats(bench.control, BOUND_S).reloads == ReloadCounts(rolled_back=1)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert why in errors[0]


def test_a_model_that_is_not_served_here_cannot_be_reloaded() -> None:
    with serving(lambda: [StubRunner()]) as bench:
        hello(bench, "a")
        with pytest.raises(ReloadFailed, match="'recommender' is not served here: stub"):
            reload_model(bench.control, Reload(model="recommender", path="/checkpoint"), BOUND_S)


def test_a_worker_that_is_told_to_stop_drops_the_reload_answers_its_clients_and_leaves(
    tmp_path: Path, ask: ThreadPoolExecutor
) -> None:
    model = Reading()
    with serving(lambda: [model]) as bench:
        hello(bench, "a")
        outcome = ask.submit(reload, bench, checkpoint(tmp_path, "stub-2"))
        assert model.begun.wait(BOUND_S)
        bench.server.drain()
        while not isinstance(bench.receive("a"), Goodbye):
            pass
        with pytest.raises(ReloadFailed, match="the worker ended, with exit code 0"):
            outcome.result(BOUND_S)
        model.gate.set()


def test_a_device_that_breaks_in_the_trial_ends_the_worker_with_70_and_says_so(
    tmp_path: Path, ask: ThreadPoolExecutor
) -> None:
    endpoint, control = f"ipc://{tmp_path}/w", f"ipc://{tmp_path}/c"
    server = WorkerServer(lambda: [StubRunner()], listen=endpoint, control=control)
    code = ask.submit(server.run)
    bench = Bench(server, endpoint, control)
    hello(bench, "a")
    with pytest.raises(ReloadFailed, match="exit code 70"):
        reload(bench, checkpoint(tmp_path, "stub-fault"))
    assert code.result(BOUND_S) == EXIT_DEVICE_FAULT
    bench.sockets["a"].close()
    bench.context.term()


def test_whoever_asked_for_a_reload_may_leave(tmp_path: Path) -> None:
    model = Reading()
    with serving(lambda: [model]) as bench:
        hello(bench, "a")
        with pytest.raises(WorkerUnreachable, match="and may still"):
            reload_model(bench.control, Reload(model="stub", path=checkpoint(tmp_path, "stub-2")), 1.0)
        model.gate.set()
        assert isinstance(bench.receive("a"), Updated)
        assert query_stats(bench.control, BOUND_S).reloads == ReloadCounts(ok=1)


def test_statistics_say_what_was_waited_for_shed_and_done_in_vain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_core.server.BATCHES_PER_CLIENT", 4)
    entered, gate = threading.Semaphore(0), threading.Semaphore(0)

    class Gated(StubRunner):
        def forward(self, batch: list[bytes]) -> int:
            entered.release()
            assert gate.acquire(timeout=BOUND_S)
            return super().forward(batch)

    clock = StoppedClock()
    gate.release(4)  # the warm-up
    with serving(lambda: [Gated(max_batch=2)], clock) as bench:
        ready = hello(bench, "a")
        for _ in range(4):
            assert entered.acquire(timeout=BOUND_S)
        submit(bench, ready.epoch, 1)
        assert entered.acquire(timeout=BOUND_S)  # on the device
        submit(bench, ready.epoch, 2, 3)  # prefetched
        until(bench, lambda: query_stats(bench.control, BOUND_S).queued == 0)
        submit(bench, ready.epoch, 4, 5, budget_ms=1000)
        submit(bench, ready.epoch, 6, 7, 8, 9)  # 8 may be outstanding: the last one is in excess
        assert replies(bench, 1) == [Replies(ready.epoch, "", (Shed(9),))]
        bench.send("a", Cancel((1, 6, 99)))
        bench.send("a", Ping(1))
        assert bench.receive("a") == Pong(1)
        assert query_stats(bench.control, BOUND_S).queued == 5
        clock.now_s += 2.0  # 4 and 5 are late
        gate.release(10)
        assert {r.id for m in replies(bench, 6) if isinstance(m, Replies) for r in m.replies} == {2, 3, 4, 5, 7, 8}
        stats = query_stats(bench.control, BOUND_S)
        clock.go()
    assert (stats.shed, stats.cancelled, stats.unwanted) == (ShedCounts(excess=1, late=2), 2, 1)
    assert (stats.requests, stats.batches, stats.failures, stats.queued) == (5, 3, 0, 0)
    (runs,) = stats.runs
    assert (runs.batch_sizes, runs.max_batch_size) == ((1, 2), 2)
    assert runs.wait_ms == pytest.approx(2 * 2000 / 5)  # 7 and 8
    assert runs.forward_ms == pytest.approx(2000 / 3)
    assert runs.cost_error == pytest.approx(1 / 3)  # the first was expected to take no time, and took 2 s
    assert stats.busy_share == 1.0


def until(bench: Bench, condition: Callable[[], bool]) -> None:
    while not condition():
        assert bench.server is not None


def test_the_device_is_said_to_be_idle_when_nothing_was_asked() -> None:
    clock = StoppedClock()
    with serving(lambda: [StubRunner()], clock) as bench:
        hello(bench, "a")
        until(bench, lambda: bench.server._pipeline._idle[1] is not None)  # the device waits
        clock.now_s += 9.0  # a client is forgotten after 10
        stats = query_stats(bench.control, BOUND_S)
        clock.go()
    assert stats.idle_share == 1.0
    assert (stats.busy_share, stats.runs) == (0.0, ())


def test_a_question_without_a_delimiter_is_answered_too() -> None:
    with serving(lambda: [StubRunner()]) as bench:
        hello(bench, "a")
        dealer = bench.context.socket(zmq.DEALER)
        dealer.linger = 0
        dealer.connect(bench.control)
        dealer.send_multipart([b"", b"", b"x"])
        assert dealer.poll(BOUND_S * 1000)
        assert b"refused" in dealer.recv_multipart()[-1]
        dealer.close()


def test_the_command_line_prints_statistics_and_reloads(tmp_path: Path) -> None:
    path = checkpoint(tmp_path, "stub-2")
    with serving(lambda: [StubRunner()]) as bench:
        ready = hello(bench, "a")
        submit(bench, ready.epoch, *range(10))
        replies(bench, 10)
        run = CliRunner().invoke
        options = ["--control", bench.control]
        text = run(cli, ["worker", "stats", *options])
        assert text.exit_code == 0, text.output
        for line in ("serves    stub stub-1", "answered  10 requests in ", "reloads   0 done, 0 rolled back"):
            assert line in text.output
        assert "batch, p50" in text.output

        done = run(cli, ["worker", "reload", *options, "--model", "stub", "--checkpoint", path])
        assert done.exit_code == 0, done.output
        assert done.output.startswith("stub is stub-2 now, was stub-1; overlap 0.95")

        wrong = run(cli, ["worker", "reload", *options, "--model", "stub", "--checkpoint", path, "--sha256", "abc"])
        assert wrong.exit_code == 1
        assert "not reloaded, the old checkpoint goes on" in wrong.output

        stats = json.loads(run(cli, ["worker", "stats", *options, "--json"]).output)
        assert stats["reloads"] == {"ok": 1, "rolled_back": 1}
        assert stats["runs"][0]["requests"] == 10
        assert stats["models"][0]["version"] == "stub-2"
        assert stats["shed"] == {"excess": 0, "late": 0}


def test_the_command_line_says_when_no_worker_is_there(tmp_path: Path) -> None:
    options = ["--control", f"ipc://{tmp_path}/nobody", "--timeout", "0.05"]
    for command in (["stats"], ["reload", "--checkpoint", str(tmp_path)]):
        result = CliRunner().invoke(cli, ["worker", *command, *options])
        assert result.exit_code == 2
        assert "is a worker running with --control" in result.output


def test_a_worker_needs_models_and_an_endpoint() -> None:
    result = CliRunner().invoke(cli, ["worker", "--models", "recommender"])
    assert result.exit_code == 2
    assert "Missing option '--listen'" in result.output


def test_a_stub_reads_only_folders(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="make a folder of that name"):
        StubRunner().successor(tmp_path / "nothing")
