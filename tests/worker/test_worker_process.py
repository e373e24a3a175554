"""A real worker process with the stub model, over a real socket."""

import asyncio
import signal
import subprocess
import sys

from model_core.control import query_stats, reload_model
from model_core.stub import stub_result
from schemas.control import Reload
from schemas.inference import (
    Failure,
    RecommendResult,
    Shed,
)
from tests.worker.processes import BOUND_S, Processes, connected


async def test_requests_are_answered_with_their_own_results(processes: Processes) -> None:
    processes.start()
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(200))  # before the worker is there
        await agent.answered(200)
        assert agent.replies == {i: stub_result(i) for i in range(200)}
        # a second hello, sent before the first was answered, is answered too
        assert {(m.name, m.version, len(m.popular)) for m in agent.models} == {("stub", "stub-1", 100)}
        assert agent.client.available
        assert agent.client.away_s == 0.0
        assert (agent.client.outstanding, agent.client.queued) == (0, 0)


async def test_failing_members_fail_alone(processes: Processes) -> None:
    processes.start()
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(10))
        agent.submit(range(10, 11), "stub-raise")
        agent.submit(range(11, 12), "stub-invalid")
        agent.submit(range(12, 20))
        await agent.answered(20)
        failures = {i: reply for i, reply in agent.replies.items() if isinstance(reply, Failure)}
        assert set(failures) == {10, 11}
        assert failures[10].error.startswith("RuntimeError in stub.py:")
        assert failures[11].error == "InvalidInput: the state holds the marker stub-invalid"


async def test_the_stub_can_be_given_larger_batches_and_smaller_answers(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "256", "--stub-candidates", "2")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(300))
        await agent.answered(300)
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
        assert agent.replies == {i: stub_result(i, 2) for i in range(300)}
    assert len(stub_result(0, 2).item_ids) == 2
    assert stats.batches <= 3  # one may leave before the message is read to its end; of 64 it would be five


async def test_a_spent_budget_is_shed(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "1")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(2))  # one on the device, one prefetched
        agent.submit(range(2, 4), budget_ms=50)
        await agent.answered(4)
        assert {i for i, reply in agent.replies.items() if isinstance(reply, Shed)} == {2, 3}


async def test_batches_grow_while_the_worker_is_busy(processes: Processes) -> None:
    processes.start("--stub-ms", "100", "--max-batch", "32")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        for request_id in range(40):  # one message each
            agent.submit(range(request_id, request_id + 1))
            await asyncio.sleep(0)
        await agent.answered(40)
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
    # how many arrive during one batch is the machine's affair; one by one they would take 40 batches
    assert max(agent.sizes) >= 5
    assert stats.batches <= 12
    assert (stats.requests, stats.failures, stats.queued, stats.clients) == (40, 0, 0, 1)
    assert stats.mean_batch_size == stats.requests / stats.batches
    assert 0 < stats.busy_share <= 1
    (runs,) = stats.runs
    assert (runs.batches, runs.requests, runs.padding_share) == (stats.batches, 40, 0.0)
    assert runs.forward_ms > 0


async def test_sigterm_answers_what_was_accepted_and_leaves_the_rest_for_the_next(processes: Processes) -> None:
    first = processes.start("--stub-ms", "30", "--max-batch", "4")
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(40))  # 16 are accepted at a time
        await agent.answered(1)
        first.send_signal(signal.SIGTERM)
        await agent.until(lambda: not agent.client.available)
        assert await asyncio.to_thread(first.wait, BOUND_S) == 0
        await agent.until(lambda: agent.client.outstanding == 0)
        assert len(agent.replies) >= 16
        assert len(agent.replies) + agent.client.queued == 40
        processes.start(name="w")
        await agent.answered(40)
        assert all(isinstance(reply, RecommendResult) for reply in agent.replies.values())


async def test_a_worker_reloads_while_requests_stream(processes: Processes) -> None:
    processes.start("--stub-ms", "1", "--max-batch", "4")
    folder = processes.directory / "stub-2"
    folder.mkdir()
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        asked = Reload(model="stub", path=str(folder))
        reloading = asyncio.create_task(
            asyncio.to_thread(reload_model, processes.endpoint("w-control"), asked, BOUND_S)
        )
        count = 0
        while not reloading.done() or count < 100:
            agent.submit(range(count, count + 5))
            count += 5
            await agent.answered(count - 10)
        agent.submit(range(count, count + 5))
        await agent.answered(count + 5)
        assert (await reloading).previous == "stub-1"
        await agent.until(lambda: agent.models[-1].version == "stub-2")
    assert agent.versions == sorted(agent.versions)
    assert agent.versions[-1] == "stub-2"
    for request_id, reply in agent.replies.items():
        assert reply in (stub_result(request_id), stub_result(request_id, version="stub-2"))
    assert agent.replies[count] == stub_result(count, version="stub-2")


async def test_a_killed_worker_loses_nothing(processes: Processes) -> None:
    first = processes.start("--stub-ms", "20", "--max-batch", "4")
    async with connected(processes.endpoint()) as agent:
        agent.submit(range(60))
        await agent.answered(4)
        first.kill()
        await agent.until(lambda: not agent.client.available)
        assert agent.client.outstanding == 0
        assert agent.client.away_s >= 0
        assert len(agent.replies) + agent.client.queued == 60
        processes.start()
        await agent.answered(60)
        assert agent.replies == {i: stub_result(i) for i in range(60)}
        assert len(agent.models) >= 2


async def test_another_worker_takes_over_at_once(processes: Processes) -> None:
    first = processes.start("--stub-ms", "20", "--max-batch", "4", name="a")
    processes.start("--stub-ms", "20", "--max-batch", "4", name="b")
    async with connected(processes.endpoint("a"), processes.endpoint("b")) as agent:
        await agent.until(lambda: agent.client.spare == 2 * 4)  # both are there, with room for a batch each
        agent.submit(range(60))
        await agent.answered(4)
        first.kill()
        await agent.answered(60)
        assert agent.client.available


async def test_a_broken_device_ends_the_process_with_70_and_its_successor_answers(processes: Processes) -> None:
    first = processes.start()
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(1), "stub-fault")
        assert await asyncio.to_thread(first.wait, BOUND_S) == 70
        await agent.until(lambda: not agent.client.available)
        agent.client.cancel([0])
        agent.submit(range(1, 3))
        processes.start()
        await agent.answered(2)


async def test_a_cancelled_request_is_not_answered(processes: Processes) -> None:
    processes.start("--stub-ms", "20", "--max-batch", "1")
    async with connected(processes.endpoint()) as agent:
        await agent.until(lambda: agent.client.available)
        agent.submit(range(12))  # four are accepted at a time: some of the cancelled wait here, some there
        await agent.answered(1)
        agent.client.cancel([2, 3, 4, 10])
        await agent.until(lambda: agent.client.outstanding + agent.client.queued == 0)
        assert set(agent.replies) == set(range(12)) - {2, 3, 4, 10}
        stats = await asyncio.to_thread(query_stats, processes.endpoint("w-control"), BOUND_S)
        assert stats.requests < 12


def test_an_endpoint_that_cannot_be_bound_ends_the_process_with_advice(processes: Processes) -> None:
    command = [sys.executable, "-m", "model_core", "--models", "stub", "--listen", f"ipc://{processes.directory}/no/w"]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=BOUND_S, check=False)
    assert finished.returncode == 2
    assert "does the directory of an ipc path exist" in finished.stderr
    assert finished.stdout == ""
