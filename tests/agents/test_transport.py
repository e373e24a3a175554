"""The consumer's four rules, each against a scripted fetcher and coordinator. No broker, no luck."""

import asyncio
from types import SimpleNamespace

import pytest

import agents.transport  # noqa: F401 - registers gapless://
from agents.ack_window import Partition
from agents.transport.consumer import PAUSE_S, SMALL_FETCH_RECORDS, pause_s
from agents.transport.thread import GaplessThread
from tests.agents.scripted_consumer import P0, P1, Harness, records, settle


async def test_rule_1_records_asked_for_before_a_rebalance_are_not_delivered_after_it(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    await asyncio.wait_for(harness.thread.fetching.wait(), 5)  # a fetch is under way
    await harness.rebalance(2, P0)
    harness.start_at(2, p0=0)  # nothing was committed: the new epoch starts over
    harness.thread.fetches.put_nowait({P0: records(0, 428)})  # the old fetch answers now, with the new assignment
    harness.thread.fetches.put_nowait({P0: records(0, 5)})
    assert await harness.delivered() == [list(range(6))]


async def test_rule_1_a_resume_of_the_previous_generation_does_not_start_the_flow(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    await asyncio.wait_for(harness.thread.fetching.wait(), 5)
    await harness.consumer.on_partitions_revoked({P0})
    harness.consumer.resume_flow()
    assert not harness.consumer.flow_active


async def test_rule_1_a_hot_spare_without_partitions_stops_its_flow_at_a_rebalance() -> None:
    spare = Harness()
    await spare.assign(1)
    spare.start_at(1)
    spare.resume()
    await settle()
    assert spare.flows()
    await spare.consumer.on_partitions_revoked(set())
    assert not spare.flows()
    await spare.assign(2, P0)
    assert not spare.flows()
    await spare.close()


async def test_rule_1_an_assignment_without_a_revocation_before_it_stops_the_flow(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    await settle()
    await harness.assign(2, P0)  # as after a subscription of a new pattern
    assert not harness.flows()


async def test_rule_1_records_that_arrive_once_the_flow_is_stopped_are_not_delivered(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    await asyncio.wait_for(harness.thread.fetching.wait(), 5)
    harness.consumer.stop_flow()  # as at the end of the app: nothing resumes it
    harness.thread.fetches.put_nowait({P0: records(0, 5)})
    await settle()
    assert harness.queue.empty()


async def test_rule_1_a_second_resume_reads_again_what_it_cleared_from_the_queue(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 5)})
    while harness.queue.empty():
        await asyncio.sleep(0)
    harness.resume()
    harness.start_at(1, p0=0)
    harness.thread.fetches.put_nowait({})  # the fetch that was under way
    harness.thread.fetches.put_nowait({P0: records(0, 7)})
    assert await harness.delivered() == [list(range(8))]


async def test_rule_1_an_old_fetch_is_not_judged_by_what_the_new_epoch_expects(harness: Harness) -> None:
    """It would look like a log that was cut off, and move the group to its beginning."""
    harness.start_at(1, p0=1000)
    harness.resume()
    await asyncio.wait_for(harness.thread.fetching.wait(), 5)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(3, 8)})
    harness.start_at(1, p0=1000)
    harness.thread.fetches.put_nowait({P0: records(1000, 1001)})
    assert await harness.delivered() == [[1000, 1001]]
    assert (harness.thread.committed, harness.thread.sought_back) == ([], [])


async def test_rule_1_a_second_resume_while_a_gap_is_sought_back_ends_the_delivery_of_the_rest(
    harness: Harness,
) -> None:
    await harness.rebalance(2, P0, P1)
    harness.start_at(2, p0=3, p1=0)

    async def resume() -> None:
        harness.resume()

    harness.thread.while_seeking = resume
    harness.start_at(2, p0=3, p1=0)
    harness.thread.fetches.put_nowait({P0: records(9, 10), P1: records(0, 5, partition=1)})
    harness.thread.fetches.put_nowait({P1: records(0, 6, partition=1)})
    assert await harness.delivered() == [list(range(7))]


async def test_rule_1_a_rebalance_while_a_gap_is_sought_back_ends_the_delivery_of_the_rest(harness: Harness) -> None:
    await harness.rebalance(2, P0, P1)
    harness.start_at(2, p0=3, p1=0)
    harness.thread.while_seeking = lambda: harness.rebalance(3, P0, P1)
    harness.start_at(3, p0=3, p1=0)
    harness.thread.fetches.put_nowait({P0: records(9, 10), P1: records(0, 5, partition=1)})
    harness.thread.fetches.put_nowait({P1: records(0, 6, partition=1)})
    assert await harness.delivered() == [list(range(7))]
    assert harness.queue.empty()


async def test_rule_2_fausts_own_seek_moves_nothing_under_the_drain(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    await harness.consumer.perform_seek()  # the scripted thread knows none of the calls that Faust would make
    harness.thread.fetches.put_nowait({P0: records(0, 0)})
    assert await harness.delivered() == [[0]]


async def test_rule_2_nothing_is_fetched_before_every_partition_was_sought(harness: Harness) -> None:
    harness.thread.starts.put_nowait(None)  # the group still rebalances
    harness.resume()
    await settle()
    assert not harness.thread.fetching.is_set()
    harness.start_at(1, p0=7)
    harness.thread.fetches.put_nowait({P0: records(5, 9)})
    assert await harness.delivered() == [[7, 8, 9]]  # and what lies before the start is not delivered again
    assert harness.thread.opened == 2


async def test_rule_2_a_start_of_another_generation_is_asked_for_again(harness: Harness) -> None:
    harness.start_at(99, p0=50)
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 0)})
    assert await harness.delivered() == [[0]]


async def test_rule_3_a_gap_is_read_again_before_it_is_believed(harness: Harness) -> None:
    harness.start_at(1, p0=3)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(9, 10)})
    harness.thread.fetches.put_nowait({P0: records(9, 10)})
    assert await harness.delivered() == [[9, 10]]
    assert harness.thread.sought_back == [(P0, 3)]


async def test_rule_3_records_that_a_fetch_skipped_are_delivered(harness: Harness) -> None:
    harness.start_at(1, p0=3)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(9, 10)})
    harness.thread.fetches.put_nowait({P0: records(3, 10)})
    assert await harness.delivered() == [list(range(3, 11))]


async def test_rule_3_what_follows_on_is_delivered_without_a_seek(harness: Harness) -> None:
    harness.start_at(1, p0=3)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(3, 5)})
    harness.thread.fetches.put_nowait({P0: records(6, 7)})
    assert await harness.delivered(2) == [[3, 4, 5], [6, 7]]
    assert harness.thread.sought_back == []


async def test_rule_3_a_log_that_was_cut_off_or_made_anew_is_read_from_where_it_begins(
    harness: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    """The broker has no offset 1000 any more: aiokafka goes to the beginning. What is there was never delivered."""
    harness.start_at(1, p0=1000)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(3, 8)})
    harness.start_at(1, p0=3)
    harness.thread.fetches.put_nowait({P0: records(3, 9)})
    assert await harness.delivered() == [list(range(3, 10))]
    assert harness.thread.committed == [{Partition(*P0): 3, "generation": 1}]
    assert "1000" in caplog.text


async def test_rule_4_the_first_commit_of_a_group_does_not_pass_an_unfinished_head(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 9)})
    await harness.delivered()
    window = harness.consumer._window
    for offset in range(1, 10):
        window.done(Partition(*P0), offset)
    assert not await harness.consumer.commit()
    assert harness.thread.committed == []
    window.done(Partition(*P0), 0)
    assert await harness.consumer.commit()
    assert harness.thread.committed == [{Partition(*P0): 10, "generation": 1}]


async def test_rule_4_a_rebalance_commits_what_is_done_before_it_forgets(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 9)})
    await harness.delivered()
    for offset in range(10):
        harness.consumer._window.done(Partition(*P0), offset)
    await harness.consumer.on_partitions_revoked({P0})
    assert harness.thread.committed == [{Partition(*P0): 10, "generation": 1}]


async def test_rule_4_what_an_older_epoch_finishes_does_not_move_the_new_one(harness: Harness) -> None:
    harness.start_at(1, p0=0)
    harness.resume()
    harness.thread.fetches.put_nowait({P0: records(0, 9)})
    await harness.delivered()
    old = harness.consumer._window
    harness.consumer._forget()
    for offset in range(10):
        old.done(Partition(*P0), offset)
    assert not await harness.consumer.commit()


async def test_rule_4_a_commit_computed_before_a_rebalance_is_not_sent_after_it() -> None:
    coordinator = SimpleNamespace(generation=2)
    thread = SimpleNamespace(_ensure_consumer=lambda: SimpleNamespace(_coordinator=coordinator))
    assert not await GaplessThread.commit_fenced(thread, {P0: 10}, 1)  # type: ignore[arg-type]


async def test_rule_4_a_commit_carries_the_generation_that_its_records_were_delivered_in(harness: Harness) -> None:
    await harness.finish(1, of=1)
    harness.app.consumer_generation_id = 2  # the group is a generation ahead already
    await harness.consumer.commit()
    assert harness.thread.committed == [{Partition(*P0): 1, "generation": 1}]


async def test_rule_4_a_commit_that_the_group_did_not_take_is_sent_again(harness: Harness) -> None:
    await harness.finish(1, of=1)
    harness.thread.takes_commits = False
    assert not await harness.consumer.commit()
    harness.thread.takes_commits = True
    assert await harness.consumer.commit()
    assert not await harness.consumer.commit(), "nothing is new"
    assert len(harness.thread.committed) == 2


@pytest.mark.parametrize("fetched", [1, SMALL_FETCH_RECORDS - 1])
def test_after_a_small_fetch_records_have_time_to_gather(fetched: int) -> None:
    assert pause_s(fetched) == PAUSE_S


@pytest.mark.parametrize("fetched", [0, SMALL_FETCH_RECORDS, 4096])
def test_nothing_waits_after_a_fetch_that_waited_itself_or_that_left_a_backlog(fetched: int) -> None:
    assert pause_s(fetched) == 0.0
