"""`python -m benchmarks.peers --json FILE`: Footfall beside other stream processors for Python, on the same work.

Every run is a fresh process with a group, an output topic and keys of its own; peers take turns, round after round,
after a warm-up that is not counted. A backlog of clicks is drained (throughput, CPU per event), and events come at a
steady rate (latency, from when an event was due until the broker has its record and Redis its result). The model is a
device that takes 0, 5 or 50 ms for a batch of at most 256, one batch at a time: in the thread or process that each
peer's documentation recommends (see the peers' modules), and in its worker process for Footfall. All acknowledge an
event only after both writes. The broker, Redis and the senders share the machine: compare within one report only.
"""

import argparse
import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aiokafka.errors import KafkaError

from benchmarks import reports
from benchmarks.peers import account
from benchmarks.peers import report as reporting
from benchmarks.peers.bench import Bench, Run
from benchmarks.peers.packages import PEERS, Peer, PeersError, all_versions, interpreter
from benchmarks.peers.plot import draw
from benchmarks.peers.report import MODELS, Measured
from benchmarks.plots import PlotsMissingError
from benchmarks.reports import say
from footfall.errors import FootfallError
from footfall.stack import Stack
from schemas.settings import Settings

SLOW_SHARE = 0.3  # of the backlog, for the model that takes 50 ms: 117 full batches of 100,000 events
WARM_SHARE, WARM_EVENTS = 0.1, 1_000  # of the backlog, at least


def run(bench: Bench, peers: Sequence[Peer], options: argparse.Namespace) -> tuple[list[Measured], list[str]]:
    """All rounds, and which runs of them failed."""
    measured: list[Measured] = []
    failures: list[str] = []
    for peer in peers:  # page cache, byte code, the broker's compiler: not a figure
        say(f"warm-up: {peer.name}")
        # so few that they may all have come at once
        with contextlib.suppress(account.NoFigureError):
            bench.drain(peer, 0.0, max(WARM_EVENTS, int(options.events * WARM_SHARE)))
    for number in range(options.rounds):
        for model, steady, peer in _turns(peers, options, number):
            what = f"{number + 1}/{options.rounds} {model:5}{'steady' if steady else 'drain':7}{peer.name:20}"
            try:
                if steady:
                    one = bench.steady(peer, MODELS[model], options.rate, options.seconds)
                else:
                    events = int(options.events * (SLOW_SHARE if model == "50ms" else 1))
                    one = bench.drain(peer, MODELS[model], events)
            except (FootfallError, KafkaError, ValueError, TimeoutError) as error:
                failures.append(f"{what}: {error}")
                say(failures[-1])
                continue
            measured.append(Measured(peer.name, model, steady, one))
            say(f"{what} {_line(one)}")
    return measured, failures


def _turns(peers: Sequence[Peer], options: argparse.Namespace, number: int) -> Iterator[tuple[str, bool, Peer]]:
    """Each round another peer is first."""
    first = number % len(peers)
    for model in options.models:
        for steady in (False, True) if options.seconds else (False,):
            for peer in (*peers[first:], *peers[:first]):
                yield model, steady, peer


def _line(one: Run) -> str:
    cpu = " + ".join(f"{value:.1f}" for value in one.cpu_us.values())
    latency = f", p50 {one.both_ms.p50} p99 {one.both_ms.p99} ms" if one.both_ms else ""
    lost, duplicated = one.counts.lost, one.counts.duplicated
    wrong = f", lost {lost}, duplicated {duplicated}" if lost or duplicated else ""
    return f"{one.rate_eps:9,.0f}/s, {cpu} CPU us{latency}{wrong}"


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # a new topic has no leader for a moment: it tries again
    peers = [peer for peer in PEERS if not options.only or peer.name in options.only]
    settings = Settings.from_environment()
    try:
        if settings.security_protocol != "PLAINTEXT":
            raise PeersError("the peers know no security: unset KAFKA_SECURITY_PROTOCOL, or set KAFKA_HOME")
        apart = Path(sys.executable)
        if any(peer.apart for peer in peers):
            apart = options.python or interpreter(settings.home)
        versions = all_versions(peers, apart)
        with tempfile.TemporaryDirectory(prefix="footfall-peers-") as folder, Stack(settings) as stack:
            bench = Bench(stack, apart, options.logs or Path(folder))
            try:
                measured, failures = run(bench, peers, options)
            finally:
                bench.close()
            report = _report(peers, options, stack, measured, failures, versions)
    except FootfallError as error:
        print(f"footfall: {error}", file=sys.stderr)
        return 2
    print(reporting.table(report))
    reports.write(report, options.json)
    if options.json:
        try:
            draw(report, options.json.with_suffix(".png"))
        except PlotsMissingError as error:
            say(f"no plot: {error}")
    return 1 if failures or report["lost"].get("footfall") or report["duplicated"].get("footfall") else 0


def _report(
    peers: Sequence[Peer], options: argparse.Namespace, stack: Stack, measured: Sequence[Measured],
    failures: Sequence[str], versions: dict[str, dict[str, str]],
) -> dict[str, Any]:
    return {
        **reporting.figures(peers, measured),
        "failed_runs": failures,
        "events": options.events, "slow_share": SLOW_SHARE, "rounds": options.rounds,
        "rate_eps": options.rate, "seconds": options.seconds,
        "floors": [peer.name for peer in peers if peer.floor],
        "device": "simulated: one, serial, 0, 5 or 50 ms for a batch of at most 256",
        "versions": versions, **reports.surroundings(stack), **reports.origin(),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here, and a plot beside it")
    parser.add_argument("--events", type=int, default=100_000, metavar="N", help="of a backlog")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--rate", type=float, default=2_450, metavar="EVENTS/S", help="where it is steady")
    parser.add_argument("--seconds", type=float, default=8.0, metavar="S", help="of a steady rate; 0: no latencies")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), metavar="MODEL")
    parser.add_argument(
        "--only", nargs="+", choices=[peer.name for peer in PEERS], metavar="PEER", help="not the others"
    )
    parser.add_argument("--python", type=Path, metavar="FILE", help="has the peers' packages; default: one is made")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the peers' logs here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
