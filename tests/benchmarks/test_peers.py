"""The comparison with the peers: its account and its statistics, and two of its entries end to end on the local broker.

Which figures come out is not judged here; the peers' own packages are not needed.
"""

import json
import math
import os
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.ack_window import AckWindow, Partition
from agents.app import background
from agents.publisher import Publisher
from agents.state.connection import connect
from agents.transport.consumer import Chunk
from benchmarks import agent_cpu
from benchmarks.clicks import Clicks
from benchmarks.peers import __main__ as command
from benchmarks.peers import account, bench, packages, plot, report
from benchmarks.peers.account import Counts, Latency, Output, Sample
from benchmarks.peers.bench import Run, cpu_clock_s
from benchmarks.peers.footfall import Capability
from benchmarks.peers.packages import PEERS, PeersError
from benchmarks.peers.report import Measured
from benchmarks.peers.traffic import SET
from benchmarks.peers.work import MAX_BATCH, Click, Model, Task, decode_click, result_key, result_of
from footfall.stack import Stack
from model_core.stub import stub_result
from schemas.inference import Shed
from tests.doubles import RecordingProducer, record
from tests.waiting import until

events = st.lists(st.text(max_size=4), max_size=20)


# -- the work that is the same for all


def clicks(count: int) -> list[Click]:
    return [decode_click(value) for _, value in Clicks("r", count, 5).records()]


def test_a_result_says_which_event_it_answers_and_is_json() -> None:
    (click,) = clicks(1)
    (answer,) = Model(0)([click])
    result = result_of(click.id, click.data.user_id, answer)
    assert account.event_of(result) == click.id
    assert json.loads(result)["user_id"] == click.data.user_id
    assert len(json.loads(result)["items"]) == 2
    assert 200 < len(result) < 300


def test_the_models_of_peers_answer_as_much_as_the_workers_stub() -> None:
    answers = {len(answer) for answer in Model(0)(clicks(50))}
    theirs = {len(stub_result(number, 2).items) for number in range(1000)}
    assert max(answers) - min(theirs) <= 12
    assert max(theirs) - min(answers) <= 12


def test_every_peer_has_a_module_that_says_what_it_follows() -> None:
    folder = Path(packages.__file__).parent
    for peer in PEERS:
        assert (folder / f"{peer.name}.py").is_file()


# -- the account


@given(events, st.randoms())
def test_what_is_answered_once_is_neither_lost_nor_duplicated(sent: list[str], chance: random.Random) -> None:
    sent = list(dict.fromkeys(sent))
    outputs = [Output(event, 0) for event in sent]
    chance.shuffle(outputs)
    assert account.counts(sent, outputs) == Counts(0, 0)


@given(events, events)
def test_the_counts_add_up_to_what_came_out(sent: list[str], out: list[str]) -> None:
    found = account.counts(sent, [Output(event, 0) for event in out])
    asked = [event for event in out if event in set(sent)]
    assert found.lost == len(set(sent) - set(out))
    assert found.duplicated == len(asked) - len(set(asked))
    assert found.unasked == len(set(out) - set(sent))


def test_a_rate_is_that_of_the_batches_after_the_first() -> None:
    start_up = [Output("e", 0.0)] * MAX_BATCH  # whenever they were begun
    batches = [Output("e", 50.0 * number) for number in range(1, 21) for _ in range(MAX_BATCH)]
    chance = random.Random(1)
    chance.shuffle(outputs := start_up + batches)
    assert account.rate(outputs) == pytest.approx(MAX_BATCH / 0.05)


def test_no_rate_is_told_of_results_that_came_at_once() -> None:
    with pytest.raises(account.NoFigureError, match="give it more events"):
        account.rate([Output("e", 5.0)] * 500)
    with pytest.raises(account.NoFigureError, match="give it more events"):
        account.rate([])


def test_cpu_counts_from_just_before_the_first_results_to_the_last() -> None:
    samples = [
        Sample(0, {"agent": 0.0, "worker": 0.0}),  # start-up
        Sample(0, {"agent": 1.9, "worker": 0.48}),
        Sample(100, {"agent": 2.0, "worker": 0.5}),
        Sample(600, {"agent": 2.5, "worker": 0.6}),
        Sample(1100, {"agent": 3.0, "worker": 0.7}),
        Sample(1100, {"agent": 9.0, "worker": 0.9}),  # idle
    ]
    assert account.cpu_us(samples) == pytest.approx({"agent": 1000.0, "worker": 200.0})
    for too_few in (samples[:2], samples[2:], []):
        with pytest.raises(account.NoFigureError, match="a cost needs"):
            account.cpu_us(too_few)


def test_the_cpu_clock_of_a_process_is_its_own() -> None:
    before_s = time.process_time()
    clock_s = cpu_clock_s(os.getpid())
    assert before_s <= clock_s <= time.process_time()


def test_a_latency_runs_until_the_last_arrival_and_a_lost_event_is_late_for_ever() -> None:
    found = account.latencies_ms({"a": 100.0, "b": 200.0, "c": 0.0}, {"a": 130.0, "b": 210.0}, {"a": 120.0, "b": 250.0})
    assert found == [30.0, 50.0, math.inf]
    assert Latency.of(found) == Latency(50.0, None, None, None)
    assert Latency.of([1.0] * 98 + [2.0, 7.0]) == Latency(1.0, 1.0, 2.0, 7.0)


def test_a_users_stored_result_is_to_answer_the_newest_event() -> None:
    sent = [("e1", "anna"), ("e2", "ben"), ("e3", "anna")]
    assert account.stale(sent, {"anna": "e3", "ben": "e2"}) == 0
    assert account.stale(sent, {"anna": "e1", "ben": "e2"}) == 1
    assert account.stale(sent, {"ben": "e2"}) == 1


@pytest.mark.parametrize("command", ["SET", "set"])
def test_a_line_of_redis_monitor_tells_when_which_result_was_stored(command: str) -> None:
    value = result_of("r-000000000000000007", "r-3", b'{"item_id":"1"}').replace(b'"', b'\\"')
    line = b'1339518083.107412 [0 127.0.0.1:60866] "%b" "%b" "%b"' % (
        command.encode(), result_key("run", "r-3").encode(), value
    )
    match = SET.match(line)
    assert match is not None
    assert (match["at_s"], match["event"]) == (b"1339518083.107412", b"r-000000000000000007")
    assert SET.match(b'1339518083.1 [0 lua] "GET" "user:{3}:history"') is None


# -- the report


def one(
    peer: str, rate_eps: float, *, model: str = "null", cpu_us: float = 20.0, p99_ms: float | None = None
) -> Measured:
    latency = None if p99_ms is None else Latency(p99_ms / 2, p99_ms, p99_ms, p99_ms)
    cpu = {"agent": cpu_us, "worker": 5.0} if peer == "footfall" else {"agent": cpu_us}
    run = Run(rate_eps=rate_eps, cpu_us=cpu, counts=Counts(0, 0), stale_users=0, committed_share=1.0,
              record_ms=latency, redis_ms=latency, both_ms=latency, sender_late_ms=latency)
    return Measured(peer, model, p99_ms is not None, run)


MEASURED = [
    *(one("footfall", rate) for rate in (39_000, 41_000, 40_000)),
    one("stock_faust", 5_000, cpu_us=190), one("aiokafka", 25_000, cpu_us=50),
    one("footfall", 40_000, model="5ms"), one("bytewax", 20_000, model="5ms"), one("confluent", 16_000, model="5ms"),
    one("footfall", 5_120, model="50ms"),
    one("footfall", 2_450, model="5ms", p99_ms=20), one("bytewax", 2_450, model="5ms", p99_ms=120),
    one("aiokafka", 2_450, model="5ms", p99_ms=40),
]


def whole(measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        **report.figures(PEERS, measured), "broker": {"kind": "apache-kafka", "version": "4"}, "machine": {"cpus": 2},
        "measured_at": "now", "rounds": 3, "events": 1000, "rate_eps": 2_450, "floors": ["aiokafka", "confluent"],
        "git_commit": "abc",
    }


def test_the_report_tells_medians_spreads_and_what_footfall_is_held_against() -> None:
    found = report.figures(PEERS, MEASURED)
    assert found["throughput_eps"]["null"] == {"footfall": 40_000, "stock_faust": 5_000, "aiokafka": 25_000}
    assert found["spread"]["throughput_eps"]["null"]["footfall"] == {"min": 39_000, "median": 40_000, "max": 41_000}
    assert found["p99_ms"] == {"5ms": {"footfall": 20, "bytewax": 120, "aiokafka": 40}}
    assert found["cpu_us_per_event"]["null"]["footfall"] == 25  # agent and worker
    assert found["cpu_us_of_footfall"] == {
        part: {model: {"footfall": cost} for model in ("null", "5ms", "50ms")}
        for part, cost in (("agent", 20), ("worker", 5))
    }
    assert found["ratios"] == {
        "cpu_of_footfall_over_aiokafka, null": 0.5,
        "throughput_of_footfall_over_stock_faust, null": 8.0,
        "throughput_of_footfall_over_best_peer, 5ms": 2.0,
        "throughput_of_footfall_over_device_limit, 50ms": 1.0,
        "p99_of_footfall_over_best_peer, 5ms": 0.5,
    }
    assert found["ratios"].keys() == found["targets"].keys()


def test_losses_add_up_over_all_runs_of_a_peer() -> None:
    run = msgspec.structs.replace(MEASURED[0].run, counts=Counts(3, 1), committed_share=0.5)
    quix = [Measured("quix", model, False, run) for model in ("null", "5ms")]
    found = report.figures(PEERS, [*quix, *MEASURED])
    assert (found["lost"]["quix"], found["duplicated"]["quix"], found["runs_not_fully_committed"]["quix"]) == (6, 2, 2)
    assert found["lost"]["footfall"] == 0
    assert "lost: quix 6" in report.table({**whole(MEASURED), "lost": found["lost"]})


def test_the_table_names_every_peer_that_was_measured() -> None:
    text = report.table(whole(MEASURED))
    for name in ("footfall", "stock_faust", "bytewax", "aiokafka", "confluent"):
        assert name in text
    assert "40,000 [39,000-41,000]" in text


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot.draw(whole(MEASURED), tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")


# -- the packages


def test_a_python_that_lacks_a_peer_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(PeersError, match=r"pip install -c .*constraints.txt .*quixstreams==") as raised:
        packages.versions(Path(sys.executable), ["no-such-package-as-this"])
    assert "\n" not in str(raised.value)


def test_the_versions_are_those_of_the_python_that_runs_the_peer() -> None:
    found = packages.all_versions([peer for peer in PEERS if not peer.apart], Path("nobody/asks"))
    assert found["aiokafka"] == {"aiokafka": "0.14.0"}
    assert set(found) == {"footfall", "stock_faust", "aiokafka", "aiokafka_overlapped"}


def test_the_environment_gets_the_peers_and_what_their_loops_need() -> None:
    wanted = " ".join(packages.requirements())
    for name in ("quixstreams", "bytewax", "faststream", "confluent-kafka", "aiokafka", "redis", "uvloop", "msgspec"):
        assert name in wanted
    assert "footfall[" not in wanted


# -- from end to end


class Silent:
    """A worker that leaves the answers to the test."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def submit(self, request_id: int, body: tuple[int, msgspec.Raw], budget_ms: int) -> None:
        self.asked.append(request_id)


@pytest.mark.stack
async def test_footfalls_events_are_done_once_redis_and_the_topic_have_their_results(stack: Stack, prefix: str) -> None:
    task = Task(bootstrap_servers="", redis_url=stack.settings.redis_url, prefix=prefix, source="in", sink="out",
                run=prefix, service_ms=0)
    values = [value for _, value in Clicks("r", 3, 1).records()]
    records = [record(value, topic="in", offset=offset) for offset, value in enumerate(values)]
    partition, window = Partition("in", 0), AckWindow()
    window.deliver(partition, range(3))
    window.take(3)
    worker, producer, redis = Silent(), RecordingProducer(), connect(task.redis_url)
    producer.hold = True
    publisher = Publisher(producer)
    capability = Capability(task, worker, redis, publisher)
    key = result_key(prefix, "r-0")

    async def stored() -> str:
        value: Any = await redis.get(key)
        return account.event_of(value)

    async with background(publisher.run, capability.run):
        await capability.handle([Chunk(partition, records, window)])
        assert worker.asked == [0, 1, 2]
        capability.on_replies([Shed(0), msgspec.structs.replace(stub_result(1, 2), id=1)])
        await until(lambda: bool(producer.pending))
        assert await stored() == "r-000000000000000001"
        assert worker.asked == [0, 1, 2, 3]  # what was shed is asked again
        assert window.in_hand == 3  # Redis has it, the topic has not
        capability.on_replies([stub_result(3, 2), stub_result(2, 2)])
        producer.hold = False
        producer.pending.pop().set_result(None)
        await until(lambda: not window.in_hand)
        assert window.positions() == {partition: 3}
        assert await stored() == "r-000000000000000002"
    await redis.unlink(key)
    await redis.aclose()


@pytest.mark.stack
@pytest.mark.timeout(300)
def test_footfall_and_the_bare_loop_answer_every_event_once_and_are_reported(
    report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent_cpu, "SETTLE_TIMEOUT_S", 0.0)
    monkeypatch.setattr(bench, "QUIET_S", 1.0)
    monkeypatch.setattr(bench, "WARM_S", 0.5)
    code = command.main([
        "--json", str(report), "--events", "3000", "--rounds", "1", "--models", "5ms", "--seconds", "1",
        "--rate", "100", "--only", "footfall", "aiokafka",
    ])
    found = json.loads(report.read_bytes())
    assert code == 0, found["failed_runs"]
    peers = {"footfall", "aiokafka"}
    for name in ("throughput_eps", "p99_ms", "cpu_us_per_event"):
        assert found[name].keys() == {"5ms"}
        assert found[name]["5ms"].keys() == peers
        assert all(value > 0 for value in found[name]["5ms"].values())
    for name in ("lost", "duplicated", "unasked", "stale_users", "runs_not_fully_committed"):
        assert found[name] == dict.fromkeys(sorted(peers), 0), name
    assert found["broker"]["kind"] == "tansu"
    assert found["versions"]["aiokafka"]["aiokafka"]
    assert {"device", "git_commit", "measured_at", "rounds"} <= found.keys()


def test_a_task_travels_as_json() -> None:
    task = Task(bootstrap_servers="b", redis_url="r", prefix="p", source="s", sink="t", run="n", service_ms=5.0)
    assert msgspec.json.decode(msgspec.json.encode(task), type=Task) == task
    assert task.group == "p.n"
