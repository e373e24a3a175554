"""How a function of tensors runs on a device: as it is, or on a GPU as CUDA graphs of fixed shapes.

Knows tensors, shapes and streams, nothing of recommendations. `Eager` is the slow twin. `FixedShapes` is what graphs
need besides CUDA (buckets, buffers, padding, slices), and runs anywhere; `CudaGraphs` adds capture, streams and copies.

    stage, on any thread         run, on the device's thread                       ready, on any thread
    pinned memory ── copy ──▶ static inputs ── replay ──▶ static outputs ── copy ──▶ pinned memory
                              └────── compute stream ──────┘└── a stream of its own ──┘

`run` returns once the results are computed, so that its time is the device's; copying them out overlaps with the next
batch. A batch and the one that is prefetched are in pinned memory at a time. torch's host allocator keeps both slots,
and hands one out again only when the copies from it are done.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor

# both are NamedTuples
BatchT = TypeVar("BatchT", bound=tuple[Tensor, ...])  # the first tensor is (users, length)
OutputT = TypeVar("OutputT", bound=tuple[Tensor, ...])  # all are (users, …)


@dataclass(frozen=True, slots=True, eq=False)
class Output(Generic[OutputT]):
    """Results on their way to the CPU. `wait` returns when they are there."""

    tensors: OutputT
    wait: Callable[[], None] = lambda: None

    def ready(self) -> OutputT:
        self.wait()
        return self.tensors


class Execution(Protocol[BatchT, OutputT]):
    """Runs one function of a batch."""

    def stage(self, batch: BatchT) -> BatchT:
        """Bring a batch on the CPU to where it is copied from."""
        ...

    def run(self, batch: BatchT) -> Output[OutputT]:
        """The function's value, once it is computed."""
        ...


class Eager(Generic[BatchT, OutputT]):
    """Each operation when Python comes to it."""

    def __init__(self, function: Callable[[BatchT], OutputT], device: torch.device) -> None:
        self._function, self._device = function, device

    def stage(self, batch: BatchT) -> BatchT:
        return batch

    @torch.inference_mode()
    def run(self, batch: BatchT) -> Output[OutputT]:
        if self._device.type == "cpu":  # where each copy, of nothing, would give Python's lock to other threads
            return Output(self._function(batch))
        result = self._function(_each(batch, lambda tensor: tensor.to(self._device)))
        return Output(_each(result, Tensor.cpu))


@dataclass(frozen=True, slots=True, eq=False)
class _Bucket(Generic[BatchT, OutputT]):
    users: int
    length: int
    inputs: BatchT
    replay: Callable[[], OutputT]


class FixedShapes(Generic[BatchT, OutputT]):
    """Batches are padded with zeros to the next bucket and lie in buffers that never move."""

    @torch.inference_mode()
    def __init__(
        self, function: Callable[[BatchT], OutputT], device: torch.device, largest: Iterable[BatchT]
    ) -> None:
        """`largest`: a batch on the CPU for each bucket, as large as its batches may become."""
        self._function = function
        batches = sorted(largest, key=lambda batch: batch[0].numel(), reverse=True)  # so that small ones reuse memory
        sizes = [max(tensor.numel() for tensor in column) for column in zip(*batches, strict=True)]
        buffers = [
            torch.zeros(size, dtype=tensor.dtype, device=device)
            for size, tensor in zip(sizes, batches[0], strict=True)
        ]
        self._buckets: list[_Bucket[BatchT, OutputT]] = []
        for batch in batches:
            views = [buffer[: like.numel()].view(like.shape) for buffer, like in zip(buffers, batch, strict=True)]
            inputs = type(batch)(*views)
            users, length = batch[0].shape
            self._buckets.append(_Bucket(users, length, inputs, self._capture(inputs)))
        self._buckets.reverse()

    def stage(self, batch: BatchT) -> BatchT:
        return batch

    @torch.inference_mode()
    def run(self, batch: BatchT) -> Output[OutputT]:
        return Output(_each(self._replay(batch), Tensor.cpu))

    def _capture(self, inputs: BatchT) -> Callable[[], OutputT]:
        return lambda: self._function(inputs)

    def _replay(self, batch: BatchT) -> OutputT:
        """The results of a batch, which the next replay may overwrite."""
        users, length = batch[0].shape
        bucket = next(bucket for bucket in self._buckets if bucket.length == length and bucket.users >= users)
        for static, given in zip(bucket.inputs, batch, strict=True):
            flat, count = static.view(-1), given.numel()
            flat[:count].copy_(given.view(-1), non_blocking=True)
            flat[count:].zero_()  # what an earlier batch left
        return _each(bucket.replay(), lambda tensor: tensor[:users])


class CudaGraphs(FixedShapes[BatchT, OutputT]):
    """One graph per bucket: a batch costs one launch, not one per operation. The function must allow capture."""

    def __init__(
        self, function: Callable[[BatchT], OutputT], device: torch.device, largest: Iterable[BatchT]
    ) -> None:
        cuda: Any = torch.cuda  # its streams and events are not typed
        self._compute, self._out = cuda.Stream(device), cuda.Stream(device)
        # a thread that waits sleeps, and leaves the core to those that collate and word answers
        self._event: Callable[[], Any] = partial(cuda.Event, blocking=True)
        self._copied = self._event()
        self._pool = cuda.graph_pool_handle()
        super().__init__(function, device, largest)

    def stage(self, batch: BatchT) -> BatchT:
        return _each(batch, Tensor.pin_memory)

    @torch.inference_mode()
    def run(self, batch: BatchT) -> Output[OutputT]:
        computed, copied = self._event(), self._event()
        with torch.cuda.stream(self._compute):
            self._compute.wait_event(self._copied)  # the last results have left their place
            result = self._replay(batch)
            computed.record()
        with torch.cuda.stream(self._out):
            self._out.wait_event(computed)
            host = _each(result, _to_pinned)
            copied.record()
        self._copied = copied
        computed.synchronize()
        return Output(host, copied.synchronize)

    def _capture(self, inputs: BatchT) -> Callable[[], OutputT]:
        self._compute.wait_stream(torch.cuda.current_stream(inputs[0].device))
        with torch.cuda.stream(self._compute):
            for _ in range(2):  # what libraries set up at their first call cannot be captured
                self._function(inputs)
        graph = torch.cuda.CUDAGraph()
        # other threads may use the device: a worker goes on serving while it loads another checkpoint
        with torch.cuda.graph(graph, self._pool, self._compute, capture_error_mode="thread_local"):
            result = self._function(inputs)

        def replay() -> OutputT:
            graph.replay()
            return result

        return replay


def _to_pinned(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True).copy_(tensor, non_blocking=True)


def _each(columns: OutputT, change: Callable[[Tensor], Tensor]) -> OutputT:
    return type(columns)(*map(change, columns))
