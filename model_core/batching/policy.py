"""Which requests form the next batch, and when. Pure: it reads no clock, touches no tensor and never waits.

There is no delay knob. Who takes a batch has reserved the place for it first (as in Hugging Face TEI's
`batching_task`); on an idle device a request leaves alone and at once. While the device is busy a batch that is not
full is bound only just before the device will be free: it could not start earlier, and holds whoever came until then.

Under overload the batch keeps its size and its head is dropped: a request whose answer would come too late, by what
batches cost here (`CostModel`), is shed before it costs anything (Nexus, SOSP 2019). Shrinking the batch to save the
oldest would make everybody late.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from model_core.batching.cost import CostModel
from model_core.runner import Batching, Service
from schemas.inference import RecommendRequest

# Seconds of work at 1 ms a request, more than any request's budget: what came on top could only expire here.
MAX_PENDING = 4096


# of the device's time while eager requests wait too: neither starves, and eager ones wait for one step at a time
SHARE = {Service.CONTINUOUS: 0.2, Service.DEFERRED: 0.1}


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
    request: RecommendRequest
    deadline_s: float
    tokens: int = 1

    @property
    def wanted(self) -> bool:
        return self.request.id in self.client.outstanding


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
        self.active = 0  # of a continuous model: requests that it is generating for
        self.credit_s = 0.0  # device time that it is owed while eager requests wait
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

    def next_length(self) -> int:
        """What the next batch is padded to."""
        first = self.first()
        return self.batching.padded(first.tokens) if first else self.batching.lengths[-1]

    def full(self) -> bool:
        """Whether the next batch would be full."""
        length = self.next_length()
        return sum(len(waiting) for at, waiting in self._waiting.items() if at <= length) >= self.batching.room(length)

    def step_s(self) -> float:
        """What the next batch is expected to take."""
        length = self.next_length()
        return self.cost.mean_s(length, max(1, min(len(self), self.batching.room(length))))

    def take(self, room: int, length: int) -> Iterator[Pending]:
        """Up to `room` wanted requests of this length, then of the next shorter ones."""
        for at in reversed([at for at in self._waiting if at <= length]):
            waiting = self._waiting[at]
            while waiting and room:
                pending = waiting.popleft()
                if pending.wanted:
                    room -= 1
                    yield pending


class Backlog:
    """What waits, per model. Eager models take turns; the others run when none of those waits, or for their share."""

    def __init__(
        self, models: Mapping[str, Batching], costs: Mapping[str, CostModel], max_pending: int = MAX_PENDING
    ) -> None:
        self._queues = {name: _Queue(batching, costs[name]) for name, batching in models.items()}
        self._max_pending = max_pending
        self._other_ran = False  # the last batch was not an eager one

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

    def take(self, now_s: float, free_s: float, lead_s: float = 0.0) -> Plan | Later | None:
        """The next batch; when to ask again; or None when nothing waits.

        `free_s`: when the device is expected to be free. `lead_s`: how long a batch takes from here to the device.
        """
        working = [name for name in self._queues if self._works(name)]  # in the order of their turns
        eager = [name for name in working if self._service(name) is Service.EAGER]
        others = [name for name in working if self._service(name) is not Service.EAGER]
        bind_s = free_s - lead_s
        if eager:
            if bind_s > now_s and not self._queues[eager[0]].full():
                return Later(bind_s)
            owed = [name for name in others if self._queues[name].credit_s >= self._queues[name].step_s()]
            if owed and not self._other_ran:
                return self._other(owed[0], now_s)
            return self._eager(eager[0], now_s, free_s)
        if not others:
            return None
        if bind_s > now_s:
            return Later(bind_s)
        return self._idle(others, now_s)

    def ran(self, model: str, seconds: float) -> None:
        """Note that a model had the device for so long."""
        queue = self._queues[model]
        if queue.batching.service is not Service.EAGER:
            queue.credit_s = 0.0
            return
        for name, other in self._queues.items():
            if (share := SHARE.get(other.batching.service)) and self._works(name):
                other.credit_s = min(other.credit_s + share * seconds, other.step_s())

    def _service(self, name: str) -> Service:
        return self._queues[name].batching.service

    def _works(self, name: str) -> bool:
        queue = self._queues[name]
        return queue.first() is not None or queue.active > 0

    def _eager(self, name: str, now_s: float, free_s: float) -> Plan:
        queue = self._queues[name] = self._queues.pop(name)  # to the end of the round
        self._other_ran = False
        return _form(name, queue, now_s, free_s)

    def _idle(self, names: list[str], now_s: float) -> Plan | Later:
        """In idle time: generation at any time, others in full batches, or when their time is running out."""
        due_s = []
        for name in names:
            queue, first = self._queues[name], self._queues[name].first()
            if first is None or queue.batching.service is Service.CONTINUOUS:
                return self._other(name, now_s)
            length = queue.next_length()
            at_s = first.deadline_s - queue.cost.bound_s(length, queue.batching.room(length))
            if queue.full() or at_s <= now_s:
                return self._other(name, now_s)
            due_s.append(at_s)
        return Later(min(due_s))

    def _other(self, name: str, now_s: float) -> Plan:
        queue = self._queues[name] = self._queues.pop(name)
        self._other_ran = True
        if queue.batching.service is Service.CONTINUOUS:
            length = queue.batching.lengths[-1]
            return Plan(name, tuple(queue.take(queue.batching.room(length) - queue.active, length)), (), length)
        return _form(name, queue, now_s, now_s)


def _form(name: str, queue: _Queue, now_s: float, free_s: float) -> Plan:
    """A batch without those that it would answer too late; others take their place."""
    length = queue.next_length()
    room = queue.batching.room(length)
    batch: list[Pending] = []
    shed: list[Pending] = []
    while more := list(queue.take(room - len(batch), length)):
        batch += more
        done_s = max(now_s, free_s) + queue.cost.bound_s(length, len(batch))
        late = [pending for pending in batch if pending.deadline_s <= done_s]
        batch = [pending for pending in batch if pending.deadline_s > done_s]
        shed += late
        if not late:
            break
    if not batch and free_s <= now_s:
        # by the estimate nothing can be in time, and the device is idle: try, or the estimate is never mended
        batch = [pending for pending in shed if pending.deadline_s > now_s][-room:]
        tried = {id(pending) for pending in batch}
        shed = [pending for pending in shed if id(pending) not in tried]
    return Plan(name, tuple(batch), tuple(shed), length)


def _deadline(pending: Pending) -> float:
    return pending.deadline_s
