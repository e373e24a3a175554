"""The consumer that never skips an offset.

Four rules, all kept by one task (the drain), so nothing races with it:

1. Every stop, resume, revocation and assignment opens a new *epoch*; records fetched in an older one are thrown away.
2. An epoch delivers nothing until every assigned partition was sought to the group's committed offset (none: to the
   beginning), all in one step without an await in between.
3. A partition whose next record is not the expected one is sought back once before the gap is believed. A log that ends
   before the expected offset is read from its beginning.
4. What is committed is the contiguous done prefix of what was delivered (`AckWindow`), fenced by the generation.

Faust alone forgets acknowledgements before the commit of a revocation, and delivers prefetched records of an earlier
assignment; both lose events on real Kafka. Not for apps with tables, nor for `exactly_once`.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic
from typing import Any, NamedTuple

from aiokafka import ConsumerRecord
from aiokafka.errors import ConsumerStoppedError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from agents.ack_window import AckWindow, Partition
from agents.liveness import FROZEN
from agents.transport.thread import GaplessThread

logger = logging.getLogger(__name__)

MAX_CHUNK_RECORDS = 256  # partitions take turns: a long backlog of one does not starve the others
MAX_QUEUED_CHUNKS = 16  # 4,096 records ahead of the agent keep it busy over a fetch of some ms
# Below it, a pause lets records gather: a fetch costs broker, consumer thread and agent some 0.3 ms whatever it brings.
# From it on there is a backlog, and no hurry is too great.
SMALL_FETCH_RECORDS = 64
PAUSE_S = 0.005
POLL_S = 0.002  # only while the agent's queue is full, when there is no hurry
WAIT_EMPTY_S = 25.0  # half of Kafka's usual 60 s for a rebalance, rounded down; what is not done then is read again


class Chunk(NamedTuple):
    """Consecutive records of one partition, and the window of the epoch in which they were delivered."""

    partition: Partition
    records: Sequence[ConsumerRecord]
    window: AckWindow


def pause_s(fetched_records: int) -> float:
    """How long to leave the broker alone after a fetch."""
    return PAUSE_S if 0 < fetched_records < SMALL_FETCH_RECORDS else 0.0


class GaplessConsumer(driver.Consumer):
    """Delivers `Chunk`s into the queue of the one agent that reads a topic."""

    _thread: GaplessThread

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._epoch = 0
        self._rebalancing = False
        self._generation = -1
        self._window = AckWindow()
        self._given_up: AckWindow | None = None
        self._next: dict[Partition, int] = {}  # the offset expected next from the fetcher
        self._committed: dict[Partition, int] = {}
        self._end: Callable[[int], object] = os._exit  # no clean-up: that would send what is held
        super().__init__(*args, **kwargs)

    def _new_consumer_thread(self) -> GaplessThread:
        return GaplessThread(self, loop=self.loop, beacon=self.beacon)

    # -- rule 1: epochs

    def stop_flow(self) -> None:
        self._epoch += 1
        super().stop_flow()

    def resume_flow(self) -> None:
        if self._rebalancing:  # a late resume of the previous generation
            return
        self._epoch += 1
        super().resume_flow()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._rebalancing = True
        self.stop_flow()  # Faust does not when the assignment was empty (a hot spare)
        self.app.flow_control.suspend()
        self._active_partitions.difference_update(revoked)
        self._paused_partitions.difference_update(revoked)
        window = self._window
        await self._on_partitions_revoked(revoked)  # waits for work in hand and commits it
        if window.in_hand and self.app.unsent() and not self.app.should_stop:  # type: ignore[attr-defined]
            logger.critical("results are stored and cannot be sent before others take over: this process ends, or they "
                            "would reach the topic after newer ones; its events will be read again")
            self._end(FROZEN)
        self._forget()  # Faust forgets *before* that commit

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self.stop_flow()
        self.app.flow_control.suspend()
        self._forget()
        self._rebalancing = False
        await super().on_partitions_assigned(assigned, generation_id)

    def _forget(self) -> None:
        self._epoch += 1
        self._window = AckWindow()
        self._next.clear()
        self._committed.clear()

    @property
    def window(self) -> AckWindow | None:
        """Of the assignment whose records are being delivered; None without one, and while a rebalance lasts."""
        return self._window if self.flow_active and self._next else None

    # -- rule 2: seek before delivery

    async def perform_seek(self) -> None:
        """Do nothing: the drain seeks, when it opens an epoch."""

    async def _open_epoch(self, epoch: int) -> bool:
        start = await self._thread.call_thread(self._thread.rewind)
        if start is None or epoch != self._epoch or start.generation != self.app.consumer_generation_id:
            await asyncio.sleep(0.02)
            return False
        self._generation = start.generation
        self._window = AckWindow(start.offsets)
        self._next = dict(start.offsets)
        self._committed = dict(start.offsets)
        return True

    async def _drain_messages(self, fetcher: Any) -> None:
        ready = None
        reread: dict[Partition, int] = {}
        try:
            while not (self._stopped.is_set() or fetcher._stopped.is_set()):  # noqa: SLF001 - Faust's own way
                if not self.flow_active:
                    await self.wait(self.can_resume_flow)  # type: ignore[arg-type]  # as Faust itself does
                    continue
                epoch = self._epoch
                if ready != epoch:
                    if await self._open_epoch(epoch):
                        ready, reread = epoch, {}
                    continue
                active = self._get_active_partitions()
                if not active:
                    await self.sleep(0.1)
                    continue
                records = await self._getmany(active, 1.0)
                if records and epoch == self._epoch and not self.should_stop:
                    await self._deliver(records, epoch, reread)
                await asyncio.sleep(pause_s(sum(map(len, records.values()))))
        except (asyncio.CancelledError, ConsumerStoppedError):
            if not self.transport.app.should_stop:
                raise

    # -- rule 3: a gap is read again before it is believed

    async def _deliver(
        self, fetched: Mapping[Any, Sequence[ConsumerRecord]], epoch: int, reread: dict[Partition, int]
    ) -> None:
        waiting = [(Partition(*tp), await self._follow_on(tp, records, reread)) for tp, records in fetched.items()]
        longest = max(len(records) for _, records in waiting)
        for start in range(0, longest, MAX_CHUNK_RECORDS):
            for partition, records in waiting:
                part = records[start : start + MAX_CHUNK_RECORDS]
                if part and not await self._hand_over(partition, part, epoch):
                    return
            await asyncio.sleep(0)

    async def _follow_on(
        self, tp: Any, records: Sequence[ConsumerRecord], reread: dict[Partition, int]
    ) -> Sequence[ConsumerRecord]:
        """Return the records from the expected one on; none when there is a gap that is to be read again."""
        partition = Partition(*tp)
        expected = self._next.get(partition)
        if expected is None:  # a rebalance, while another partition of this fetch was sought back
            return ()
        if records[-1].offset < expected:
            await self._begin_anew(partition, records[0].offset, expected)
            return ()
        if records[0].offset < expected:
            records = [record for record in records if record.offset >= expected]
        if records and records[0].offset > expected and reread.get(partition) != expected:
            reread[partition] = expected
            await self._thread.call_thread(self._thread.seek_back, tp, expected)
            return ()
        return records

    async def _begin_anew(self, partition: Partition, first: int, expected: int) -> None:
        """Read from the beginning: of a log that ends before the expected offset, nothing there was delivered.

        aiokafka is at the beginning already, where it goes when the broker has no such offset. The group must be there
        too, or the next epoch would start behind the end again.
        """
        logger.error(
            "%s/%d has no offset %d: its log was cut off or made anew; it is read from %d on, and what was read before "
            "comes again", *partition, expected, first,
        )
        if await self._thread.call_thread(self._thread.commit_fenced, {partition: first}, self._generation):
            self._epoch += 1

    async def _hand_over(self, partition: Partition, records: Sequence[ConsumerRecord], epoch: int) -> bool:
        """Put one chunk before the agent, when it has room. Returns whether the epoch goes on."""
        if epoch != self._epoch:
            return False
        (channel,) = self.app.topics._tp_index[partition]  # type: ignore[attr-defined]  # noqa: SLF001 - one agent a topic
        while channel.queue.qsize() >= MAX_QUEUED_CHUNKS:
            await asyncio.sleep(POLL_S)
            if epoch != self._epoch or self.should_stop:
                return False
        self._window.deliver(partition, (record.offset for record in records))
        self._next[partition] = records[-1].offset + 1
        channel.queue.force_put_nowait(Chunk(partition, records, self._window))
        return True

    # -- rule 4: commit

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:  # noqa: ARG002, FBT001, FBT002
        """Commit what is done. Returns whether anything was committed."""
        window, committed = self._window, self._committed
        offsets = {
            partition: offset for partition, offset in window.positions().items()
            if offset > committed.get(partition, -1)
        }
        if not offsets:
            return False
        if not await self._thread.call_thread(self._thread.commit_fenced, offsets, self._generation):
            return False
        committed.update(offsets)
        return True

    async def wait_empty(self) -> None:
        """Wait until the agent has finished what it took, then commit; at most `WAIT_EMPTY_S`."""
        window = self._window
        # Faust asks twice at its end, the second time when the agent is gone
        deadline = 0.0 if window is self._given_up else monotonic() + WAIT_EMPTY_S
        while window.in_hand and monotonic() < deadline and not self.app.crashed:  # a crashed agent finishes nothing
            await self.commit()
            await asyncio.sleep(POLL_S)
        if window.in_hand:
            logger.warning("%d events are not done; they will be read again", window.in_hand)
            self._given_up = window
        await self.commit()

    async def is_behind(self) -> bool:
        """Whether there is anything to do. Raises KafkaError while the broker is away: then nothing can be finished."""
        return await self._thread.call_thread(self._thread.is_behind) or self._window.unfinished

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Do nothing: Faust's stall detector watches streams, which we do not use."""


class Transport(driver.Transport):
    """`gapless://`: Faust's aiokafka transport with `GaplessConsumer`."""

    Consumer = GaplessConsumer
