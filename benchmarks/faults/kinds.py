"""The faults, one function each: break something, wait, mend what would not mend itself. Knows nothing of accounts.

`lasts_s` is about how long a fault takes: traffic is spread over it. `max_fallback_share`: of the results that are made
meanwhile; a fault that leaves the worker alone may cost none.
"""

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Awaitable, Callable, Sequence

from msgspec import Struct

from agents.state.connection import connect
from benchmarks.faults.system import BOUND_S, WORKER, System
from benchmarks.faults.traffic import Input, Traffic

Send = Callable[[Sequence[Input]], Awaitable[None]]
GUESTS = ("guest", "spare")


class Scene(Struct, frozen=True):
    """What a fault may touch."""

    system: System
    traffic: Traffic
    send: Send
    chance: random.Random

    async def an_agent(self) -> int:
        """The process of any unit's agent."""
        return await self.system.agent_pid(self.chance.choice(self.system.units))


async def nothing(_: Scene) -> None:
    pass


class Fault(Struct, frozen=True):
    """`prepare` comes under the same traffic, before what is timed."""

    name: str
    run: Callable[[Scene], Awaitable[None]]
    lasts_s: float
    max_fallback_share: float = 0.0
    apache_kafka_only: bool = False
    promised: bool = True  # False: only when asked for, see docs/guarantees.md
    prepare: Callable[[Scene], Awaitable[None]] = nothing
    takes_over: bool = False  # partitions change hands: how long that takes is reported


async def agent_killed(scene: Scene) -> None:
    os.kill(await scene.an_agent(), signal.SIGKILL)


async def agent_told_to_stop(scene: Scene) -> None:
    os.kill(await scene.an_agent(), signal.SIGTERM)


async def agent_frozen(scene: Scene) -> None:
    """Longer than the session: its partitions change hands, and it wakes as a zombie unless something ends it first."""
    await _freeze(await scene.an_agent(), for_s=scene.system.settings.session_timeout_s + 3)
    await asyncio.sleep(2)


async def agent_frozen_briefly(scene: Scene) -> None:
    await _freeze(await scene.an_agent(), for_s=1.5)


async def supervisor_killed(scene: Scene) -> None:
    os.kill(scene.system.pid(scene.chance.choice(scene.system.units)), signal.SIGKILL)


async def unit_joins_and_leaves(scene: Scene) -> None:
    await scene.system.start_unit("guest")
    await scene.system.agent_pid("guest")
    await asyncio.sleep(scene.chance.uniform(3, 6))
    await scene.system.stop("guest")


async def unit_joins_and_is_killed_at_once(scene: Scene) -> None:
    await scene.system.start_unit("guest")
    pid = await scene.system.agent_pid("guest")
    await asyncio.sleep(scene.chance.uniform(1, 4))
    os.kill(pid, signal.SIGKILL)
    await scene.system.stop("guest")


async def rolling_restart(scene: Scene) -> None:
    for unit in scene.system.units:
        await scene.system.stop(unit)
        await scene.system.start_unit(unit)
        await asyncio.sleep(scene.chance.uniform(1, 3))


async def unit_with_a_full_disk_for_its_log(scene: Scene) -> None:
    """It joins, and goes on."""
    await scene.system.start_unit("full-disk", output="/dev/full")
    pid = await scene.system.agent_pid("full-disk")
    await asyncio.sleep(6)
    if await scene.system.agent_pid("full-disk") != pid:
        raise RuntimeError("the agent ended because its log could not be written")
    await scene.system.stop("full-disk")


async def worker_killed(scene: Scene) -> None:
    os.kill(scene.system.pid(WORKER), signal.SIGKILL)


async def worker_told_to_stop(scene: Scene) -> None:
    os.kill(scene.system.pid(WORKER), signal.SIGTERM)


async def worker_frozen(scene: Scene) -> None:
    await _freeze(scene.system.pid(WORKER), for_s=5)


async def worker_away(scene: Scene) -> None:
    await scene.system.stop(WORKER)
    await asyncio.sleep(60)
    await scene.system.start_worker()


async def worker_takes_ten_seconds(scene: Scene) -> None:
    await scene.system.stop(WORKER)
    await scene.system.start_worker(service_ms=10_000)
    await asyncio.sleep(15)
    await scene.system.stop(WORKER)
    await scene.system.start_worker()


async def worker_raises(scene: Scene) -> None:
    await scene.send([scene.traffic.raising(number) for number in _numbers(scene, 50)])


async def worker_broken_by_inputs(scene: Scene) -> None:
    """Each of them breaks every worker that is asked about it, until it is found and asked no more."""
    await scene.send([scene.traffic.breaking(number) for number in _numbers(scene, 2)])
    await asyncio.sleep(20)


async def a_guest_on_a_slow_coordinator(scene: Scene) -> None:
    await scene.system.delay_coordinator(0.2, 1.2)
    await scene.system.start_unit("guest")
    await scene.system.agent_pid("guest")
    await asyncio.sleep(scene.chance.uniform(3, 6))


async def agent_killed_on_a_slow_coordinator(scene: Scene) -> None:
    """While a rebalance is under way, or just was."""
    os.kill(await scene.an_agent(), signal.SIGKILL)
    await asyncio.sleep(scene.system.settings.session_timeout_s + 3)
    await scene.system.stop("guest")
    await scene.system.delay_coordinator(0, 0)


async def two_guests_on_a_slow_coordinator(scene: Scene) -> None:
    """There are more units than partitions now: one is a hot spare."""
    await scene.system.delay_coordinator(0.1, 0.9)
    for guest in GUESTS:
        await scene.system.start_unit(guest)
        await scene.system.agent_pid(guest)
    await asyncio.sleep(8)


async def hot_spare_takes_over(scene: Scene) -> None:
    """All units but the guests are killed at once."""
    owners = [unit for unit in scene.system.units if unit not in GUESTS]
    for pid in [await scene.system.agent_pid(owner) for owner in owners]:
        os.kill(pid, signal.SIGKILL)
    await asyncio.sleep(scene.system.settings.session_timeout_s + 3)
    await scene.system.delay_coordinator(0, 0)
    for guest in GUESTS:
        await scene.system.stop(guest)


async def unit_frozen_with_its_guard(scene: Scene) -> None:
    """As a container that is paused: nothing can end the agent in its sleep."""
    tree = scene.system.process_tree(scene.chance.choice(scene.system.units))
    for pid in tree:
        os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(scene.system.settings.session_timeout_s + 3)
    for pid in reversed(tree):  # the agent first: its own conscience is what is tried here
        os.kill(pid, signal.SIGCONT)


async def poison_in_bursts(scene: Scene) -> None:
    for _ in range(3):
        await scene.send([scene.traffic.poison(number) for number in _numbers(scene, 100)])
        await asyncio.sleep(1)


async def cache_restarted(scene: Scene) -> None:
    await _restart(scene, "cache", away_s=0)


async def cache_away(scene: Scene) -> None:
    await _restart(scene, "cache", away_s=30)


async def cache_frozen(scene: Scene) -> None:
    await _freeze(scene.system.stack.servers["cache"].pid, for_s=8)


async def cache_full(scene: Scene) -> None:
    async with connect(scene.system.settings.redis_url) as redis:
        used = (await redis.info("memory"))["used_memory"]
        await redis.config_set("maxmemory", used)
        await asyncio.sleep(10)
        await redis.config_set("maxmemory", 0)


async def broker_restarted(scene: Scene) -> None:
    await _restart(scene, "broker", away_s=0)


async def broker_away(scene: Scene) -> None:
    await _restart(scene, "broker", away_s=15)


async def broker_frozen(scene: Scene) -> None:
    await _freeze(scene.system.stack.servers["broker"].pid, for_s=8)


async def _freeze(pid: int, for_s: float) -> None:
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(for_s)
    with contextlib.suppress(ProcessLookupError):  # something ended it in its sleep
        os.kill(pid, signal.SIGCONT)


async def _restart(scene: Scene, role: str, away_s: float) -> None:
    server = scene.system.stack.servers[role]
    await asyncio.to_thread(server.stop)
    await asyncio.sleep(away_s)
    await asyncio.to_thread(server.start, BOUND_S)


def _numbers(scene: Scene, count: int) -> list[int]:
    first = scene.chance.randrange(1 << 40)
    return list(range(first, first + count))


FAULTS = (
    Fault("agent_killed", agent_killed, 10, takes_over=True),
    Fault("agent_told_to_stop", agent_told_to_stop, 8, takes_over=True),
    Fault("agent_frozen", agent_frozen, 14, takes_over=True),
    Fault("agent_frozen_briefly", agent_frozen_briefly, 4),
    Fault("supervisor_killed", supervisor_killed, 10, takes_over=True),
    Fault("unit_joins_and_leaves", unit_joins_and_leaves, 12),
    Fault("unit_joins_and_is_killed_at_once", unit_joins_and_is_killed_at_once, 14),
    Fault("rolling_restart", rolling_restart, 20),
    Fault("unit_with_a_full_disk_for_its_log", unit_with_a_full_disk_for_its_log, 14),
    Fault("unit_frozen_with_its_guard", unit_frozen_with_its_guard, 14, promised=False),
    Fault("agent_killed_on_a_slow_coordinator", agent_killed_on_a_slow_coordinator, 24,
          prepare=a_guest_on_a_slow_coordinator),
    Fault("hot_spare_takes_over", hot_spare_takes_over, 30, prepare=two_guests_on_a_slow_coordinator),
    Fault("worker_killed", worker_killed, 6, max_fallback_share=0.9),
    Fault("worker_told_to_stop", worker_told_to_stop, 6, max_fallback_share=0.9),
    Fault("worker_frozen", worker_frozen, 8, max_fallback_share=0.9),
    Fault("worker_away", worker_away, 70, max_fallback_share=0.95),
    Fault("worker_takes_ten_seconds", worker_takes_ten_seconds, 24, max_fallback_share=0.95),
    Fault("worker_raises", worker_raises, 4, max_fallback_share=0.5),
    Fault("worker_broken_by_inputs", worker_broken_by_inputs, 24, max_fallback_share=0.9),
    Fault("poison_in_bursts", poison_in_bursts, 5),
    Fault("cache_restarted", cache_restarted, 6),
    Fault("cache_away", cache_away, 36, max_fallback_share=0.5),
    Fault("cache_frozen", cache_frozen, 12, max_fallback_share=0.5),
    Fault("cache_full", cache_full, 14, max_fallback_share=0.5),
    Fault("broker_restarted", broker_restarted, 20, apache_kafka_only=True),
    Fault("broker_away", broker_away, 30, apache_kafka_only=True),
    Fault("broker_frozen", broker_frozen, 14, apache_kafka_only=True),
)
