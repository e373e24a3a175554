"""A stand-in for a model: deterministic candidates after a set service time.

For tests, and for benchmarks that measure everything but the model; never a default.

Three markers anywhere in a request's packed state make it misbehave: `stub-invalid` (refused by collate),
`stub-raise` (forward raises for any batch that holds it) and `stub-fault` (the device breaks). Any folder is a
checkpoint of it, and the folder's name the version: it answers other items, or misbehaves, as its name says.
"""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from model_core.runner import Batching, CheckpointError, DeviceFault, InvalidInput
from schemas.inference import MAX_CANDIDATES, RecommendRequest, RecommendResult, UserState
from schemas.results import Reason, RecommendedItem

ITEMS = 1000


class StubRunner:
    """Answers request i with the items i, i+1, … (modulo 1000), `service_ms` after the batch began.

    `candidates`: with how many, as large as a recommender's by default. Of any `version` but the first, it answers with
    i+1, i+2, …; with `other` in its name, with i+500, …; and with `fault` in it, the device breaks.
    """

    def __init__(
        self, name: str = "stub", service_ms: float = 0.0, max_batch: int = 64, candidates: int = MAX_CANDIDATES,
        version: str = "stub-1",
    ) -> None:
        self.name = name
        self.takes = RecommendRequest
        self.version = version
        self.batching = Batching(max_batch)
        self.popular = tuple(str(item + _shift(version)) for item in range(100))
        self._service_s = service_ms / 1000
        self._candidates = candidates
        self._results = [stub_result(item, candidates, version) for item in range(ITEMS)]

    def successor(self, folder: Path, sha256: str = "") -> "StubRunner":
        """As `model_core.runner.Reloadable` says; the name must begin with `sha256`."""
        if not folder.is_dir() or not folder.name.startswith(sha256):
            raise CheckpointError(f"{folder} holds no checkpoint {sha256}; make a folder of that name")
        return StubRunner(self.name, 1000 * self._service_s, self.batching.max_batch, self._candidates, folder.name)

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
        if "fault" in self.version or any(b"stub-fault" in state for state in batch):
            raise DeviceFault("the version or a state holds the marker of a fault")
        if any(b"stub-raise" in state for state in batch):
            raise RuntimeError("a state holds the marker stub-raise")
        return len(batch)

    def split(self, requests: Sequence[RecommendRequest], output: int) -> list[RecommendResult]:
        results = [self._results[request.id % ITEMS] for request in requests[:output]]
        return [
            RecommendResult(request.id, result.ids, result.items)
            for request, result in zip(requests, results, strict=True)
        ]

    def example_batches(self) -> Iterable[Sequence[RecommendRequest]]:
        state = msgspec.Raw(msgspec.msgpack.encode(UserState((), (), b"", ())))
        return [[RecommendRequest(0, 0, 0, state)] * size for size in (1, self.batching.max_batch)]


def stub_result(request_id: int, count: int = MAX_CANDIDATES, version: str = "stub-1") -> RecommendResult:
    """What a `StubRunner` answers to this id."""
    items = [str((request_id + rank + _shift(version)) % ITEMS) for rank in range(count)]
    candidates = [RecommendedItem(item, 1 / (rank + 1), Reason("repeat", (item,))) for rank, item in enumerate(items)]
    return RecommendResult.of(request_id, candidates)


def _shift(version: str) -> int:
    return 500 if "other" in version else version != "stub-1"
