"""What may be committed is the contiguous done prefix of what was delivered."""

from collections.abc import Mapping
from itertools import accumulate, takewhile

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import Struct

from agents.ack_window import AckWindow, OffsetRun, Partition

CLICKS, PURCHASES = Partition("clicks", 0), Partition("purchases", 0)

log_with_holes = st.sets(st.integers(0, 200), min_size=1, max_size=60).map(sorted)


@given(log_with_holes, st.randoms(use_true_random=False), st.integers(0, 60))
def test_the_position_follows_the_done_prefix_in_whatever_order_events_finish(
    offsets: list[int], random: object, finished: int
) -> None:
    window = AckWindow()
    window.deliver(CLICKS, offsets)
    window.take(len(offsets))
    order = offsets[:]
    random.shuffle(order)  # type: ignore[attr-defined]
    done = set(order[:finished])
    for offset in order[:finished]:
        window.done(CLICKS, offset)

    prefix = [offset for index, offset in enumerate(offsets) if set(offsets[: index + 1]) <= done]
    assert window.positions() == ({CLICKS: prefix[-1] + 1} if prefix else {})
    assert window.in_hand == len(offsets) - len(done)


@given(log_with_holes, st.data())
def test_asking_often_gives_the_same_position_as_asking_once(offsets: list[int], data: st.DataObject) -> None:
    often, once = AckWindow(), AckWindow()
    for window in (often, once):
        window.deliver(CLICKS, offsets)
        window.take(len(offsets))
    for offset in data.draw(st.permutations(offsets)):
        often.done(CLICKS, offset)
        once.done(CLICKS, offset)
        often.positions()
    assert often.positions() == once.positions() == {CLICKS: offsets[-1] + 1}


def test_a_hole_in_the_log_does_not_hold_the_position() -> None:
    window = AckWindow()
    window.deliver(CLICKS, [3, 9])
    window.take(2)
    window.done(CLICKS, 3)
    window.done(CLICKS, 9)
    assert window.positions() == {CLICKS: 10}


def test_an_event_that_finishes_twice_is_a_bug_that_shows() -> None:
    window = AckWindow()
    window.deliver(CLICKS, [1, 2])
    window.take(2)
    window.done(CLICKS, 1)
    with pytest.raises(ValueError, match="twice"):
        window.done(CLICKS, 1)
    window.positions()
    with pytest.raises(ValueError, match="twice"):
        window.done(CLICKS, 1)


def test_what_was_delivered_but_not_taken_is_not_waited_for() -> None:
    window = AckWindow()
    window.deliver(CLICKS, range(5))
    window.take(2)
    window.done(CLICKS, 0)
    window.done(CLICKS, 1)
    assert window.in_hand == 0
    assert window.positions() == {CLICKS: 2}


@given(log_with_holes, st.randoms(use_true_random=False), st.integers(0, 60), st.integers(0, 2))
def test_a_run_is_settled_when_all_of_it_is_done_or_was_committed_before(
    offsets: list[int], random: object, finished: int, asked: int
) -> None:
    start = offsets[len(offsets) // 2]
    window = AckWindow({CLICKS: start})
    delivered = [offset for offset in offsets if offset >= start]
    window.deliver(CLICKS, delivered)
    window.take(len(delivered))
    random.shuffle(delivered)  # type: ignore[attr-defined]
    for offset in delivered[:finished]:
        window.done(CLICKS, offset)
    for _ in range(asked):
        window.positions()
    for offset in offsets:
        known = offset < start or offset in delivered[:finished]
        assert window.settled(OffsetRun("clicks", 0, offset, offset)) == known
    assert not window.settled(OffsetRun("clicks", 0, 0, 1000))


def test_nothing_is_known_of_a_partition_that_is_not_assigned() -> None:
    assert not AckWindow({CLICKS: 5}).settled(OffsetRun("clicks", 1, 0, 0))


class Told(Struct):
    """A delivered offset."""

    partition: Partition
    offset: int
    taken: bool = False
    done: bool = False


class Epoch:
    """A window, and all that it was told as a plain list in the order of delivery."""

    def __init__(self, starts: Mapping[Partition, int]) -> None:
        self.window, self.starts = AckWindow(starts), starts
        self.told: list[Told] = []
        self.asked: dict[Partition, int] = {}  # the positions, when they were last asked for

    def of(self, partition: Partition) -> list[Told]:
        return [one for one in self.told if one.partition == partition]

    @property
    def in_hand(self) -> list[Told]:
        return [one for one in self.told if one.taken and not one.done]

    def done(self, one: Told) -> None:
        self.window.done(one.partition, one.offset)
        one.done = True

    def ask(self) -> Mapping[Partition, int]:
        before, self.asked = self.asked, self.window.positions()
        for partition in (CLICKS, PURCHASES):
            prefix = list(takewhile(lambda one: one.done, self.of(partition)))
            assert self.asked.get(partition) == (prefix[-1].offset + 1 if prefix else None)
            assert self.asked.get(partition, 0) >= before.get(partition, 0)
            open_ = self.of(partition)[len(prefix) :]  # all that is remembered
            assert list(self.window._delivered.get(partition, ())) == [one.offset for one in open_]
            assert self.window._done.get(partition, set()) == {one.offset for one in open_ if one.done}
        return self.asked


class Epochs(RuleBasedStateMachine):
    """Two partitions are read, and read again from what was committed, while older epochs still finish their work."""

    partitions = st.sampled_from((CLICKS, PURCHASES))
    ages = st.sampled_from((0, 0, 0, 1, 2))  # mostly the current epoch
    gaps = st.lists(st.sampled_from((1, 1, 1, 2, 7)), min_size=1, max_size=6)  # a log has holes

    def __init__(self) -> None:
        super().__init__()
        self.log: dict[Partition, list[int]] = {CLICKS: [], PURCHASES: []}
        self.committed: dict[Partition, int] = {}
        self.assigned = {CLICKS, PURCHASES}
        self.epochs = [Epoch({CLICKS: 0})]

    def epoch(self, age: int) -> Epoch:
        return self.epochs[-1 - min(age, len(self.epochs) - 1)]

    @precondition(lambda self: any(one.done for one in self.epoch(0).told))
    @rule(assigned=st.sets(partitions, min_size=1), with_start=st.sets(partitions))
    def new_epoch(self, assigned: set[Partition], with_start: set[Partition]) -> None:
        self.assigned = assigned
        self.epochs.append(Epoch({partition: self.committed.get(partition, 0) for partition in assigned & with_start}))

    @rule(partition=partitions, gaps=gaps)
    def deliver(self, partition: Partition, gaps: list[int]) -> None:
        if partition not in self.assigned:
            return
        epoch, log = self.epoch(0), self.log[partition]
        read = epoch.of(partition)
        begin = read[-1].offset + 1 if read else self.committed.get(partition, 0)
        offsets = [offset for offset in log if offset >= begin][: len(gaps)]  # what an older epoch did not commit
        if not offsets:
            last = log[-1] if log else -1
            offsets = list(accumulate(gaps, initial=last))[1:]
            log += offsets
        epoch.window.deliver(partition, offsets)
        epoch.told += [Told(partition, offset) for offset in offsets]

    @precondition(lambda self: any(not one.taken for one in self.epoch(0).told))
    @rule(age=ages, count=st.integers(1, 8))
    def take(self, age: int, count: int) -> None:
        epoch = self.epoch(age)
        taken = [one for one in epoch.told if not one.taken][:count]
        epoch.window.take(len(taken))
        for one in taken:
            one.taken = True

    @precondition(lambda self: any(not one.done for one in self.epoch(0).told))
    @rule(age=ages, which=st.lists(st.integers(0, 7), min_size=1, max_size=6))
    def done(self, age: int, which: list[int]) -> None:
        epoch = self.epoch(age)
        if not epoch.in_hand:
            self.take(age, len(which))
        for index in which:
            if epoch.in_hand:
                epoch.done(epoch.in_hand[index % len(epoch.in_hand)])

    @precondition(lambda self: any(one.done for one in self.epoch(0).told))
    @rule(index=st.integers(0, 30))
    def done_twice(self, index: int) -> None:
        epoch = self.epoch(0)
        done = [one for one in epoch.told if one.done]
        with pytest.raises(ValueError, match="twice"):
            epoch.done(done[index % len(done)])

    @precondition(lambda self: self.epoch(0).told)
    @rule(age=ages)
    def positions(self, age: int) -> None:
        positions = self.epoch(age).ask()
        if age == 0:  # what older epochs say is not committed
            assert all(position >= self.committed.get(partition, 0) for partition, position in positions.items())
            self.committed.update(positions)

    @precondition(lambda self: self.epoch(0).told)
    @rule(age=ages, partition=partitions, count=st.integers(1, 4))
    def settled(self, age: int, partition: Partition, count: int) -> None:
        epoch = self.epoch(age)
        below = epoch.asked.get(partition, epoch.starts.get(partition))
        done = {one.offset for one in epoch.of(partition) if one.done}
        still_open = {one.offset for one in epoch.of(partition)} - done
        for first in range(max(self.log[partition], default=0) + 2):
            offsets = range(first, first + count)
            known = below is not None and all(offset < below or offset in done for offset in offsets)
            assert epoch.window.settled(OffsetRun(*partition, offsets[0], offsets[-1])) == known
            assert not (known and still_open.intersection(offsets))

    @invariant()
    def what_is_in_hand_and_unfinished_is_known_at_any_time(self) -> None:
        for epoch in self.epochs:
            assert epoch.window.in_hand == len(epoch.in_hand)
            assert epoch.window.unfinished == any(one.offset >= epoch.asked.get(one.partition, 0) for one in epoch.told)

    def teardown(self) -> None:
        """However it went: once all is done, each epoch has come to its end and remembers nothing."""
        for epoch in self.epochs:
            epoch.window.take(sum(not one.taken for one in epoch.told))
            for one in epoch.told:
                one.taken = True
            for one in reversed(epoch.in_hand):
                epoch.done(one)
            assert epoch.ask() == {one.partition: one.offset + 1 for one in epoch.told}
            assert (epoch.window.in_hand, epoch.window.unfinished) == (0, False)


TestEpochs = Epochs.TestCase
TestEpochs.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
