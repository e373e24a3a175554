"""What became of every event: watches one fault at a time, and adds up at the end. Breaks nothing itself."""

import asyncio
import itertools
import statistics
import time
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct
from redis.asyncio import Redis

from agents.decoding import event_time_ms
from agents.state.changes import Change, change_of, event_id
from agents.state.reference import ReferenceStore, StateDigest
from agents.state.store import UserChanges
from benchmarks.faults.kinds import Fault, Scene
from benchmarks.faults.sender import Sender
from benchmarks.faults.traffic import Traffic
from footfall.ledger import Ledger
from footfall.ledger_reader import LedgerReader
from footfall.state_digest import differences, read_states
from schemas import events, keys

POLL_S = 0.02
RECOVERY_TIMEOUT_S = 180.0
USERS_AT_ONCE = 500
EVENTS_AT_ONCE = 50_000  # of which the expected state is computed


class Outcome(Struct, frozen=True):
    """How one fault went.

    `recovered_s`: from its start until an event of each partition that was sent after its start was answered, and what
    had piled up before it too. `silent_s`: the longest time until then, and until it is over, in which a partition with
    unanswered events got no answer; where partitions change hands that is the takeover.
    """

    fault: str
    recovered_s: float
    silent_s: float
    results: int
    fallback_share: float
    repeated: int
    dead_letters: int
    agent_memory_mb: float  # the most that an agent that runs at the end has held since its start
    within_cap: bool

    def __str__(self) -> str:
        return (f"answered again after {self.recovered_s:.1f} s, silent for {self.silent_s:.1f} s; "
                f"{self.results:,} results, fallback "
                f"{self.fallback_share:.1%}, repeated {self.repeated}, dead letters {self.dead_letters}, "
                f"agents up to {self.agent_memory_mb:.0f} MB")


class Account:
    def __init__(self, reader: LedgerReader, sender: Sender) -> None:
        self._reader = reader
        self._sender = sender
        self._outcomes: list[tuple[Fault, Outcome]] = []

    async def watch(self, fault: Fault, scene: Scene, sending: Coroutine[Any, Any, None]) -> Outcome:
        """Run a fault under traffic; return when it is over, its traffic sent, and events are answered again."""
        before = self._reader.ledger.counts()
        fallbacks_before = self._reader.ledger.fallbacks
        async with asyncio.TaskGroup() as group:
            sender = group.create_task(sending)
            await fault.prepare(scene)
            over = asyncio.Event()
            recovering = group.create_task(self._recovered(sender, over))
            await fault.run(scene)
            over.set()
        recovered_s, silent_s = recovering.result()
        await self._reader.drained(RECOVERY_TIMEOUT_S)
        after = self._reader.ledger.counts()
        results = after.results_out - before.results_out
        share = (self._reader.ledger.fallbacks - fallbacks_before) / max(1, results)
        outcome = Outcome(
            fault.name, round(recovered_s, 2), round(silent_s, 2), results, round(share, 4),
            after.repeated - before.repeated, after.dead_letters - before.dead_letters,
            round(scene.system.agent_memory_mb(), 1), share <= fault.max_fallback_share,
        )
        self._outcomes.append((fault, outcome))
        return outcome

    async def settled(self, timeout_s: float) -> bool:
        """Wait until the group has acknowledged everything."""
        deadline = time.monotonic() + timeout_s
        while await self._reader.read_commits() > 0:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.5)
        return True

    async def compare_state(self, redis: Redis, traffic: Traffic) -> list[str]:
        """Where users' states in Redis differ from what follows from the input alone, a line each."""
        expected = await asyncio.to_thread(_expected_states, traffic)
        return differences(expected, await read_states(redis, list(expected)))

    async def unpaid(self, redis: Redis, users: Sequence[str], timeout_s: float) -> int:
        """How many users are still left with a fallback after so long: each is owed the model's answer."""
        deadline = time.monotonic() + timeout_s
        while unpaid := await _with_fallback(redis, users):
            if time.monotonic() > deadline:
                break
            await asyncio.sleep(0.5)
        return unpaid

    def report(self, different: list[str], unpaid: int, **rest: object) -> dict[str, Any]:
        counts = self._reader.ledger.counts()
        takeovers = [outcome.silent_s for fault, outcome in self._outcomes if fault.takes_over] or [0.0]
        over_cap = [outcome.fault for _, outcome in self._outcomes if not outcome.within_cap]
        passed = not (counts.lost or counts.duplicated or counts.older_over_newer or different or over_cap or unpaid
                      or counts.events_acked < counts.events_in or counts.dead_letters != self._sender.bad)
        return {
            "passed": passed,
            **msgspec.to_builtins(counts),
            "bad_sent": self._sender.bad,
            "takeover_s": {"p50": statistics.median(takeovers), "max": max(takeovers)},
            "state_differences": len(different),
            "state_examples": different[:5],
            "over_fallback_cap": over_cap,
            "users_left_with_a_fallback": unpaid,
            "agent_memory_mb": max((outcome.agent_memory_mb for _, outcome in self._outcomes), default=0.0),
            **rest,
            "faults": [msgspec.to_builtins(outcome) for _, outcome in self._outcomes],
        }

    async def _recovered(self, sending: "asyncio.Task[None]", over: asyncio.Event) -> tuple[float, float]:
        """`recovered_s` and `silent_s` of a fault that starts now, until it is over."""
        before = dict(self._sender.newest)
        marks: dict[tuple[str, int], int] = {}
        waiting = set(before)
        start = time.monotonic()
        silence = _Silence(self._reader.ledger, self._sender.newest, start)
        recovered_s = 0.0
        while (waiting or not over.is_set()) and time.monotonic() < start + RECOVERY_TIMEOUT_S:
            silence.look(time.monotonic())
            if waiting:
                recovered_s = time.monotonic() - start
            for place in list(waiting):
                newest = self._sender.newest[place]
                if newest > before[place]:
                    marks.setdefault(place, newest)
                elif sending.done():  # nothing came for this one
                    waiting.discard(place)
                if place in marks and self._reader.ledger.is_answered(*place, marks[place]):
                    waiting.discard(place)
            await asyncio.sleep(POLL_S)
        return recovered_s, silence.longest_s


class _Silence:
    """The longest time in which a partition with unanswered events got no answer."""

    def __init__(self, ledger: Ledger, newest: Mapping[tuple[str, int], int], now_s: float) -> None:
        self._ledger, self._newest = ledger, newest
        self._answered = {place: ledger.answered_in(*place) for place in newest}
        self._since_s = dict.fromkeys(newest, now_s)
        self.longest_s = 0.0

    def look(self, now_s: float) -> None:
        """To be called often."""
        for place, offset in self._newest.items():
            answered = self._ledger.answered_in(*place)
            if answered == self._answered.get(place) and not self._ledger.is_answered(*place, offset):
                self.longest_s = max(self.longest_s, now_s - self._since_s[place])
            else:
                self._answered[place], self._since_s[place] = answered, now_s


class _Origin(Struct):
    origin: str


async def _with_fallback(redis: Redis, users: Sequence[str]) -> int:
    decode, found = msgspec.json.Decoder(_Origin).decode, 0
    for start in range(0, len(users), USERS_AT_ONCE):
        stored = await redis.mget([keys.recommendations(user) for user in users[start : start + USERS_AT_ONCE]])
        found += sum(value is not None and decode(value).origin == "fallback" for value in stored)
    return found


def _expected_states(traffic: Traffic) -> dict[str, StateDigest]:
    """Every user's state, computed from the input alone by the slow twin of apply.lua."""
    decode = msgspec.json.Decoder(events.CustomerEvent).decode
    store, inputs = ReferenceStore(), traffic.inputs()
    while part := list(itertools.islice(inputs, EVENTS_AT_ONCE)):
        changes: dict[str, list[tuple[bytes, Change]]] = {}
        for one in part:
            event = decode(one.value)
            seen_as = event_id(event.source, event.id)
            time_ms = event_time_ms(event.time.timestamp(), -1)
            changes.setdefault(one.user, []).append((seen_as, change_of(event, seen_as, time_ms)))
        for user, of_user in changes.items():
            seen = b"".join(seen_as for seen_as, _ in of_user)
            store.apply(UserChanges(user, [change for _, change in of_user], seen))
    return store.digests()
