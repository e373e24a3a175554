"""The bare model: the same requests, offline, in a process of its own on the device's core. No Kafka, Redis or sockets.

Its loop does what a worker must do and nothing else, one step after the other: collate, forward, split. How requests
are batched is tried first, on a sample: in order of arrival or of length, in several sizes.
"""

import asyncio
import gc
import multiprocessing
import os
import time
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from footfall import guard
from schemas.inference import RecommendRequest

SIZES = (8, 16, 32, 64, 128, 256)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[RecommendRequest]).decode
_runner: Any = None  # of the child, loaded once


class BareBatching(Struct, frozen=True):
    """How requests are put into batches."""

    size: int
    by_length: bool


class BareRates(Struct, frozen=True):
    """Requests per second: by the whole loop, and by its forward steps alone."""

    batching: BareBatching
    loop_eps: float
    forward_eps: float


class Bare:
    """`async with Bare(…) as bare:`. The model is loaded in the background."""

    def __init__(self, checkpoint: Path, device: str, cores: AbstractSet[int]) -> None:
        self._pool = ProcessPoolExecutor(
            1, multiprocessing.get_context("spawn"), _load, (str(checkpoint), device, frozenset(cores))
        )

    async def __aenter__(self) -> Self:
        self._pool.submit(int)  # starts the process
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.shutdown()

    async def batchings(self, sample: Sequence[RecommendRequest]) -> list[BareRates]:
        """The rates of all batchings on a sample, the best loop first."""
        batchings = [BareBatching(size, by_length) for size in SIZES for by_length in (False, True)]
        tried = [await self.rates(sample, batching) for batching in batchings]
        return sorted(tried, key=lambda rates: -rates.loop_eps)

    async def rates(self, requests: Sequence[RecommendRequest], batching: BareBatching) -> BareRates:
        """Go through all requests once."""
        return await asyncio.wrap_future(self._pool.submit(_run, _encode(requests), batching))


def _load(checkpoint: str, device: str, cores: frozenset[int]) -> None:
    guard.die_with_parent()
    os.sched_setaffinity(0, cores)
    os.environ["OMP_NUM_THREADS"] = str(len(cores))  # as in the worker, before torch is imported
    from model_core.recommender.runner import RecommenderRunner  # noqa: PLC0415 - torch, in this process only

    global _runner  # noqa: PLW0603
    _runner = RecommenderRunner.load(Path(checkpoint), device)
    for requests in _runner.example_batches():
        _runner.split(requests, _runner.forward(_runner.collate(requests)))
    gc.collect()
    gc.freeze()


def _run(packed: bytes, batching: BareBatching) -> BareRates:
    requests = _decode(packed)
    if batching.by_length:
        requests.sort(key=_runner.tokens)
    forward_s = 0.0
    started_s = time.perf_counter()
    for start in range(0, len(requests), batching.size):
        part = requests[start : start + batching.size]
        batch = _runner.collate(part)
        before_s = time.perf_counter()
        output = _runner.forward(batch)
        forward_s += time.perf_counter() - before_s
        _runner.split(part, output)
    return BareRates(batching, len(requests) / (time.perf_counter() - started_s), len(requests) / forward_s)
