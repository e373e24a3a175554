"""The arithmetic of the benchmarks that load real agents and workers, and the sender's open loop."""

import asyncio
import os
import random
import threading
from collections import Counter
from datetime import UTC, datetime

import msgspec
import pytest

from agents.decoding import event_time_ms
from benchmarks.clicks import history_lengths, past
from benchmarks.faults.sender import Sender
from benchmarks.faults.traffic import Input
from benchmarks.streaming.answers import Answers, steady_eps
from benchmarks.streaming.command import drop_s
from benchmarks.streaming.cpu import Cpu, beside_the_device
from benchmarks.streaming.crowd import Crowd, item_ids
from benchmarks.streaming.served import Served, between
from footfall.ledger import Latency, Ledger
from schemas import events
from schemas.control import ModelRuns, ShedCounts, WorkerStats
from tests.waiting import wait_until

TOPIC = "t.clickstream.v1"


def told(ledger: Ledger, result: str, first: int, last: int, *, fallback: bool, at_ms: int) -> None:
    ledger.record_result(result, b"", user="u", history_version=last, covers=[(TOPIC, 0, first, last)],
                         fallback=fallback, at_ms=at_ms)


def test_what_was_answered_in_between_is_told_by_who_answered_it() -> None:
    ledger = Ledger({})
    for offset in range(6):
        ledger.record_sent(TOPIC, 0, offset, sent_ms=0, user="u", event_ms=1)
    told(ledger, "before", 0, 0, fallback=False, at_ms=5)
    before = Answers.until_now(ledger)
    told(ledger, "model", 1, 3, fallback=False, at_ms=10)
    told(ledger, "fallback", 4, 4, fallback=True, at_ms=2000)
    told(ledger, "owed", 4, 4, fallback=False, at_ms=3000)  # the model, for the fallback's event
    answers = Answers.until_now(ledger).since(before)
    assert (answers.model_results, answers.fallback_results, answers.events) == (1, 1, 4)
    assert (answers.model_share, answers.results_per_event) == (0.5, 0.5)
    assert answers.latency == Latency(10, 2000, 2000)
    assert [answers.within(ms) for ms in (9, 10, 2000)] == [0, 0.75, 1]


def test_nothing_answered_is_no_share_of_anything() -> None:
    nothing = Answers(0, 0, Counter(), Counter())
    assert (nothing.model_share, nothing.results_per_event, nothing.within(1)) == (0, 0, 0)


def test_the_steady_rate_leaves_out_a_slow_start_and_a_slow_end() -> None:
    slow_start = [(second, second) for second in range(5)]
    steady = [(5 + second, 5 + 100 * second) for second in range(20)]
    slow_end = [(25 + second, 2005 + second) for second in range(5)]
    assert steady_eps([*slow_start, *steady, *slow_end], 5.0) == pytest.approx(100)
    with pytest.raises(ValueError, match="no steady state"):
        steady_eps(steady, 10.0)


def test_at_either_end_of_a_minutes_backlog_5_s_are_left_out() -> None:
    assert (drop_s(60.0), drop_s(600.0)) == (5.0, 5.0)
    assert drop_s(3.0) < 0.5


def stats(epoch: str = "e", shed: int = 0, **batches: tuple[int, int, float]) -> WorkerStats:
    """`batches`: by model, how many of how many requests, each step of a batch so many ms."""
    runs = tuple(
        ModelRuns(model=model, batches=n, requests=requests, mean_batch_size=requests / n, max_batch_size=requests,
                  batch_sizes=(), padding_share=0.0, wait_ms=0.0, collate_ms=ms, forward_ms=10 * ms, reply_ms=2 * ms,
                  cost_error=0.0)
        for model, (n, requests, ms) in batches.items()
    )
    return WorkerStats(
        epoch=epoch, models=(), device="cpu", uptime_s=0, batches=sum(run.batches for run in runs),
        requests=sum(run.requests for run in runs), failures=0, shed=ShedCounts(late=shed), ignored=0, clients=1,
        mean_batch_size=0, queued=0, busy_share=0, runs=runs,
    )


def test_a_worker_is_judged_by_what_it_did_in_between() -> None:
    served = between(stats(m=(10, 10, 1.0)), stats(m=(30, 50, 2.0), shed=4))
    assert served == Served(  # 20 batches, in 50 ms of collating all in all
        batches=20, mean_batch_size=2, collate_ms=2.5, forward_ms=25, reply_ms=5, service_ms=32.5, shed=4, failures=0,
    )


@pytest.mark.parametrize(
    ("after", "complaint"), [(stats("f", m=(9, 9, 1.0)), "started again"), (stats(m=(8, 8, 1.0)), "ran no batch")]
)
def test_a_worker_that_was_restarted_or_idle_is_no_measurement(after: WorkerStats, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        between(stats(m=(8, 8, 1.0)), after)


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="Linux only")
def test_cores_in_use_are_told_by_process_and_the_devices_apart() -> None:
    allowed = os.sched_getaffinity(0)
    (first, *others) = sorted(allowed)
    if not others:
        pytest.skip("needs two cores")
    running = threading.Event()
    done = threading.Event()

    def work() -> None:
        os.sched_setaffinity(0, {first})
        running.set()
        while not done.is_set():
            pass

    thread = threading.Thread(target=work)
    thread.start()
    running.wait()
    cpu = Cpu({"me": os.getpid()}, {first})
    try:
        wait_until(lambda: cpu.shares()["me/device"] > 0)
    finally:
        done.set()
        thread.join()
    assert beside_the_device({"a": 0.25, "b": 0.5, "a/device": 0.75}) == 0.75


def test_a_crowd_clicks_in_turn_on_what_the_model_knows() -> None:
    known = item_ids()
    crowd = Crowd("c", known, seed=1)
    crowd.users += ["c-0", "c-1", "c-2"]
    clicks = crowd.in_turn()
    inputs = [next(clicks) for _ in range(7)]
    assert [one.user for one in inputs] == ["c-0", "c-1", "c-2", "c-0", "c-1", "c-2", "c-0"]
    visits = [one.user for one, _ in zip(crowd.visits(2, 25), range(100), strict=False)]
    assert set(visits[:50]) == {"c-1", "c-2"}  # it goes on where the turn was
    assert set(visits[50:]) == {"c-0", "c-1"}
    read = [msgspec.json.decode(one.value, type=events.Click) for one in inputs]
    assert len({click.id for click in read}) == 7
    assert {line.item_id for click in read for line in click.data.items} <= set(known)
    for one, click in zip(inputs, read, strict=True):
        assert one.time_ms == event_time_ms(click.time.timestamp(), -1)


def test_pasts_have_realistic_lengths_and_are_older_than_what_comes() -> None:
    lengths = history_lengths(5000, 128, random.Random(1))
    assert (min(lengths), max(lengths)) == (1, 128)
    assert 30 < sum(lengths) / len(lengths) < 36  # 35 before the longest are cut
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    user = past("u", 40, ["1", "2"], now_ms, random.Random(1))
    times_ms = [change.time_ms for change in user.changes]
    assert times_ms == sorted(times_ms)
    assert times_ms[-1] < now_ms
    assert sum(bool(change.bought) for change in user.changes) == 12
    assert len(user.ids) == 8 * 40


class SlowProducer:
    """Takes longer over each record than there is between two."""

    async def send(self, topic: str, value: bytes, key: bytes) -> "asyncio.Future[object]":
        await asyncio.sleep(0.01)
        return asyncio.get_running_loop().create_future()

    async def flush(self) -> None: ...


class Noting(Sender):
    """A sender without Kafka, which notes what time it would tell the ledger."""

    def __init__(self) -> None:
        self._producer, self._prefix, self._error, self._under_way = SlowProducer(), "t", None, 0
        self.noted_ms: list[int] = []

    async def _send(self, one: Input, sent_ms: int) -> None:
        self.noted_ms.append(sent_ms)
        await super()._send(one, sent_ms)


async def test_in_an_open_loop_the_time_of_an_event_counts_from_when_it_was_due() -> None:
    crowd, sender = Crowd("c", ["1"], seed=1), Noting()
    crowd.users.append("c-0")
    await sender.open_loop(crowd.in_turn(), [0.001 * number for number in range(20)])
    assert [sent_ms - sender.noted_ms[0] for sent_ms in sender.noted_ms] == pytest.approx(range(20), abs=1)
