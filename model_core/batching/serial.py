"""The slow loop: batches one after the other, each step only when the one before is over.

What `Pipeline` overlaps, plainly. Tests hold the two against each other, benchmarks say what the overlap is worth.
"""

from collections.abc import Sequence
from typing import Any

from model_core.batching.failures import describe, is_device_fault
from model_core.runner import ModelRunner
from schemas.inference import Failure, Reply, Request


def answer(runner: ModelRunner[Any, Any, Any], requests: Sequence[Request]) -> list[Reply]:
    """A reply to each request, in order. Raises what breaks the device."""
    size = runner.batching.max_batch
    return [reply for at in range(0, len(requests), size) for reply in _batch(runner, requests[at : at + size])]


def _batch(runner: ModelRunner[Any, Any, Any], requests: Sequence[Request]) -> list[Reply]:
    try:
        return list(runner.split(requests, runner.forward(runner.collate(requests))))
    except Exception as error:
        if is_device_fault(error):
            raise
        if len(requests) == 1:
            return [Failure(requests[0].id, describe(error))]
    return [reply for request in requests for reply in _batch(runner, [request])]
