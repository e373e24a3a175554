"""The consumer's four rules, each against a scripted fetcher and coordinator. No broker, no luck."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import ConsumerRecord
from faust.types import TP

import agents.transport  # noqa: F401 - registers gapless://
from agents.ack_window import Partition
from agents.app import App
from agents.liveness import FROZEN
from agents.transport import consumer
from agents.transport.consumer import MAX_QUEUED_CHUNKS, Chunk, GaplessConsumer
from agents.transport.intake import chunks
from agents.transport.thread import GaplessThread, Start
from tests.doubles import record

TOPIC = "retail.clickstream.v1"
P0, P1 = TP(TOPIC, 0), TP(TOPIC, 1)


def records(first: int, last: int, partition: int = 0) -> list[ConsumerRecord]:
    return [record(b"", partition=partition, offset=offset) for offset in range(first, last + 1)]


class ScriptedThread:
    """Answers as the consumer thread would: seeks and commits are noted, starts and fetches are scripted."""

    beacon = None

    def __init__(self) -> None:
        self.starts: asyncio.Queue[Start | None] = asyncio.Queue()
        self.fetches: asyncio.Queue[dict[TP, Sequence[ConsumerRecord]]] = asyncio.Queue()
        self.fetching = asyncio.Event()
        self.opened = 0
        self.sought_back: list[tuple[TP, int]] = []
        self.committed: list[dict[Any, int]] = []
        self.takes_commits = True
        self.while_seeking: Callable[[], Awaitable[None]] | None = None
        self.assigned: set[TP] = set()

    async def call_thread(self, function: Callable[..., Awaitable[Any]], *args: Any) -> Any:
        return await function(*args)

    async def rewind(self) -> Start | None:
        start = await self.starts.get()
        self.opened += 1
        return start

    async def seek_back(self, tp: TP, offset: int) -> None:
        self.sought_back.append((tp, offset))
        if self.while_seeking is not None:
            await self.while_seeking()

    async def commit_fenced(self, offsets: dict[Any, int], generation: int) -> bool:
        self.committed.append({**offsets, "generation": generation})
        return self.takes_commits

    async def getmany(self, active: set[TP] | None, timeout: float) -> dict[TP, Sequence[ConsumerRecord]]:  # noqa: ASYNC109
        self.fetching.set()
        return await self.fetches.get()

    def assignment(self) -> set[TP]:
        return self.assigned


class ScriptedConsumer(GaplessConsumer):
    def _new_consumer_thread(self) -> Any:
        return ScriptedThread()


class Harness:
    """A real consumer of a real app, whose thread is scripted and whose agent is the test."""

    def __init__(self) -> None:
        self.app = App("test", broker="gapless://127.0.0.1:1", store="memory://", web_enabled=False)
        self.consumer = ScriptedConsumer(
            self.app.transport, self.app.topics.on_message,
            on_partitions_revoked=self._revoked, on_partitions_assigned=self._assigned,
        )
        self.thread: ScriptedThread = self.consumer._thread  # type: ignore[assignment]
        self.queue: asyncio.Queue[Chunk] = self.app.FlowControlQueue(maxsize=0, clear_on_resume=True)
        self.channel = SimpleNamespace(queue=self.queue)
        self.stream = SimpleNamespace(channel=self.channel)
        self.consumer.stop_flow()
        self._fetcher = SimpleNamespace(_stopped=asyncio.Event())
        self._drain = asyncio.create_task(self.consumer._drain_messages(self._fetcher))

    async def _revoked(self, revoked: set[TP]) -> None:
        await self.consumer.wait_empty()

    async def _assigned(self, assigned: set[TP], generation: int) -> None:
        self.thread.assigned = assigned

    async def assign(self, generation: int, *partitions: TP) -> None:
        self.app.consumer_generation_id = generation
        self.app.topics._tp_index.clear()  # type: ignore[attr-defined]
        for tp in partitions:
            self.app.topics._tp_index[tp] = (self.channel,)  # type: ignore[attr-defined]
        self.app._rebalancing_sensor_state = {}
        await self.consumer.on_partitions_assigned(set(partitions), generation)

    def resume(self) -> None:
        self.app.flow_control.resume()
        self.consumer.resume_flow()

    async def rebalance(self, generation: int, *partitions: TP) -> None:
        await self.consumer.on_partitions_revoked(set(self.thread.assigned))
        await self.assign(generation, *partitions)
        self.resume()

    def start_at(self, generation: int, **offsets: int) -> None:
        by_partition = {Partition(TOPIC, int(name[1:])): offset for name, offset in offsets.items()}
        self.thread.starts.put_nowait(Start(by_partition, generation))

    async def delivered(self, count: int = 1) -> list[list[int]]:
        got = []
        for _ in range(count):
            chunk = await asyncio.wait_for(self.queue.get(), 5)
            chunk.window.take(len(chunk.records))
            got.append([one.offset for one in chunk.records])
        return got

    async def finish(self, done: int, of: int) -> None:
        """Deliver `of` records and mark the first ones done."""
        self.start_at(1, p0=0)
        self.resume()
        self.thread.fetches.put_nowait({P0: records(0, of - 1)})
        await self.delivered()
        for offset in range(done):
            self.consumer._window.done(Partition(*P0), offset)

    def owns(self, tp: TP) -> bool:
        window = self.consumer.window
        return window is not None and Partition(*tp) in window.partitions

    def flows(self) -> bool:
        return self.consumer.flow_active

    async def close(self) -> None:
        self._drain.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self._drain


@pytest.fixture
async def harness() -> AsyncIterator[Harness]:
    harness = Harness()
    await harness.assign(1, P0)
    yield harness
    await harness.close()


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


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
