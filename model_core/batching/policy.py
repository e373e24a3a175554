"""Which requests form the next batch. Pure: it reads no clock, touches no tensor and never waits.

There is no delay knob. Whoever takes a batch has reserved the place for it first (late binding, as in Hugging Face
TEI's `batching_task`): on an idle device a request leaves alone and at once, on a busy one the batch grows by itself.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from schemas.inference import RecommendRequest

# Seconds of work at 1 ms a request, more than any request's budget: what came on top could only expire here.
MAX_PENDING = 4096


@dataclass(eq=False, slots=True)
class Client:
    """An agent, by its ZeroMQ identity. `outstanding` holds the ids it still wants answered, and no others."""

    identity: bytes
    last_heard_s: float
    outstanding: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True, eq=False)
class Pending:
    """A request that waits, and until when an answer is of use (in seconds of the worker's monotonic clock)."""

    client: Client
    request: RecommendRequest
    deadline_s: float

    @property
    def wanted(self) -> bool:
        return self.request.id in self.client.outstanding


@dataclass(frozen=True, slots=True)
class Plan:
    """`batch` goes to `model` in this order; `shed` had spent their budget while they waited."""

    model: str
    batch: tuple[Pending, ...]
    shed: tuple[Pending, ...]


class Backlog:
    """What waits, per model in order of arrival. Models take turns."""

    def __init__(self, max_batch: Mapping[str, int], max_pending: int = MAX_PENDING) -> None:
        self._max_batch = dict(max_batch)
        self._max_pending = max_pending
        self._waiting: dict[str, deque[Pending]] = {model: deque() for model in max_batch}

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values()))

    def add(self, model: str, pending: Pending) -> bool:
        """False where the model's queue is full; raises `KeyError` for a model that is not served."""
        waiting = self._waiting[model]
        if len(waiting) >= self._max_pending:
            return False
        waiting.append(pending)
        return True

    def take(self, now_s: float) -> Plan | None:
        """The next batch of the model whose turn it is, oldest request first; None when nothing waits.

        Requests that were cancelled, or whose client has gone, are forgotten here.
        """
        for model in list(self._waiting):
            waiting = self._waiting.pop(model)
            self._waiting[model] = waiting  # to the end of the round
            batch: list[Pending] = []
            shed: list[Pending] = []
            while waiting and len(batch) < self._max_batch[model]:
                pending = waiting.popleft()
                if pending.wanted:
                    (batch if pending.deadline_s > now_s else shed).append(pending)
            if batch or shed:
                return Plan(model, tuple(batch), tuple(shed))
        return None
