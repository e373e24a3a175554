"""The fault ledger, in small: its input is the same each time, and a short run accounts for every event."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from benchmarks.faults.__main__ import main
from benchmarks.faults.account import Account, _expected_states
from benchmarks.faults.kinds import FAULTS, Fault, Scene
from benchmarks.faults.sender import Sender
from benchmarks.faults.traffic import Traffic
from footfall.ledger import Ledger
from footfall.ledger_reader import LedgerReader
from schemas.events import CustomerEvent


def test_the_input_is_the_same_each_time_and_all_of_it_is_events() -> None:
    traffic = Traffic.now("t", 500, 20, seed=3)
    inputs = list(traffic.inputs())
    assert inputs == list(traffic.inputs())
    assert len(inputs) == 500
    for one in [*inputs, traffic.raising(1)]:
        event = msgspec.json.decode(one.value, type=CustomerEvent)
        assert (event.data.user, round(event.time.timestamp() * 1000)) == (one.user, one.time_ms)


def test_poison_is_no_event() -> None:
    traffic = Traffic.now("t", 1, 1, seed=3)
    for number in range(20):
        with pytest.raises(msgspec.DecodeError):
            msgspec.json.decode(traffic.poison(number).value, type=CustomerEvent)


def test_the_expected_state_counts_every_event_once() -> None:
    traffic = Traffic.now("t", 500, 20, seed=3)
    states = _expected_states(traffic)
    assert sum(state.version for state in states.values()) == 500
    assert all(state.history for state in states.values())


def test_faults_have_names_of_their_own() -> None:
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


async def nothing() -> None:
    pass


class Watched:
    """An account of four events, of which the last two were sent, and answered, during one fault."""

    def __init__(self, cap: float = 0.0) -> None:
        self.ledger, self.bad, self.newest = Ledger({}), 0, {("clicks", 0): 1}
        self.account = Account(cast("LedgerReader", self), cast("Sender", self))
        for offset in range(2):
            self.send(offset)
            self.answer(offset)
        self.fault = Fault("f", self.happens, 1, cap)
        self.scene = cast("Scene", SimpleNamespace(system=SimpleNamespace(agent_memory_mb=lambda: 1.0)))
        self.during: list[tuple[int, bool]] = [(2, False), (3, False)]
        self.committed = 4

    def send(self, offset: int) -> None:
        self.ledger.record_sent("clicks", 0, offset, sent_ms=1, user="u", event_ms=offset)
        self.newest["clicks", 0] = offset

    def answer(self, offset: int, *, fallback: bool = False) -> None:
        self.ledger.record_result(
            f"r{offset}", b"", user="u", history_version=offset, covers=[("clicks", 0, offset, offset)],
            fallback=fallback, at_ms=2,
        )

    async def happens(self, _: Scene) -> None:
        for offset, fallback in self.during:
            self.send(offset)
            self.answer(offset, fallback=fallback)

    async def drained(self, timeout_s: float) -> bool:
        return True

    async def report(self, different: tuple[str, ...] = (), unpaid: int = 0) -> dict[str, Any]:
        await self.account.watch(self.fault, self.scene, nothing())
        self.ledger.record_committed({("clicks", 0): self.committed})
        return self.account.report(list(different), unpaid)


async def test_a_run_without_a_fault_in_its_account_passes() -> None:
    report = await Watched().report()
    assert report["passed"], report


@pytest.mark.parametrize(("cap", "passed"), [(0.4, False), (0.5, True)])
async def test_falling_back_more_often_than_a_fault_may_cost_does_not_pass(cap: float, passed: bool) -> None:  # noqa: FBT001
    watched = Watched(cap)
    watched.during = [(2, True), (3, False)]
    report = await watched.report()
    assert (report["faults"][0]["fallback_share"], report["passed"]) == (0.5, passed)
    assert report["over_fallback_cap"] == ([] if passed else ["f"])


async def test_a_user_left_with_a_fallback_does_not_pass() -> None:
    assert not (await Watched().report(unpaid=1))["passed"]


async def test_a_state_that_differs_does_not_pass() -> None:
    assert not (await Watched().report(different=("user 17: version 1 instead of 2",)))["passed"]


async def test_an_event_that_was_answered_and_not_acknowledged_does_not_pass() -> None:
    watched = Watched()
    watched.committed = 3
    assert not (await watched.report())["passed"]


async def test_a_dead_letter_too_many_or_too_few_does_not_pass() -> None:
    watched = Watched()
    watched.bad = 1
    assert not (await watched.report())["passed"]
    watched = Watched()
    watched.ledger.record_dead_letter("clicks", 0, 0)
    assert not (await watched.report())["passed"]


async def test_an_answer_that_is_missing_does_not_pass() -> None:
    watched = Watched()
    watched.ledger.record_sent("clicks", 0, 4, sent_ms=1, user="u", event_ms=9)
    watched.committed = 5
    assert not (await watched.report())["passed"]


def test_every_fault_has_a_cap_that_can_be_exceeded() -> None:
    assert all(fault.max_fallback_share < 1 for fault in FAULTS)


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_a_short_run_loses_and_doubles_nothing(report: Path) -> None:
    only = ("poison_in_bursts", "worker_killed", "cache_restarted")
    code = main(["--events", "2000", "--units", "1", "--users", "50", "--only", *only, "--json", str(report)])
    counts = json.loads(report.read_bytes())
    assert code == 0, counts
    assert (counts["events_in"], counts["dead_letters"], counts["state_differences"]) == (2300, 300, 0)
    assert {one["fault"] for one in counts["faults"]} == set(only)
