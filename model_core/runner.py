"""What a model must offer to be served. Knows nothing of sockets, threads, queues or torch.

The worker calls, per batch: `collate` on a CPU thread while the device still runs the batch before, then `forward` on
the thread that owns the device and that loaded the model, then `split` on a third while the device runs the next. A
runner needs no locks as long as `collate` and `split` only read it: when the members of a failed batch are tried again,
the device's thread calls all three.
"""

import sys
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar, runtime_checkable

from schemas.inference import Result

RequestT = TypeVar("RequestT")
BatchT = TypeVar("BatchT")
OutputT = TypeVar("OutputT")


class InvalidInput(ValueError):  # noqa: N818 - what the request is, not where it failed
    """A request that this model can never answer; the message says why, without personal data."""


class CheckpointError(RuntimeError):
    """The folder does not hold a checkpoint that can be served here; the message says why and what to do."""


class DeviceFault(RuntimeError):  # noqa: N818 - as above
    """The device is unusable until the process restarts; the worker exits with 70 for its supervisor."""


class Service(Enum):
    """How a model shares the device with others."""

    EAGER = "eager"  # somebody waits: whenever the device is free
    CONTINUOUS = "continuous"  # generates, one step after the other; a request may join at any step
    DEFERRED = "deferred"  # in full batches, in idle time, or when its time is running out


@dataclass(frozen=True, slots=True)
class Batching:
    """How a model's batches may look. `lengths`: what they are padded to, ascending; `max_tokens`: padded ones."""

    max_batch: int
    lengths: tuple[int, ...] = (1,)
    max_tokens: int = sys.maxsize
    service: Service = Service.EAGER

    def room(self, length: int) -> int:
        """How many requests a batch of this length may hold."""
        return max(1, min(self.max_batch, self.max_tokens // length))

    def padded(self, tokens: int) -> int:
        """The length that a request of so many tokens is padded to; what is longer than all is cut."""
        return self.lengths[min(bisect_left(self.lengths, tokens), len(self.lengths) - 1)]


class ModelRunner(Protocol[RequestT, BatchT, OutputT]):
    """One loaded model on one device.

    `popular`: the fallback list, best first, at most 100 item ids (empty where the model has none). `takes`: the kind
    of its requests; no other reaches it.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def popular(self) -> tuple[str, ...]: ...
    @property
    def takes(self) -> type[RequestT]: ...
    @property
    def batching(self) -> Batching: ...

    def tokens(self, request: RequestT) -> int:
        """How long a request is, at a glance: the thread of the sockets asks, before anything was decoded."""
        ...

    def collate(self, requests: Sequence[RequestT]) -> BatchT:
        """Validate and pad the requests of a batch into CPU arrays.

        Raises `InvalidInput` where a request is wrong; the worker then calls again with each request alone, so a
        batch need not say which one it was. Check ids and lengths here: on a GPU a bad index kills the process.
        """
        ...

    def forward(self, batch: BatchT) -> OutputT:
        """Run the model on the device; what is returned is ready to be read on the CPU."""
        ...

    def split(self, requests: Sequence[RequestT], output: OutputT) -> Sequence[Result]:
        """One result per request, in their order, with their ids."""
        ...

    def example_batches(self) -> Iterable[Sequence[RequestT]]:
        """Batches of every shape worth warming; each goes through all three calls before the worker is ready."""
        ...


@runtime_checkable
class Reloadable(Protocol):
    """A `ModelRunner` that another checkpoint can replace while it serves."""

    def successor(self, folder: Path, sha256: str = "") -> ModelRunner[Any, Any, Any]:
        """The checkpoint in `folder`, served as this one is: same name, same device.

        Called on a thread beside the device's, while this runner serves; there it is also warmed and tried, before its
        first batch on the device's thread. `sha256`: of the weights, or how that begins. Raises `CheckpointError`.
        """
        ...


@runtime_checkable
class GeneratingRunner(Protocol[RequestT, BatchT]):
    """A model whose answers take many steps, of `Service.CONTINUOUS`: requests come and go while others go on.

    `batching.max_batch`: for how many it can generate at once. The runner keeps the requests that it was given by
    `step`, until it returns or drops them. `collate` as in `ModelRunner`.
    """

    @property
    def name(self) -> str: ...
    @property
    def version(self) -> str: ...
    @property
    def popular(self) -> tuple[str, ...]: ...
    @property
    def takes(self) -> type[RequestT]: ...
    @property
    def batching(self) -> Batching: ...

    def tokens(self, request: RequestT) -> int:
        """How long a request is, at a glance."""
        ...

    def collate(self, requests: Sequence[RequestT]) -> BatchT:
        """Validate and encode requests that will come in. Raises `InvalidInput` where one is wrong."""
        ...

    def step(self, batch: BatchT | None) -> Sequence[tuple[RequestT, Result]]:
        """Take a batch in, where there is one, and make one step for all. Returns who is finished, with the result.

        Where it raises, it has not taken the batch in.
        """
        ...

    def drop(self, requests: Sequence[RequestT]) -> None:
        """Forget these; requests that it does not have are ignored."""
        ...

    def example_batches(self) -> Iterable[Sequence[RequestT]]:
        """Batches worth warming; each is taken in, and stepped until it is finished, before the worker is ready."""
        ...


AnyRunner: TypeAlias = ModelRunner[Any, Any, Any] | GeneratingRunner[Any, Any]
