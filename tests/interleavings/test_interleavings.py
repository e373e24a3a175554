"""The promises of docs/guarantees.md under every schedule of small worlds, and that the search would find a breach.

`pytest -o log_cli=true -o log_cli_level=INFO` tells how large the worlds are.
"""

import logging
import random
from collections.abc import Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import msgspec
import pytest
from aiokafka import ConsumerRecord

from agents.ack_window import OffsetRun, Partition
from agents.answers import Answers
from agents.coalescer import Work
from agents.recommend import Recommend
from agents.results import HEADERS
from agents.state.changes import Change
from agents.state.connection import connect
from agents.state.store import Applied, Debt, StoredResult, UserChanges, UserStore
from footfall.stack import Stack
from schemas.inference import user_state_decoder
from tests.doubles import NOW_MS, as_bytes, click, purchase, record
from tests.interleavings.gated_process import TOPIC, Process, Step
from tests.interleavings.twins import Kept, Redis
from tests.interleavings.world import NAMES, Breach, Schedule, World

logger = logging.getLogger(__name__)
CLICKS, PURCHASES = Partition("retail.clickstream.v1", 0), Partition("retail.purchases.v1", 0)


def clicks(*ids: str) -> list[ConsumerRecord]:
    events = [click(f"item-{name}", kind="add_to_cart", id=name) for name in ids]
    return [record(as_bytes(event), offset=n) for n, event in enumerate(events)]


ONE, TWO, THREE, SENT_TWICE = ({CLICKS: clicks(*ids)} for ids in ("1", "12", "123", "11"))
BOTH_TOPICS = {**ONE, PURCHASES: [record(as_bytes(purchase(["item-1"])), topic=PURCHASES.topic)]}


class Size(NamedTuple):
    """At least so much is to be seen, or the search has gone blind."""

    states: int
    ends: int


class Found(NamedTuple):
    broken: dict[Breach, Schedule]
    limits: dict[Breach, Schedule]


KILLS = {
    "two kills": (partial(World, TWO, takeovers=2, zombies=False), Size(700, 70)),
    "two kills, both topics": (partial(World, BOTH_TOPICS, takeovers=2, zombies=False), Size(1800, 170)),
    "a kill, and a worker that fails": (partial(World, TWO, takeovers=1, mishaps=1, zombies=False), Size(15_000, 900)),
    "a worker that fails twice": (partial(World, TWO, mishaps=2), Size(400, 40)),
    "a kill, and a worker that is late": (
        partial(World, ONE, takeovers=1, mishaps=1, failures=False, zombies=False), Size(100, 10),
    ),
}
ZOMBIES = {
    "a zombie": (partial(World, TWO, takeovers=1), Size(4000, 800)),
    "a zombie, both topics": (partial(World, BOTH_TOPICS, takeovers=1), Size(13_000, 2200)),
    "a zombie, Redis answers late": (partial(World, TWO, takeovers=1, slow_replies=True), Size(18_000, 2000)),
    "a zombie that comes back": (partial(World, ONE, takeovers=2), Size(1500, 400)),
    "a zombie, an event sent twice": (partial(World, SENT_TWICE, takeovers=1), Size(3000, 500)),
}
WORLDS = KILLS | ZOMBIES
DEEP = {
    "a zombie and three events": (partial(World, THREE, takeovers=1), Size(300_000, 40_000)),
    "two kills and three events": (partial(World, THREE, takeovers=2, zombies=False), Size(10_000, 900)),
    "a zombie, and a worker that fails": (partial(World, TWO, takeovers=1, mishaps=1), Size(25_000, 6000)),
}


@cache
def explored(name: str) -> Found:
    make, least = (WORLDS | DEEP)[name]
    world = make().explore()
    logger.info("%s: %d states, %d moves, %d ends", name, world.states, world.moves, world.ends)
    assert world.states >= least.states
    assert world.ends >= least.ends
    return Found(world.broken, world.limits)


def story(schedules: dict[Breach, Schedule]) -> str:
    """The schedules, for people."""
    return "".join(
        f"\n{breach.value}:" + "".join(f"\n  {NAMES[move.who]} {_brief(move.step)}" for move in schedule)
        for breach, schedule in schedules.items()
    )


def _brief(value: Any) -> str:
    match value:
        case UserChanges():
            text = " ".join(["events", *(item for one in value.changes for item in one.into_cart + one.bought)])
        case Applied():
            stored = f"v{value.result_version} covers {_brief(value.covers)}"
            text = f"v{value.version}, {value.new_events} new, stored {stored}"
        case StoredResult():
            text = f"v{value.version} covers {_brief(value.covers)}"
        case OffsetRun():
            text = f"{value.topic}/{value.partition}@{value.first}-{value.last}"
        case Partition():
            text = f"{value.topic}/{value.partition}"
        case tuple():
            text = f"[{' '.join(map(_brief, value))}]"
        case _:
            text = str(value)[:60]
    return text


@pytest.mark.parametrize("name", WORLDS)
def test_every_promise_is_kept_whatever_the_schedule(name: str) -> None:
    assert not explored(name).broken, story(explored(name).broken)


@pytest.mark.parametrize("name", KILLS)
def test_while_there_are_no_zombies_the_last_record_is_what_redis_holds(name: str) -> None:
    assert not explored(name).limits, story(explored(name).limits)


def test_a_zombie_that_still_sends_is_what_makes_versions_fall_on_the_topic() -> None:
    assert explored("a zombie").limits.keys() == {Breach.SENT_FALLS, Breach.UNSENT}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", DEEP)
def test_every_promise_is_kept_in_larger_worlds_too(name: str) -> None:
    assert not explored(name).broken, story(explored(name).broken)


# -- the search finds what it is there to find


class AcknowledgesEarly(Answers):
    async def _send(self, work: Work, record: bytes) -> None:
        await self._publisher.send(self._topic, work.user.encode(), record, HEADERS, lambda refused: None)
        self._acknowledge(work)


class AcknowledgesTwice(Answers):
    def _acknowledge(self, work: Work) -> None:
        super()._acknowledge(work)
        for held in work.held:
            held.done()


class StartsNothingAfterwards(Answers):
    def _acknowledge(self, work: Work) -> None:
        for held in work.held:
            held.done()


class DropsWhatIsRefused(Answers):
    async def _start_again(self, refused: Sequence[Work]) -> None:
        for work in refused:
            self._acknowledge(work)


class AlwaysAsks(Recommend):
    def start(self, work: Work) -> None:
        work.answered = False
        super().start(work)


class TakesOlderResults(Redis):
    def finish(self, kept: Kept, result: StoredResult) -> tuple[Kept, bool]:
        return super().finish(kept._replace(result_version=-1), result)


class LosesResults(Redis):
    def finish(self, kept: Kept, result: StoredResult) -> tuple[Kept, bool]:
        return super().finish(kept, result) if kept.data is None else (kept, True)


class ForgetsWhatResultsCover(Redis):
    def apply(self, kept: Kept, user: UserChanges) -> tuple[Kept, Applied]:
        after, applied = super().apply(kept._replace(covers=()), user)
        return after._replace(covers=kept.covers), applied


class ForgetsWhatIsOpen(Redis):
    def apply(self, kept: Kept, user: UserChanges) -> tuple[Kept, Applied]:
        return super().apply(kept._replace(open=()), user)


class ForgetsWhoIsOwed(Redis):
    def note(self, kept: Kept, noted: tuple[str, Partition, Debt | None]) -> tuple[Kept, None]:
        return kept, None


class CountsAgain(Redis):
    def apply(self, kept: Kept, user: UserChanges) -> tuple[Kept, Applied]:
        numbers = range(len(kept.changes), len(kept.changes) + len(user.changes))
        ids = b"".join([number.to_bytes(8, "big") for number in numbers])
        return super().apply(kept, msgspec.structs.replace(user, ids=ids))


class WritesResultsAnew(Redis):
    def read(self, kept: Kept, user: str) -> tuple[Kept, bytes | None]:
        return kept, kept.data and kept.data.replace(b'"items":', b'"items": ')


def with_answers(kind: type[Answers]) -> type[Process]:
    class Mutant(Process):
        make_answers = kind

    return Mutant


class Asking(Process):
    make_recommend = AlwaysAsks


MUTANTS = {
    "acknowledges before delivery": (partial(World, ONE, process=with_answers(AcknowledgesEarly)), Breach.LOST),
    "forgets what stored results cover": (
        partial(World, BOTH_TOPICS, takeovers=1, zombies=False, redis=ForgetsWhatResultsCover()), Breach.LOST,
    ),
    "forgets whose events no result reflects": (
        partial(World, TWO, takeovers=1, zombies=False, redis=ForgetsWhatIsOpen()), Breach.LOST,
    ),
    "acknowledges what was refused": (
        partial(World, TWO, takeovers=1, process=with_answers(DropsWhatIsRefused)), Breach.LOST,
    ),
    "acknowledges twice": (partial(World, ONE, process=with_answers(AcknowledgesTwice)), Breach.FAILED),
    "starts nothing afterwards": (partial(World, TWO, process=with_answers(StartsNothingAfterwards)), Breach.STUCK),
    "asks the model for redeliveries": (
        partial(World, ONE, takeovers=1, zombies=False, process=Asking), Breach.ASKED_AGAIN,
    ),
    "stores older results": (partial(World, TWO, takeovers=1, redis=TakesOlderResults()), Breach.STORED_FALLS),
    "sends older results": (partial(World, TWO, takeovers=1, redis=TakesOlderResults()), Breach.SENT_FALLS),
    "stores the first result only": (partial(World, TWO, redis=LosesResults()), Breach.OUTDATED),
    "sends what it did not store": (partial(World, TWO, redis=LosesResults()), Breach.UNSENT),
    "forgets who is owed an answer": (
        partial(World, ONE, takeovers=1, mishaps=1, failures=False, zombies=False, redis=ForgetsWhoIsOwed()),
        Breach.UNPAID,
    ),
    "counts a redelivery": (
        partial(World, ONE, takeovers=1, zombies=False, redis=CountsAgain()), Breach.MISCOUNTED,
    ),
    "writes a stored result anew": (
        partial(World, ONE, takeovers=1, zombies=False, redis=WritesResultsAnew()), Breach.TWO_BODIES,
    ),
    "commits without a fence": (partial(World, TWO, takeovers=1, fenced=False), Breach.COMMIT_FALLS),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_an_agent_or_a_redis_that_does_this_is_found_out(name: str) -> None:
    make, breach = MUTANTS[name]
    assert breach in make().explore(until=breach).broken


class Unmerged(Process):
    """Takes no two histories for one."""

    _history: tuple[Step, ...] = ()

    def told(self, step: Step) -> None:
        self._history = (*self._history, step)
        super().told(step)

    def portrait(self) -> tuple[Any, ...]:
        return self._prefix, self._history


@pytest.mark.parametrize("make", [
    partial(World, ONE, takeovers=2), partial(World, BOTH_TOPICS, takeovers=1, zombies=False),
    partial(World, ONE, takeovers=1, mishaps=1),
], ids=["zombies", "both topics", "mishaps"])
def test_taking_processes_that_go_on_alike_for_one_hides_nothing(make: Any) -> None:
    merged, unmerged = make().explore(), make(process=Unmerged).explore()
    assert merged.states < unmerged.states
    assert merged.views() == unmerged.views()
    for ours, theirs in ((merged.broken, unmerged.broken), (merged.limits, unmerged.limits)):
        assert {breach: len(ours[breach]) for breach in ours} == {breach: len(theirs[breach]) for breach in theirs}


def _comparable(applied: Applied) -> tuple[Any, ...]:
    *rest, state = msgspec.structs.astuple(applied)
    return *rest, user_state_decoder.decode(state)


@pytest.mark.stack
async def test_the_worlds_redis_answers_as_the_scripts_do(stack: Stack, prefix: str) -> None:
    redis, twin, kept, rng = connect(stack.settings.redis_url), Redis(), Kept(), random.Random(7)
    store = UserStore(redis, stack.settings)
    for n in range(100):
        seen_as = rng.randrange(n // 3 + 1).to_bytes(8, "big")
        changes = (Change(NOW_MS + n, (f"view:x:{seen_as.hex()}",), ("x",), (), (), ()),) if rng.random() < 0.8 else ()
        runs = (OffsetRun(TOPIC, 0, n, n), OffsetRun(TOPIC, 1, n, n + 2))[: rng.randrange(3)] if changes else ()
        user = UserChanges(prefix, changes, seen_as if changes else b"", runs=runs)
        (applied,) = await store.apply([user])
        kept, expected = twin.apply(kept, user)
        assert _comparable(applied) == _comparable(expected)
        if rng.random() < 0.5:
            continue
        result = StoredResult(
            prefix, applied.version - rng.randrange(3), b"%d" % n, None, (OffsetRun(TOPIC, 0, n, n + 1),)
        )
        stored = await store.store_results([result])
        kept, accepted = twin.finish(kept, result)
        assert (stored, await store.results_of([prefix])) == ([accepted], [twin.read(kept, prefix)[1]])
    await redis.aclose()
