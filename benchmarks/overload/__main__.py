"""`python -m benchmarks.overload --factor 1.5 --json FILE`: what is answered, by whom and when, beyond capacity.

Agents, broker, cache and worker, all real, on the cores as in `benchmarks.pipeline`; but the model is a larger one, of
random weights (`benchmarks/overload/large.py`): more than the shipped one answers, two cores could not bring.

A backlog is drained before and after each round, which gives its capacity. In the round `--factor` times as many events
come, as a Poisson process, twice: each of a user who has nothing in flight (coalescing off), and of so few users at a
time that events of one meet (coalescing on). Shares are those of the steady state, after a warm-up in which the queues
fill.
"""

import argparse
import asyncio
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks import reports
from benchmarks.faults.traffic import Input
from benchmarks.overload.large import make_large
from benchmarks.overload.report import Round, draw, figures, table
from benchmarks.reports import say
from benchmarks.streaming import command
from benchmarks.streaming.crowd import Crowd, item_ids
from benchmarks.streaming.phases import Drained, Offered, drain, offer
from benchmarks.streaming.rig import Rig
from footfall.stack import Stack
from model_core.registry import DEMO_CHECKPOINT

LONG = 10  # times as long as a drain should take may an event of it wait
FIRST = 1_000  # events: a first look at the capacity, and a warm-up
WARM_BUDGETS = 2.5  # until the queues hold what they will
BUDGET_S = 2.0  # from an event to its answer in Redis
WAIT_S = 1.0  # of it, for the model; the rest is for taking in and storing, on cores that are full
CLICKS = 4  # of a visitor, coalescing on: few, for what a device needs grows with the histories
MEETING_S = 1.0  # coalescing on: of so many users' events as the model answers in this time


async def measure(stack: Stack, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, from an empty prefix to the report."""
    if (checkpoint := options.checkpoint) is None:
        checkpoint = await asyncio.to_thread(make_large, DEMO_CHECKPOINT, folder / "large", options.seed)
    crowd = Crowd("u", item_ids(checkpoint), options.seed)
    async with Rig(
        stack, folder, checkpoint=checkpoint, device=options.device, device_cores=options.device_cpu,
        agents=options.agents,
    ) as rig:
        await rig.start_worker(options.stub_ms)
        await crowd.load(rig.settings, FIRST)
        inputs = crowd.in_turn()
        first = await drain(rig, inputs, FIRST, budget_s=LONG * options.backlog_s, drop_s=0.0)
        warm_s = WARM_BUDGETS * BUDGET_S
        needed = math.ceil(options.factor * first.eps * (warm_s + options.seconds))
        say(f"about {first.eps:,.0f}/s; {min(needed, command.MAX_USERS):,} users get their pasts")
        await crowd.load(rig.settings, min(needed, command.MAX_USERS))
        rounds: list[Round] = []
        before = await _capacity(rig, inputs, first.eps, options)
        for number in range(1, options.rounds + 1):
            say(f"round {number} of {options.rounds}")
            off = await _overload(rig, inputs, before.eps, warm_s, number, options)
            meeting = min(len(crowd.users), math.ceil(MEETING_S * before.eps))
            on = await _overload(rig, crowd.visits(meeting, CLICKS), before.eps, warm_s, number, options)
            after = await _capacity(rig, inputs, first.eps, options)
            rounds.append(Round(before=before, off=off, on=on, after=after, meeting_users=meeting))
            before = after
        (model,) = (await rig.stats()).models
        return figures(rounds, await rig.lost(), BUDGET_S) | {
            "factor": options.factor, "wait_s": WAIT_S, "stub_ms": options.stub_ms,
            "model": {"name": model.name, "version": model.version},
            "device": options.device, "device_cores": sorted(options.device_cpu), "other_cores": command.own_cores(),
            "agents": options.agents, "users": len(crowd.users), "drain_budget_s": LONG * options.backlog_s,
            "warm_s": warm_s, "load_s": options.seconds, "rounds": options.rounds, "seed": options.seed,
            **reports.surroundings(stack), **reports.origin(),
        }


async def _capacity(rig: Rig, inputs: Iterator[Input], about_eps: float, options: argparse.Namespace) -> Drained:
    """Of a backlog, by agents whose events wait for the model as long as it takes."""
    drained = await drain(
        rig, inputs, math.ceil(options.backlog_s * about_eps), budget_s=LONG * options.backlog_s,
        drop_s=command.drop_s(options.backlog_s),
    )
    say(f"    capacity {drained.eps:,.0f}/s")
    return drained


async def _overload(
    rig: Rig, inputs: Iterator[Input], capacity_eps: float, warm_s: float, number: int, options: argparse.Namespace
) -> Offered:
    """With agents that owe nobody anything."""
    await rig.start_agents(WAIT_S)
    await rig.answering(inputs)
    offered = await offer(
        rig, inputs, options.factor * capacity_eps, warm_s=warm_s, seconds=options.seconds, seed=options.seed + number
    )
    await rig.stop_agents()
    say(f"    {offered.eps:,.0f}/s: by the model {offered.steady.model_share:.1%}, results per event "
        f"{offered.steady.results_per_event:.2f}, p50 {offered.steady.latency.p50:.0f} p99 "
        f"{offered.steady.latency.p99:.0f} ms")
    return offered


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("overload", __doc__.partition("\n")[0])
    parser.add_argument("--factor", type=float, default=1.5, metavar="X", help="of the capacity, what is offered")
    parser.add_argument("--backlog-s", type=float, default=30.0, metavar="S", help="about how long a drain takes")
    parser.add_argument("--seconds", type=float, default=30.0, metavar="S", help="of each overload")
    parser.add_argument(
        "--stub-ms", type=float, metavar="MS",
        help="a stand-in model that sleeps for so long per batch of 64: what the rest does, whatever the device",
    )
    parser.set_defaults(checkpoint=None)
    return command.main(parser, arguments, measure, draw, table)


if __name__ == "__main__":
    sys.exit(main())
