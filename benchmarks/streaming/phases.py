"""The two ways to load a rig: a backlog that it drains, and events that come at a pace of their own."""

import asyncio
import gc
import itertools
import time
from collections.abc import Iterator

from msgspec import Struct

from benchmarks.arrivals import poisson
from benchmarks.faults.traffic import Input
from benchmarks.streaming.answers import Answers, steady_eps
from benchmarks.streaming.rig import START_S, Rig
from benchmarks.streaming.served import Served, between

DRAIN_S = 1200.0  # at most


class Drained(Struct, frozen=True, kw_only=True):
    """`eps`: events answered per second in the steady state. `cores`: how many each process used on average."""

    eps: float
    answers: Answers
    served: Served
    cores: dict[str, float]


class Offered(Struct, frozen=True, kw_only=True):
    """`steady`: what was answered from the end of the warm-up to the last event; `answers`: all, until the last answer.

    `served` and `cores` are of the steady state too.
    """

    eps: float  # as many as came
    answers: Answers
    steady: Answers
    served: Served
    cores: dict[str, float]


async def drain(rig: Rig, inputs: Iterator[Input], events: int, *, budget_s: float, drop_s: float) -> Drained:
    """Put a backlog before agents that are not there yet, start them, and stop them when it is answered.

    `budget_s`: beyond the length of the backlog, or fallbacks answer what lies in the agents for longer than that.
    """
    await rig.sender.send(itertools.islice(inputs, events))
    await rig.sender.flush()
    before, stats = Answers.until_now(rig.ledger), await rig.stats()
    answered = rig.ledger.answered
    samples: list[tuple[float, int]] = []

    def drained() -> bool:
        samples.append((time.monotonic(), rig.ledger.answered))
        return not rig.ledger.waiting

    await rig.start_agents(budget_s)
    await rig.until(lambda: rig.ledger.answered > answered, START_S, "the agents answered nothing")
    cpu = rig.cpu()
    await rig.until(drained, DRAIN_S, "the backlog was not drained")
    cores = cpu.shares()
    after = await rig.stats()
    await rig.stop_agents()
    return Drained(
        eps=steady_eps(samples, drop_s), answers=Answers.until_now(rig.ledger).since(before),
        served=between(stats, after), cores=cores,
    )


async def offer(
    rig: Rig, inputs: Iterator[Input], rate_eps: float, *, warm_s: float, seconds: float, seed: int
) -> Offered:
    """Send at this rate on average, for so long after a warm-up, and wait until all is answered."""
    due_s = list(poisson(rate_eps, warm_s + seconds, seed))
    made = list(itertools.islice(inputs, len(due_s)))  # not while others need the core
    gc.freeze()  # nor a collection of all that the ledger holds
    start = Answers.until_now(rig.ledger)
    async with asyncio.TaskGroup() as group:
        sending = group.create_task(rig.sender.open_loop(iter(made), due_s))
        await asyncio.sleep(warm_s)
        warm, stats, cpu = Answers.until_now(rig.ledger), await rig.stats(), rig.cpu()
        await sending
    end, cores = Answers.until_now(rig.ledger), cpu.shares()
    served = between(stats, await rig.stats())
    await rig.answered()
    return Offered(
        eps=len(due_s) / (warm_s + seconds), answers=Answers.until_now(rig.ledger).since(start),
        steady=end.since(warm), served=served, cores=cores,
    )
