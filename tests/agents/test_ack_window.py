"""What may be committed is the contiguous done prefix of what was delivered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ack_window import AckWindow, OffsetRun, Partition

CLICKS = Partition("clicks", 0)

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
