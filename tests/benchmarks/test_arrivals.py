"""Events come when they are due, whatever becomes of them."""

import itertools

import pytest

from benchmarks.arrivals import poisson, when_due


def test_arrivals_have_their_rate_and_no_memory() -> None:
    due_s = list(poisson(1000, 20, seed=1))
    assert due_s == sorted(due_s)
    assert due_s == list(poisson(1000, 20, seed=1))
    assert len(due_s) == pytest.approx(20_000, rel=0.03)
    gaps = [later - earlier for earlier, later in itertools.pairwise(due_s)]
    assert sum(gap > 0.001 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.02)  # 1/e


class Clock:
    def __init__(self) -> None:
        self.now_s = 10.0
        self.slept_s: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


def test_what_became_due_meanwhile_is_told_at_once_and_nothing_early() -> None:
    clock, due_s, told = Clock(), [11.0, 11.5, 12.0, 15.0], []
    for now_due in when_due(due_s, clock, clock.sleep):
        assert max(due_s[now_due]) <= clock()
        told.append(due_s[now_due])
        clock.now_s += 1.25  # to hand them over
    assert told == [[11.0], [11.5, 12.0], [15.0]]
    assert clock.slept_s == [1.0, 0.0, 1.5]
