"""Every order in which processes, Redis, Kafka and a group's rebalances may act on a few events of one user.

One move opens one gate, or gives the partitions to another process. Of the ways to lose them one is enough: who was
killed is a process that does nothing more, and a planned hand-over is one when everything is done and committed.
Commits are no moves: what an owner has acknowledged may or may not be committed when it loses its partitions.
"""

import contextlib
import itertools
import operator
from collections import deque
from collections.abc import Hashable, Iterator, Sequence
from enum import Enum
from typing import Any, NamedTuple, Self

import msgspec

from tests.interleavings.gated_process import TOPIC, Call, Outside, Process, Step
from tests.interleavings.histories import Numbers, Processes
from tests.interleavings.twins import Kept, Log, Offset, Redis, Topic, digests, digests_of_input, read_record

NAMES = "abcd"


class Breach(Enum):
    """What must not happen."""

    LOST = "an offset may be committed although no result on the topic covers it, and no dead letter"
    MISCOUNTED = "the state at the end is not what the events say"
    OUTDATED = "the stored result at the end is older than the newest event"
    UNPAID = "the stored result at the end is a fallback, although the model never failed"
    UNSENT = "the stored result at the end is not the last one on the topic"
    STORED_FALLS = "the version of the stored result falls"
    SENT_FALLS = "the version on the topic falls"
    TWO_BODIES = "one result id has two bodies"
    ASKED_AGAIN = "the model is asked for what adds nothing to the stored result"
    COMMIT_FALLS = "what is committed falls"
    FAILED = "a process fails"
    STUCK = "the owner waits for ever"


Offsets = tuple[int, ...]  # of each partition, in their order


class State(NamedTuple):
    """The world between two moves; numbers stand for `Kept`, `Topic` and processes."""

    kept: int
    topic: int
    committed: Offsets
    positions: Offsets  # what the owner is delivered next
    owner: int
    processes: tuple[int, ...]
    old_sends: tuple[int, ...]  # by process: of what it has not sent yet, how much it was deposed with
    takeovers: int  # that may still come
    mishaps: int  # of the worker, likewise
    late_store: bool = False  # the stored result is of a process that was not the owner
    unheard: tuple[tuple[int, Call, tuple[Any, ...]], ...] = ()  # what Redis did and has not told yet


class Move(NamedTuple):
    who: int
    step: Step


Schedule = list[Move]


class World:
    """Explores once. `broken` and `limits` then have the shortest schedule to each breach.

    `takeovers`, `mishaps`: how often the owner may be deposed, and the worker be late with a request or (`failures`)
    fail it.
    `zombies`: whether who was deposed goes on; else it is dead. `slow_replies`: what Redis has done is heard of later.
    """

    def __init__(
        self, log: Log, *, takeovers: int = 0, mishaps: int = 0, failures: bool = True, zombies: bool = True,
        slow_replies: bool = False, fenced: bool = True, redis: Redis | None = None, process: type[Process] = Process,
    ) -> None:
        self._log, self._takeovers, self._mishaps, self._zombies = log, takeovers, mishaps, zombies
        self._failures, self._slow_replies, self._fenced, self._redis = failures, slow_replies, fenced, redis or Redis()
        self._partitions = sorted(log)
        self._all = tuple([len(log[partition]) for partition in self._partitions])
        self._first_places, self._expected = _first_places(log), digests_of_input(log)
        self._processes = Processes(lambda name: process(name, log))
        self._kept, self._topics = Numbers[Kept](), Numbers[Topic]()
        self._served: dict[tuple[int, Call], tuple[int, tuple[Any, ...]]] = {}
        self._lost: dict[tuple[int, Offsets], bool] = {}
        self._reached_by: dict[State, tuple[State, Move] | None] = {}
        self.ends = self.moves = 0
        self.broken: dict[Breach, Schedule] = {}
        self.limits: dict[Breach, Schedule] = {}  # by a process that had been deposed: known to happen

    @property
    def states(self) -> int:
        return len(self._reached_by)

    def views(self) -> set[Hashable]:
        """What can be seen in each state from outside."""
        return {
            (self._kept[state.kept], self._topics[state.topic], state._replace(kept=0, topic=0, processes=()), *(
                (outside.calls, outside.requests, outside.sends, tuple(outside.acked.items()))
                for outside in (self._processes.outside[number] for number in state.processes)
            ))
            for state in self._reached_by
        }

    def explore(self, until: Breach | None = None) -> Self:
        """Try everything, or stop at this breach."""
        starts = (0,) * len(self._partitions)
        start = State(
            self._kept.of(Kept()), self._topics.of(Topic()), starts, starts, 0, (self._assigned(0, starts),), (0,),
            self._takeovers, self._mishaps,
        )
        self._reached_by[start] = None
        waiting = deque([start])
        with contextlib.closing(self._processes):
            while waiting and until not in self.broken:
                state = waiting.popleft()
                moves = list(self._moves(state))
                self._look_at(state, moves)
                for move, after in moves:
                    if after not in self._reached_by:
                        self._reached_by[after] = state, move
                        waiting.append(after)
                    self._look_at_move(state, move, after)
                self.moves += len(moves)
        return self

    # -- what may happen next

    def _moves(self, state: State) -> Iterator[tuple[Move, State]]:
        seen = [self._processes.outside[number] for number in state.processes]
        for n, outside in enumerate(seen):
            yield from self._calls(state, n, outside)
            yield from self._others(state, n, outside)
        yield from self._takes(state)
        if state.takeovers:
            yield from self._losses(state, seen)

    def _takes(self, state: State) -> Iterator[tuple[Move, State]]:
        for at, position in enumerate(state.positions):
            for end in range(position + 1, self._all[at] + 1):
                step = ("take", self._partitions[at], position, end)
                after = self._told(state, state.owner, step)
                yield Move(state.owner, step), after._replace(positions=_put(state.positions, at, end))

    def _calls(self, state: State, n: int, outside: Outside) -> Iterator[tuple[Move, State]]:
        unheard = {call: replies for who, call, replies in state.unheard if who == n}
        for call in outside.calls:
            if call in unheard:
                step = ("answer", call, unheard[call])
                rest = tuple([one for one in state.unheard if one[:2] != (n, call)])
                yield Move(n, step), self._told(state, n, step)._replace(unheard=rest)
                continue
            kept, replies = self._serve(state.kept, call)
            late = n != state.owner if call.kind == "finish" and any(replies) else state.late_store
            after = state._replace(kept=kept, late_store=late)
            if self._slow_replies:
                yield Move(n, ("serve", call)), after._replace(unheard=(*state.unheard, (n, call, replies)))
            else:
                step = ("answer", call, replies)
                yield Move(n, step), self._told(after, n, step)

    def _others(self, state: State, n: int, outside: Outside) -> Iterator[tuple[Move, State]]:
        if outside.requests:
            yield Move(n, ("reply",)), self._told(state, n, ("reply",))
            mishaps = ("fail", "wait_too_long") if self._failures else ("wait_too_long",)
            for mishap in mishaps if n == state.owner and state.mishaps else ():
                yield Move(n, (mishap,)), self._told(state, n, (mishap,))._replace(mishaps=state.mishaps - 1)
        if self._may_repay(state, outside):
            yield Move(n, ("pause",)), self._told(state, n, ("pause",))
        if outside.sends:
            late = self._is_late(state, n)
            yield Move(n, ("delivered",)), self._told(state, n, ("delivered",))._replace(
                topic=self._topics.of(self._topics[state.topic].plus(outside.sends[0], late=late)),
                old_sends=_put(state.old_sends, n, max(0, state.old_sends[n] - 1)),
            )
        if n != state.owner and not self._fenced:
            yield Move(n, ("commit",)), state._replace(committed=self._acked(state.committed, outside))

    def _losses(self, state: State, seen: Sequence[Outside]) -> Iterator[tuple[Move, State]]:
        """The owner is deposed: by a new process, or by one that has old work in hand."""
        acked, new = self._acked(state.committed, seen[state.owner]), len(state.processes)
        for starts in itertools.product(*map(range, state.committed, [offset + 1 for offset in acked])):
            after = state._replace(takeovers=state.takeovers - 1, committed=starts, positions=starts)
            others = state.processes if self._zombies else tuple(self._processes.fresh(NAMES[n]) for n in range(new))
            yield Move(new, ("assign", starts)), after._replace(
                owner=new, processes=(*others, self._assigned(new, starts)), old_sends=(*state.old_sends, 0),
                unheard=state.unheard if self._zombies else (),
            )
            for n in set(range(new)) - {state.owner} if self._zombies else ():
                step = self._assign(starts)
                yield Move(n, step), self._told(after, n, step)._replace(
                    owner=n, old_sends=_put(state.old_sends, n, len(seen[n].sends))
                )

    def _may_repay(self, state: State, outside: Outside) -> bool:
        return outside.may_repay or (outside.may_inherit and bool(self._kept[state.kept].debts))

    @staticmethod
    def _is_late(state: State, n: int) -> bool:
        """Whether the process was deposed after it had stored what it sends now."""
        return n != state.owner or state.old_sends[n] > 0

    def _assign(self, starts: Offsets) -> Step:
        return "assign", tuple(zip(self._partitions, starts, strict=True))

    def _assigned(self, n: int, starts: Offsets) -> int:
        return self._processes.after(self._processes.fresh(NAMES[n]), self._assign(starts))

    def _told(self, state: State, n: int, step: Step) -> State:
        return state._replace(processes=_put(state.processes, n, self._processes.after(state.processes[n], step)))

    def _acked(self, committed: Offsets, outside: Outside) -> Offsets:
        return tuple([outside.acked.get(*place) for place in zip(self._partitions, committed, strict=True)])

    def _serve(self, kept: int, call: Call) -> tuple[int, tuple[Any, ...]]:
        served = self._served.get((kept, call))
        if served is None:
            after, replies = self._kept[kept], []
            for each in call.each:
                after, reply = getattr(self._redis, call.kind)(after, each)
                replies.append(reply)
            served = self._served[kept, call] = self._kept.of(after), tuple(replies)
        return served

    # -- what must not happen

    def _look_at(self, state: State, moves: Sequence[tuple[Move, State]]) -> None:
        for outside in [self._processes.outside[number] for number in state.processes]:
            self._note(Breach.FAILED, state, happens=bool(outside.failure))
            self._note(Breach.ASKED_AGAIN, state, happens=outside.asked_in_vain)
        owner = self._processes.outside[state.processes[state.owner]]
        acked = self._acked(state.committed, owner)
        lost = self._lost.get((state.topic, acked))
        if lost is None:
            covered = self._topics[state.topic].covered
            below = [(one, offset) for one, end in zip(self._partitions, acked, strict=True) for offset in range(end)]
            lost = self._lost[state.topic, acked] = any(self._first_places[place] not in covered for place in below)
        self._note(Breach.LOST, state, happens=lost)
        if acked == self._all and not (
            owner.calls or owner.requests or owner.sends or self._may_repay(state, owner)
        ):
            self._look_at_end(state)
        else:
            self._note(Breach.STUCK, state, happens=all(move.who != state.owner for move, _ in moves))

    def _look_at_end(self, state: State) -> None:
        kept, topic = self._kept[state.kept], self._topics[state.topic]
        self.ends += 1
        self._note(Breach.MISCOUNTED, state, happens=digests(kept) != self._expected)
        self._note(Breach.OUTDATED, state, happens=kept.result_version != len(set(self._first_places.values())))
        unpaid = not self._failures and kept.data is not None and b'"origin":"fallback"' in kept.data
        self._note(Breach.UNPAID, state, happens=unpaid)
        late = topic.last_is_late or state.late_store
        self._note(Breach.UNSENT, state, happens=kept.data != topic.last, late=late)

    def _look_at_move(self, state: State, move: Move, after: State) -> None:
        before, now = self._kept[state.kept].result_version, self._kept[after.kept].result_version
        self._note(Breach.STORED_FALLS, state, move, happens=now < before)
        outside = self._processes.outside
        if move.step == ("delivered",):
            topic, bodies = self._topics[state.topic], self._topics[after.topic].bodies
            self._note(Breach.TWO_BODIES, state, move, happens=len(bodies) > len({name for name, _ in bodies}))
            sent = outside[state.processes[move.who]].sends[0]
            falls = sent.topic == TOPIC and read_record(sent.value).version < topic.newest
            late = topic.last_is_late or self._is_late(state, move.who)
            self._note(Breach.SENT_FALLS, state, move, happens=falls, late=late)
        if move.step == ("commit",):
            may_be = self._acked(state.committed, outside[state.processes[state.owner]])
            falls = any(map(operator.lt, after.committed, may_be))
            self._note(Breach.COMMIT_FALLS, state, move, happens=falls)

    def _note(self, breach: Breach, state: State, *moves: Move, happens: bool, late: bool = False) -> None:
        notes = self.limits if late else self.broken
        if happens and breach not in notes:
            notes[breach] = [*self._schedule(state), *moves]

    def _schedule(self, state: State) -> Schedule:
        moves = []
        while (reached_by := self._reached_by[state]) is not None:
            state, move = reached_by
            moves.append(move)
        return moves[::-1]


def _put(values: tuple[int, ...], at: int, value: int) -> tuple[int, ...]:
    return (*values[:at], value, *values[at + 1 :])


def _first_places(log: Log) -> dict[Offset, Offset]:
    """Where the event of each record came first: what a producer sends again is covered there."""
    places: dict[str, Offset] = {}
    return {
        (partition, offset): places.setdefault(msgspec.json.decode(record.value)["id"], (partition, offset))
        for partition, records in log.items() for offset, record in enumerate(records)
    }
