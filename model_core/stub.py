"""A stand-in for a model: deterministic candidates after a set service time.

For tests, and for benchmarks that measure everything but the model; never a default.

Three markers anywhere in a request's packed state make it misbehave: `stub-invalid` (refused by collate),
`stub-raise` (forward raises for any batch that holds it) and `stub-fault` (the device breaks).
"""

import time
from collections.abc import Iterable, Sequence

import msgspec

from model_core.runner import Batching, DeviceFault, InvalidInput
from schemas.inference import MAX_CANDIDATES, RecommendRequest, RecommendResult, UserState
from schemas.results import Reason, RecommendedItem

ITEMS = 1000


class StubRunner:
    """Answers request i with the items i, i+1, … (modulo 1000), `service_ms` after the batch began.

    `candidates`: with how many, as large as a recommender's by default.
    """

    version = "stub-1"
    popular = tuple(str(item) for item in range(100))

    def __init__(
        self, name: str = "stub", service_ms: float = 0.0, max_batch: int = 64, candidates: int = MAX_CANDIDATES
    ) -> None:
        self.name = name
        self.batching = Batching(max_batch)
        self._service_s = service_ms / 1000
        self._results = [stub_result(item, candidates) for item in range(ITEMS)]

    def tokens(self, request: RecommendRequest) -> int:  # noqa: ARG002 - all alike
        return 1

    def collate(self, requests: Sequence[RecommendRequest]) -> list[bytes]:
        states = [bytes(request.state) for request in requests]
        if any(b"stub-invalid" in state for state in states):
            raise InvalidInput("the state holds the marker stub-invalid")
        return states

    def forward(self, batch: list[bytes]) -> int:
        if self._service_s:
            time.sleep(self._service_s)
        if any(b"stub-fault" in state for state in batch):
            raise DeviceFault("a state holds the marker stub-fault")
        if any(b"stub-raise" in state for state in batch):
            raise RuntimeError("a state holds the marker stub-raise")
        return len(batch)

    def split(self, requests: Sequence[RecommendRequest], output: int) -> list[RecommendResult]:
        results = [self._results[request.id % ITEMS] for request in requests[:output]]
        return [
            RecommendResult(request.id, result.item_ids, result.items)
            for request, result in zip(requests, results, strict=True)
        ]

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        state = msgspec.Raw(msgspec.msgpack.encode(UserState((), (), b"", ())))
        return [[RecommendRequest(0, 0, 0, state)] * size for size in (1, self.batching.max_batch)]


def stub_result(request_id: int, count: int = MAX_CANDIDATES) -> RecommendResult:
    """What a `StubRunner` answers to this id."""
    items = [str((request_id + rank) % ITEMS) for rank in range(count)]
    candidates = [RecommendedItem(item, 1 / (rank + 1), Reason("repeat", (item,))) for rank, item in enumerate(items)]
    return RecommendResult.of(request_id, candidates)
