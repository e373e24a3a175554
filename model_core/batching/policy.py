"""Which requests form the next batch, and when. Pure: it reads no clock, touches no tensor and never waits.

There is no delay knob. Who takes a batch has reserved the place for it first (as in Hugging Face TEI's
`batching_task`); on an idle device a request leaves alone and at once. While the device is busy a batch that is not
full is bound only just before the device will be free: it could not start earlier, and holds whoever came until then.

Under overload the batch keeps its size and its head is dropped: a request whose answer would come too late, by what
batches cost here (`CostModel`), is shed before it costs anything (Nexus, SOSP 2019). Shrinking the batch to save the
oldest would make everybody late.

Models that nobody waits for by the millisecond (deferred, continuous) have the device while no eager request waits.
While some do, a step of theirs is let in now and then (`SHARE`), in a calm moment, and never two past one request. Who
waits for it, or comes during it, is late by that step; and the batch of all who gathered takes longer than a usual
one. As long as that is rare it is a matter for less than one request in a hundred, so that the p99 of eager requests
rises by one step at most (tests/worker/test_simulation.py: up to 90 % of what the device can do).
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from model_core.batching.cost import CostModel, Line
from model_core.runner import Batching, Service
from schemas.inference import Request

# Seconds of work at 1 ms a request, more than any request's budget: what came on top could only expire here.
MAX_PENDING = 4096


# Of the device's time, for all others together, while eager requests wait: with 8 % p99 rises by more than a step.
SHARE = 0.05
USUAL = 1 / 16  # how much the newest batch counts in what is usual

# What one batch more costs besides its time on the device: to be collated and worded, messages, a write and records of
# its own (1.3 ms of CPU in the worker and as much in the agent on a busy machine, docs/performance.md).
BATCH_S = 0.001

LEAD = 1.5  # times the usual time to collate, so that a batch is seldom late for the device
LEAD_S = 0.001  # to wake and to hand over


@dataclass(eq=False, slots=True)
class Client:
    """An agent, by its ZeroMQ identity. `outstanding` holds the ids it still wants answered, and no others."""

    identity: bytes
    last_heard_s: float
    outstanding: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request that waits, and until when an answer is of use (in seconds of the worker's monotonic clock).

    `tokens`: how long it is, as its model counts.
    """

    client: Client
    request: Request
    deadline_s: float
    tokens: int = 1

    @property
    def wanted(self) -> bool:
        return self.request.id in self.client.outstanding

    @property
    def arrived_s(self) -> float:
        return self.deadline_s - self.request.budget_ms / 1000


@dataclass(frozen=True, slots=True)
class Plan:
    """`batch` goes to `model` in this order; `shed` would have been answered too late.

    `length`: what the batch is padded to. A continuous model is given whom it may take in, perhaps nobody, for a step.
    """

    model: str
    batch: tuple[Pending, ...]
    shed: tuple[Pending, ...]
    length: int = 1


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing should be bound before this time, unless more requests come."""

    at_s: float


class _Queue:
    """One model's requests, a FIFO per length."""

    def __init__(self, batching: Batching, cost: CostModel) -> None:
        self.batching = batching
        self.cost = cost
        self.collating = Line()  # seconds to collate n requests
        self.usual = 1.0  # requests in a batch
        self.active = 0  # of a continuous model: requests that it is generating for
        self._waiting: dict[int, deque[Pending]] = {length: deque() for length in sorted(batching.lengths)}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, pending: Pending) -> None:
        self._waiting[self.batching.padded(pending.tokens)].append(pending)

    def first(self) -> Pending | None:
        """The one with the earliest deadline. Requests that nobody wants any more are forgotten here."""
        heads = []
        for waiting in self._waiting.values():
            while waiting and not waiting[0].wanted:
                waiting.popleft()
            if waiting:
                heads.append(waiting[0])
        return min(heads, key=_deadline, default=None)

    def shape(self) -> tuple[int, int]:
        """What the next batch is padded to, and how many it holds of those who wait.

        It is of the first one's length, or of the longest at which all who wait as the first one does join in.
        """
        first = self.first()
        if first is None:
            return self.batching.lengths[-1], 0
        own = self.batching.padded(first.tokens)
        for length in reversed(self._waiting):
            if length > own and self._waiting[length]:
                joining = dict(self._joining(length, 0))
                if joining.get(own) == len(self._waiting[own]):
                    return length, sum(joining.values())
            elif length == own:
                break
        return own, sum(more for _, more in self._joining(own, 0))

    def full(self) -> bool:
        """Whether the next batch would be full."""
        length, n = self.shape()
        return n == self.batching.room(length)

    def calm(self) -> bool:
        """Whether the next batch would be no larger than is usual here."""
        return not self.full() and self.shape()[1] <= self.usual

    def step_s(self) -> float:
        """What the next batch is expected to take."""
        length, n = self.shape()
        return self.cost.mean_s(length, max(1, n))

    def bind_s(self, free_s: float) -> float:
        """When to bind the next batch, so that it is collated when the device is free."""
        return free_s - LEAD * self.collating.mean_s(self.shape()[1]) - LEAD_S

    def due_s(self) -> float:
        """When a deferred model's next batch should be bound, full or not: the device may be busy for as long again."""
        first, (length, _) = self.first(), self.shape()
        return first.deadline_s - 2 * self.cost.bound_s(length, self.batching.room(length)) if first else math.inf

    def take(self, length: int, n: int) -> Iterator[Pending]:
        """Wanted requests for a batch of this length that holds n, until it is full: its own, then shorter ones."""
        room = self.batching.room(length)
        for at, _ in self._joining(length, n):
            waiting = self._waiting[at]
            while waiting and n < room:
                pending = waiting.popleft()
                if pending.wanted:
                    n += 1
                    yield pending

    def _joining(self, length: int, n: int) -> Iterator[tuple[int, int]]:
        """Who joins a batch of this length that holds n: lengths, the longest first, and how many of each."""
        for at, waiting in reversed(self._waiting.items()):
            more = min(len(waiting), self.batching.room(length) - n) if at <= length else 0
            if more and (at == length or self._joins(at, length, n, more)):
                n += more
                yield at, more

    def _joins(self, at: int, length: int, n: int, more: int) -> bool:
        """Whether so many of a shorter length cost less in a batch of n of this length than in one of their own."""
        if self.batching.service is Service.CONTINUOUS:
            return True
        apart_s = self.cost.mean_s(at, more)
        if more == len(self._waiting[at]):
            apart_s += BATCH_S
        return self.cost.mean_s(length, n + more) - self.cost.mean_s(length, n) <= apart_s


class Backlog:
    """What waits, per model. Eager models take turns, and so do the others."""

    def __init__(
        self, models: Mapping[str, Batching], costs: Mapping[str, CostModel], max_pending: int = MAX_PENDING
    ) -> None:
        self._queues = {name: _Queue(batching, costs[name]) for name, batching in models.items()}
        self._max_pending = max_pending
        self._others_ran_s = -math.inf  # when the last step that was not eager ended, or will
        self._others_took_s = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def add(self, model: str, pending: Pending) -> bool:
        """False where the model's queue is full; raises `KeyError` for a model that is not served."""
        queue = self._queues[model]
        if len(queue) >= self._max_pending:
            return False
        queue.add(pending)
        return True

    def generating(self, model: str, active: int) -> None:
        """Note for how many requests a continuous model generates."""
        self._queues[model].active = active

    def collated(self, model: str, n: int, seconds: float) -> None:
        """Note that it took so long to collate n requests."""
        self._queues[model].collating.observe(n, seconds)

    def take(self, now_s: float, free_s: float) -> Plan | Later | None:
        """The next batch; when to ask again; or None when nothing waits. `free_s`: when the device will be free."""
        working = [name for name in self._queues if self._works(name)]  # in the order of their turns
        eager = [name for name in working if self._service(name) is Service.EAGER]
        others = [name for name in working if self._service(name) is not Service.EAGER]
        if eager:
            queue = self._queues[eager[0]]
            bind_s = queue.bind_s(free_s)
            if bind_s > now_s and not queue.full():
                return Later(bind_s)
            pressing = [name for name in others if self._presses(name, now_s)]
            if pressing and self._let_in(eager, now_s):
                return self._other(pressing[0], now_s, free_s)
            return self._eager(eager[0], now_s, free_s)
        ready = [name for name in others if self._ready(name, now_s)]
        if ready:
            bind_s = self._queues[ready[0]].bind_s(free_s)
            return Later(bind_s) if bind_s > now_s else self._other(ready[0], now_s, free_s)
        return Later(min(self._queues[name].due_s() for name in others)) if others else None

    def ran(self, model: str, seconds: float, now_s: float) -> None:
        """Note that a model had the device for so long, until now."""
        if self._service(model) is not Service.EAGER:
            self._others_ran_s, self._others_took_s = now_s, seconds

    def _service(self, name: str) -> Service:
        return self._queues[name].batching.service

    def _works(self, name: str) -> bool:
        queue = self._queues[name]
        return queue.first() is not None or queue.active > 0

    def _ready(self, name: str, now_s: float) -> bool:
        """In idle time: generation may go on at any time, others in full batches, or when their time is running out."""
        queue = self._queues[name]
        return queue.batching.service is Service.CONTINUOUS or queue.full() or queue.due_s() <= now_s

    def _presses(self, name: str, now_s: float) -> bool:
        """While eager requests wait, what is deferred does so too, until there is just time to be let in."""
        queue = self._queues[name]
        wait_s = 2 * queue.step_s() / SHARE  # see _let_in
        return queue.batching.service is Service.CONTINUOUS or queue.due_s() - wait_s <= now_s

    def _let_in(self, eager: Sequence[str], now_s: float) -> bool:
        """Whether a step of another model may go before these: not often, and if it can be in a calm moment."""
        rests_s = self._others_took_s / SHARE
        rested_s = now_s - self._others_ran_s
        calm = all(self._queues[name].calm() for name in eager)
        return rested_s > rests_s and (calm or rested_s > 2 * rests_s)

    def _eager(self, name: str, now_s: float, free_s: float) -> Plan:
        queue = self._queues[name] = self._queues.pop(name)  # to the end of the round
        plan = _form(name, queue, now_s, free_s)
        queue.usual += USUAL * (len(plan.batch) - queue.usual)
        return plan

    def _other(self, name: str, now_s: float, free_s: float) -> Plan:
        queue = self._queues[name] = self._queues.pop(name)
        took_s = queue.step_s()
        if queue.batching.service is Service.CONTINUOUS:
            length = queue.batching.lengths[-1]
            plan = Plan(name, tuple(queue.take(length, queue.active)), (), length)
        else:
            plan = _form(name, queue, now_s, free_s)
        if plan.batch or queue.active:
            self._others_ran_s, self._others_took_s = max(now_s, free_s) + took_s, took_s
        return plan


def _form(name: str, queue: _Queue, now_s: float, free_s: float) -> Plan:
    """A batch without those that it would answer too late; others take their place."""
    length, _ = queue.shape()
    batch: list[Pending] = []
    shed: list[Pending] = []
    while more := list(queue.take(length, len(batch))):
        batch += more
        done_s = max(now_s, free_s) + queue.cost.bound_s(length, len(batch))
        late = [pending for pending in batch if pending.deadline_s <= done_s]
        batch = [pending for pending in batch if pending.deadline_s > done_s]
        shed += late
        if not late:
            break
    if not batch and free_s <= now_s:
        # by the estimate nothing can be in time, and the device is idle: try, or the estimate is never mended
        batch = [pending for pending in shed if pending.deadline_s > now_s][-queue.batching.room(length) :]
        tried = {id(pending) for pending in batch}
        shed = [pending for pending in shed if id(pending) not in tried]
    return Plan(name, tuple(batch), tuple(shed), length)


def _deadline(pending: Pending) -> float:
    return pending.deadline_s
