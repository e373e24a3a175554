"""A pipeline with models whose successors the test makes, and who answered what."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Raw

from model_core.batching.events import Answered, Event, Kept, Loaded, Stopped, Swapped
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.runner import AnyRunner, Batching
from schemas.control import Reload
from schemas.inference import RecommendRequest, RecommendResult, Reply
from schemas.results import Reason, RecommendedItem

BOUND_S = 10.0
STATE = Raw(b"\x90")
ITEMS = tuple(str(n) for n in range(20))


class Model:
    """Answers with its own version as the first item; what its successor is, the test says."""

    name = "m"
    takes = RecommendRequest

    def __init__(self, version: str = "1", items: tuple[str, ...] = ITEMS, *, gated: bool = False) -> None:
        self.version, self.items = version, items
        self.popular: tuple[str, ...] = ("7",)
        self.batching = Batching(4)
        self.gate = threading.Semaphore(0 if gated else 1_000_000)
        self.entered: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.next: Callable[[Path, str], AnyRunner] = lambda *_: Model("2")
        self.breaks: Exception | None = None

    def successor(self, folder: Path, sha256: str = "") -> AnyRunner:
        return self.next(folder, sha256)

    def tokens(self, request: RecommendRequest) -> int:
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> list[int]:
        return [request.id for request in requests]

    def forward(self, batch: list[int]) -> list[int]:
        self.entered.put(batch)
        assert self.gate.acquire(timeout=BOUND_S)
        if self.breaks:
            raise self.breaks
        return batch

    def split(self, requests: Sequence[RecommendRequest], output: list[int]) -> list[RecommendResult]:
        items = [RecommendedItem(item, 0.5, Reason("related")) for item in (f"v{self.version}", *self.items)]
        return [RecommendResult.of(request_id, items) for request_id in output]

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        return [[RecommendRequest(n, 0, 0, STATE) for n in range(size)] for size in (1, 4)]


class Bench:
    def __init__(self, pipeline: Pipeline, events: "queue.SimpleQueue[Event]") -> None:
        self.pipeline, self.events, self.client = pipeline, events, Client(b"a", 0.0)
        self.answered: dict[int, tuple[str, Reply]] = {}  # by which version
        self.order: list[str] = []

    def submit(self, *ids: int) -> None:
        self.client.outstanding.update(ids)
        waiting = [Pending(self.client, RecommendRequest(i, 0, 0, STATE), 1e9) for i in ids]
        assert self.pipeline.submit("m", waiting) == []

    def reload(self, min_overlap: float = 0.3) -> None:
        self.pipeline.reload(Reload(model="m", path="/checkpoint", sha256="abc", min_overlap=min_overlap))

    def until(self, condition: Callable[[Event], bool]) -> Event:
        while True:
            event = self.events.get(timeout=BOUND_S)
            if isinstance(event, Answered):
                for _, reply in event.replies:
                    self.answered[reply.id] = (event.version, reply)
                    self.order.append(event.version)
            elif isinstance(event, Swapped):
                self.order.append("swapped")
            if condition(event):
                return event

    def replies(self, *ids: int) -> None:
        if not set(ids) <= self.answered.keys():
            self.until(lambda _: set(ids) <= self.answered.keys())

    def swapped(self) -> Swapped:
        event = self.until(lambda event: isinstance(event, Swapped | Kept | Stopped))
        assert isinstance(event, Swapped), event
        return event

    def kept(self) -> str:
        event = self.until(lambda event: isinstance(event, Swapped | Kept | Stopped))
        assert isinstance(event, Kept), event
        return event.reason

    def version_that_answers(self, request_id: int) -> str:
        self.submit(request_id)
        self.replies(request_id)
        version, reply = self.answered[request_id]
        assert isinstance(reply, RecommendResult)
        assert reply.item_ids[0] == f"v{version}"
        return version


@contextmanager
def running(*models: AnyRunner) -> Iterator[Bench]:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: list(models), events.put, clock=lambda: 0.0)
    pipeline.start()
    assert isinstance(events.get(timeout=BOUND_S), Loaded)
    try:
        yield Bench(pipeline, events)
    finally:
        assert pipeline.stop(BOUND_S)
