"""What a model must offer to be served. Knows nothing of sockets, threads, queues or torch.

The worker calls, per batch: `collate` on a CPU thread while the device still runs the batch before, then `forward` and
`split` on the thread that owns the device and that loaded the model. A runner needs no locks as long as `collate` only
reads it: when the members of a failed batch are tried again, the device's thread collates too.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias, TypeVar

from schemas.inference import RecommendResult

RequestT = TypeVar("RequestT")
BatchT = TypeVar("BatchT")
OutputT = TypeVar("OutputT")


class InvalidInput(ValueError):  # noqa: N818 - what the request is, not where it failed
    """A request that this model can never answer; the message says why, without personal data."""


class DeviceFault(RuntimeError):  # noqa: N818 - as above
    """The device is unusable until the process restarts; the worker exits with 70 for its supervisor."""


class ModelRunner(Protocol[RequestT, BatchT, OutputT]):
    """One loaded model on one device.

    `popular`: the fallback list, best first, at most 100 item ids (empty where the model has none).
    `max_batch`: the most requests that one call may hold.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def popular(self) -> tuple[str, ...]: ...
    @property
    def max_batch(self) -> int: ...

    def collate(self, requests: Sequence[RequestT]) -> BatchT:
        """Validate and pad up to `max_batch` requests into CPU arrays.

        Raises `InvalidInput` where a request is wrong; the worker then calls again with each request alone, so a
        batch need not say which one it was. Check ids and lengths here: on a GPU a bad index kills the process.
        """
        ...

    def forward(self, batch: BatchT) -> OutputT:
        """Run the model on the device."""
        ...

    def split(self, requests: Sequence[RequestT], output: OutputT) -> Sequence[RecommendResult]:
        """One result per request, in their order, with their ids."""
        ...

    def example_batches(self) -> Iterable[Sequence[RequestT]]:
        """Batches of every shape worth warming; each goes through all three calls before the worker is ready."""
        ...


AnyRunner: TypeAlias = ModelRunner[Any, Any, Any]
