"""What the consumer waits for before it gives partitions away, or ends, and who is let in turn until then."""

import asyncio

import pytest

import agents.transport  # noqa: F401 - registers gapless://
from agents.ack_window import Partition
from agents.liveness import FROZEN
from agents.transport import consumer
from agents.transport.consumer import MAX_QUEUED_CHUNKS
from agents.transport.intake import chunks
from tests.agents.scripted_consumer import P0, P1, Harness, records, settle


async def test_a_revocation_waits_for_what_is_in_hand_and_commits_it(harness: Harness) -> None:
    await harness.finish(0, of=2)
    window = harness.consumer._window
    revoking = asyncio.create_task(harness.consumer.on_partitions_revoked({P0}))
    window.done(Partition(*P0), 0)
    await settle()
    assert not revoking.done()
    window.done(Partition(*P0), 1)
    await asyncio.wait_for(revoking, 5)
    assert harness.thread.committed[-1] == {Partition(*P0): 2, "generation": 1}


async def test_a_revocation_does_not_wait_for_ever_and_the_end_of_the_app_not_once_more(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await harness.finish(1, of=2)
    monkeypatch.setattr(consumer, "WAIT_EMPTY_S", 0.0)
    await asyncio.wait_for(harness.consumer.wait_empty(), 5)
    assert "1 events are not done" in caplog.text
    assert harness.thread.committed == [{Partition(*P0): 1, "generation": 1}]
    monkeypatch.setattr(consumer, "WAIT_EMPTY_S", 3600.0)
    await asyncio.wait_for(harness.consumer.wait_empty(), 5)


@pytest.mark.parametrize(("unsent", "done", "exit_codes"), [(True, 1, [FROZEN]), (False, 1, []), (True, 2, [])])
async def test_who_cannot_send_what_it_has_stored_before_others_take_over_ends(
    harness: Harness, monkeypatch: pytest.MonkeyPatch, *, unsent: bool, done: int, exit_codes: list[int]
) -> None:
    """As when the broker of the results is away for this process only: what it sent later would be older."""
    await harness.finish(done, of=2)
    monkeypatch.setattr(consumer, "WAIT_EMPTY_S", 0.0)
    harness.app.unsent = lambda: unsent
    ended: list[int] = []
    harness.consumer._end = ended.append
    await asyncio.wait_for(harness.consumer.on_partitions_revoked({P0}), 5)
    assert ended == exit_codes


async def test_nobody_waits_for_what_a_crashed_agent_had_in_hand(harness: Harness) -> None:
    await harness.finish(0, of=1)
    harness.app._crashed.set()
    await asyncio.wait_for(harness.consumer.wait_empty(), 5)
    harness.app._crashed.clear()


async def test_the_window_is_shown_while_its_records_are_delivered_and_at_no_other_time(harness: Harness) -> None:
    assert not harness.owns(P0), "nothing was sought yet"
    harness.start_at(1, p0=0)
    harness.resume()
    await asyncio.wait_for(harness.thread.fetching.wait(), 5)
    assert [harness.owns(tp) for tp in (P0, P1)] == [True, False]
    harness.consumer.stop_flow()
    assert not harness.owns(P0), "or the end of the app would wait for what begins meanwhile"
    harness.resume()
    assert harness.owns(P0)
    await harness.consumer.on_partitions_revoked({P0})
    assert not harness.owns(P0)
    await harness.assign(2, P1)
    harness.resume()
    assert not harness.owns(P1), "until the drain has sought"


async def test_partitions_take_turns(harness: Harness) -> None:
    await harness.rebalance(2, P0, P1)
    harness.start_at(2, p0=0, p1=0)
    harness.thread.fetches.put_nowait({P0: records(0, 599), P1: records(0, 299, partition=1)})
    got = [(offsets[0], offsets[-1]) for offsets in await harness.delivered(5)]
    assert got == [(0, 255), (0, 255), (256, 511), (256, 299), (512, 599)]


async def test_a_slow_agent_holds_the_fetch_and_a_rebalance_lets_go(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 256 * (MAX_QUEUED_CHUNKS + 2) - 1)})
    while harness.queue.qsize() < MAX_QUEUED_CHUNKS:
        await asyncio.sleep(0)
    await settle()
    assert harness.queue.qsize() == MAX_QUEUED_CHUNKS
    await harness.rebalance(2, P0)
    harness.start_at(2, p0=0)
    harness.thread.fetches.put_nowait({P0: records(0, 0)})
    assert await harness.delivered() == [[0]]


async def test_the_intake_takes_all_that_is_there_and_waits_for_nothing_more(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 299)})
    while harness.queue.qsize() < 2:
        await asyncio.sleep(0)
    taken = await anext(chunks(harness.stream))
    assert sum(len(chunk.records) for chunk in taken) == 300
    assert harness.consumer._window.in_hand == 300
