"""`python -m benchmarks.faults --events N --seed S --json FILE`: is anything lost or doubled while things break.

Real agents under their supervisors, a real worker process with a stand-in model, a broker and a cache of its own; a
schedule of faults drawn from the seed, one after the other, under steady traffic. Then every event is accounted for as
docs/contract.md says, and the users' state in Redis is compared with the state computed from the input alone.
"""

import argparse
import asyncio
import json
import logging
import random
import secrets
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from agents.state.connection import connect
from benchmarks import reports
from benchmarks.faults.account import Account
from benchmarks.faults.kinds import FAULTS, Scene
from benchmarks.faults.sender import Sender
from benchmarks.faults.system import System
from benchmarks.faults.traffic import Traffic
from benchmarks.reports import say
from footfall import topics
from footfall.ledger_reader import LedgerReader
from footfall.stack import Stack
from schemas.settings import Settings
from schemas.topics import TOPICS

SESSION_TIMEOUT_S = 6.0
PARTITIONS = 3  # of each topic: two units more than the usual two, and one is a hot spare without partitions
DRAIN_S = 180.0
SERVICE_MS = 2.0  # of a batch of the stand-in model


async def run(stack: Stack, options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run, from an empty prefix to the report."""
    name = f"f{secrets.token_hex(3)}"
    settings = msgspec.structs.replace(stack.settings, prefix=name)
    client = topics.client_options(settings)
    apache = stack.broker.kind != "tansu"
    chance = random.Random(options.seed)
    chosen = [fault for fault in FAULTS
              if (apache or not fault.apache_kafka_only)
              and (fault.name in options.only if options.only else fault.promised)]
    chance.shuffle(chosen)
    traffic = Traffic.now(name, options.events, options.users, options.seed)
    await topics.create(settings, [msgspec.structs.replace(topic, partitions=PARTITIONS) for topic in TOPICS])
    system = System(stack, settings, folder, SERVICE_MS, static=options.static_membership)
    reader = LedgerReader(client, name, fetch_wait_ms=settings.fetch_max_wait_ms)
    await reader.connect()
    await reader.start()
    sender = Sender(client, settings, reader.ledger, idempotent=apache)
    account = Account(reader, sender)
    try:
        async with sender:
            await system.start_proxy()
            await system.start_worker()
            starting = asyncio.create_task(_rolling_start(system, options.units, chance))
            scene = Scene(system, traffic, sender.send, chance)
            share = options.events // (len(chosen) + 1)
            inputs = traffic.inputs()
            say(f"a new group starts one by one, {share:,} events")
            await sender.pace(inputs, share, options.rate)
            await starting
            await reader.drained(DRAIN_S)
            for number, fault in enumerate(chosen, 1):
                count = share if number < len(chosen) else options.events
                rate = min(options.rate, share / fault.lasts_s)
                say(f"{number}/{len(chosen)} {fault.name}, {rate:,.0f} events/s")
                outcome = await account.watch(fault, scene, sender.pace(inputs, count, rate))
                say(f"    {outcome}")
            say("draining")
            await reader.drained(DRAIN_S)
            await account.settled(DRAIN_S)
        say("comparing the users' state with the input")
        async with connect(settings.redis_url) as redis:
            await reader.check_stored(redis)
            different = await account.compare_state(redis, traffic)
            unpaid = await account.unpaid(redis, traffic.users, DRAIN_S)
        restarts = system.restarts
    finally:
        await system.close()
        await reader.stop()
    return account.report(
        different, unpaid, restarts=restarts, seed=options.seed, users=options.users, units=options.units,
        static_membership=options.static_membership,
        **reports.surroundings(stack), **reports.origin(),
    )


async def _rolling_start(system: System, units: int, chance: random.Random) -> None:
    """A new group, whose members come one by one while events flow: where stock Faust loses (research/takeover.md)."""
    for number in range(units):
        await system.start_unit(f"unit-{number}")
        await asyncio.sleep(chance.uniform(0.5, 3.0))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--events", type=int, default=100_000, metavar="N")
    parser.add_argument("--seed", type=int, default=7, metavar="S", help="of the schedule and of the events")
    parser.add_argument("--users", type=int, default=2_000, metavar="N")
    parser.add_argument("--units", type=int, default=2, metavar="N", help="supervised agents that consume")
    parser.add_argument("--rate", type=float, default=1_500, metavar="EVENTS/S", help="at most")
    parser.add_argument("--static-membership", action="store_true", help="units keep their place in the group")
    parser.add_argument("--only", nargs="+", choices=[fault.name for fault in FAULTS], metavar="FAULT")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report here")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="keep the logs here")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # broken on purpose
    settings = msgspec.structs.replace(Settings.from_environment(), session_timeout_s=SESSION_TIMEOUT_S)
    with tempfile.TemporaryDirectory(prefix="footfall-faults-") as temporary, Stack(settings) as stack:
        folder = options.logs or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        report = asyncio.run(run(stack, options, folder))
    print(json.dumps({key: value for key, value in report.items() if key != "faults"}, indent=2))
    reports.write(report, options.json)
    return 0 if report["passed"] else 1


if __name__ == "__main__":
    sys.exit(main())
