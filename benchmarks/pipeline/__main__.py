"""`python -m benchmarks.pipeline --json FILE`: the whole path beside the bare model, and its latency below capacity.

The shipped recommender in a worker process, agents, broker and cache, all real. The device's thread has a core
(`model_core --device-cpu`), which it shares with the worker's other threads at most; everything else has the others.
Each round: a backlog is drained; the bare model (`benchmarks.streaming.bare`) answers the same requests on the same
core; events come at shares of the drained rate, as a Poisson process, once agents have met all users; the same at half
load with a null model in the worker's place. Every event is of a user who has nothing in flight, so that each takes an
inference of its own.
"""

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import reports
from benchmarks.faults.traffic import Input
from benchmarks.pipeline.report import HALF, SHARES, Round, draw, figures, table
from benchmarks.reports import say
from benchmarks.streaming import command
from benchmarks.streaming.bare import Bare
from benchmarks.streaming.crowd import Crowd, item_ids
from benchmarks.streaming.phases import Offered, drain, offer
from benchmarks.streaming.rig import Rig
from footfall.stack import Stack

MARGIN = 1.1  # a backlog is so many times `--backlog-s`, by the bare model's rate
WARM_SHARE = 0.1  # of `--seconds`, before a load is measured


async def measure(stack: Stack, folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All rounds, from an empty prefix to the report."""
    crowd = Crowd("u", item_ids(options.checkpoint), options.seed)
    async with (
        Bare(options.checkpoint, options.device, options.device_cpu) as bare,
        Rig(stack, folder, checkpoint=options.checkpoint, device=options.device, device_cores=options.device_cpu,
            agents=options.agents) as rig,
    ):
        await rig.start_worker()
        say(f"the bare model tries its batchings on {options.sample:,} users")
        await crowd.load(rig.settings, options.sample)
        sample = await crowd.requests(rig.settings)
        batchings = await bare.batchings(sample)
        best = batchings[0]
        events = math.ceil(MARGIN * options.backlog_s * best.loop_eps)
        say(f"{best.loop_eps:,.0f}/s: a backlog is {events:,} events; users get their pasts")
        await crowd.load(rig.settings, min(events, command.MAX_USERS))
        inputs, budget_s = crowd.in_turn(), 10 * options.backlog_s
        await drain(rig, inputs, events // 10, budget_s=budget_s, drop_s=0.0)  # caches, compilers: not a figure
        rounds: list[Round] = []
        for number in range(1, options.rounds + 1):
            say(f"round {number} of {options.rounds}")
            drained = await drain(rig, inputs, events, budget_s=budget_s, drop_s=command.drop_s(options.backlog_s))
            rates = await bare.rates(await crowd.requests(rig.settings), best.batching)
            with command.spinning(command.own_cores()):
                beside_busy = await bare.rates(sample, best.batching)
            say(f"    drained {drained.eps:,.0f}/s, bare {rates.loop_eps:,.0f}/s, beside busy cores "
                f"{beside_busy.loop_eps:,.0f}/s")
            loads, null_model = await _loads(rig, inputs, len(crowd.users), drained.eps, options, number)
            rounds.append(Round(
                drained=drained, bare=rates, beside_busy=beside_busy, loads=loads, null_model=null_model
            ))
        (model,) = (await rig.stats()).models
        return figures(rounds, await rig.lost()) | {
            "bare_batchings": msgspec.to_builtins(batchings),
            "model": {"name": model.name, "version": model.version},
            "device": options.device, "device_cores": sorted(options.device_cpu), "other_cores": command.own_cores(),
            "agents": options.agents, "users": len(crowd.users), "backlog_events": events,
            "backlog_s": round(events / best.loop_eps, 1), "drain_budget_s": budget_s,
            "budget_s": rig.settings.budget_s, "load_s": options.seconds, "rounds": options.rounds,
            "seed": options.seed, **reports.surroundings(stack), **reports.origin(),
        }


async def _loads(
    rig: Rig, inputs: Iterator[Input], users: int, capacity_eps: float, options: argparse.Namespace, number: int
) -> tuple[dict[float, Offered], Offered]:
    """All loads with the model, and half of the capacity with a null model, by agents that have met all users."""
    seed = options.seed + number

    async def load(share: float) -> Offered:
        offered = await offer(
            rig, inputs, share * capacity_eps, warm_s=WARM_SHARE * options.seconds, seconds=options.seconds, seed=seed
        )
        latency = offered.steady.latency
        say(f"    {share:.0%}: {offered.eps:,.0f}/s, p50 {latency.p50:.0f} p99 {latency.p99:.0f} ms, batches of "
            f"{offered.served.mean_batch_size:.1f} in {offered.served.service_ms:.1f} ms")
        return offered

    await rig.start_agents(rig.settings.budget_s)
    await rig.answering(inputs)
    half_eps = HALF * capacity_eps
    await offer(rig, inputs, half_eps, warm_s=users / half_eps, seconds=1.0, seed=seed)
    loads = {share: await load(share) for share in SHARES}
    await rig.stop("worker")
    await rig.start_worker(stub_ms=0.0)
    await rig.answering(inputs)
    say("    null model")
    null_model = await load(HALF)
    await rig.stop("worker")
    await rig.stop_agents()
    await rig.start_worker()
    return loads, null_model


def main(arguments: Sequence[str] | None = None) -> int:
    parser = command.parser("pipeline", __doc__.partition("\n")[0])
    parser.add_argument("--backlog-s", type=float, default=60.0, metavar="S", help="of the bare model's work, at least")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of each load")
    parser.add_argument("--sample", type=int, default=2_000, metavar="N", help="users to choose the bare batching on")
    return command.main(parser, arguments, measure, draw, table)


if __name__ == "__main__":
    sys.exit(main())
