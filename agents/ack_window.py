"""Hop 8: which offsets may be committed.

Pure: knows offsets that were delivered and offsets that are done, and nothing of Kafka, futures or time. What may be
committed of a partition is the contiguous done prefix of what was *delivered*: never arithmetic on offsets, since a
log has holes (transaction markers, compaction).
"""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import NamedTuple, cast


class Partition(NamedTuple):
    """A partition of a topic; equal to Kafka clients' own TopicPartition tuples."""

    topic: str
    partition: int


class OffsetRun(NamedTuple):
    """Consecutive offsets of a partition, both ends included."""

    topic: str
    partition: int
    first: int
    last: int


class AckWindow:
    """Offsets of one epoch, that is of one assignment of partitions. A new epoch takes a new window.

    What belongs to an older epoch stays with its own window, where marking it done has no effect on what is committed.
    `starts`: what is below was committed before, for every partition of the assignment.
    """

    def __init__(self, starts: Mapping[Partition, int] | None = None) -> None:
        self._starts = dict(starts or {})
        self._delivered: dict[Partition, deque[int]] = {}
        self._done: dict[Partition, set[int]] = {}
        self._position: dict[Partition, int] = {}
        self._in_hand = 0

    @property
    def in_hand(self) -> int:
        """How much of what was taken is not over yet."""
        return self._in_hand

    @property
    def unfinished(self) -> bool:
        """Whether something that was delivered was not done when `positions` was last asked for."""
        return any(self._delivered.values())

    def deliver(self, partition: Partition, offsets: Iterable[int]) -> None:
        """Note offsets put before the agent, in the order of the log."""
        self._done.setdefault(partition, set())
        self._delivered.setdefault(partition, deque()).extend(offsets)

    def take(self, count: int) -> None:
        """Note that the agent works on `count` of the delivered offsets, or on what it owes for earlier ones."""
        self._in_hand += count

    def release(self) -> None:
        """Note that work is over that was taken and has no offset to be marked done."""
        self._in_hand -= 1

    @property
    def partitions(self) -> frozenset[Partition]:
        """The assignment."""
        return frozenset(self._starts)

    def done(self, partition: Partition, offset: int) -> None:
        """Note that nothing needs this offset any more: its results are stored and sent, or it is a dead letter.

        Raises ValueError when it is marked twice (this is a bug: two owners finished the same event).
        """
        done = self._done[partition]
        if offset in done or offset < self._position.get(partition, 0):
            raise ValueError(f"{partition.topic}/{partition.partition}@{offset} was marked done twice. This is a bug.")
        done.add(offset)
        self._in_hand -= 1

    def positions(self) -> dict[Partition, int]:
        """For each partition with progress, the offset that a restart should read next."""
        for partition, done in self._done.items():
            delivered = self._delivered[partition]
            while delivered and delivered[0] in done:
                offset = delivered.popleft()
                done.discard(offset)
                self._position[partition] = offset + 1
        return dict(self._position)

    def settled(self, run: OffsetRun) -> bool:
        """Whether all of these are known to be done. Of partitions that are not assigned here nothing is known."""
        partition = cast("Partition", run[:2])  # equal to one, at a fifth of the cost
        below = self._position.get(partition, self._starts.get(partition))
        if below is None:
            return False
        first, done = max(run.first, below), self._done.get(partition, ())
        if first == run.last:  # as mostly
            return first in done
        return all(offset in done for offset in range(first, run.last + 1))
