"""Runs a model's example batches, so that nothing is done for the first time when somebody waits."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from model_core.runner import AnyRunner, GeneratingRunner
from schemas.inference import Request, Result


@dataclass(frozen=True, slots=True)
class Warmed:
    """One example batch: its shape, how long the device took, and what was answered (of a continuous model nothing)."""

    length: int
    size: int
    took_s: float
    answers: tuple[tuple[Request, Result], ...]


def warm(model: AnyRunner, clock: Callable[[], float], times: int = 1) -> Iterator[Warmed]:
    """Run each example so often; told is the last time, since the first is that of compilers and caches."""
    for requests in model.example_batches():
        results: Sequence[Result] = ()
        took_s = 0.0
        for _ in range(times):
            batch, started_s = model.collate(requests), clock()
            if isinstance(model, GeneratingRunner):
                took_s = _generate(model, batch, len(requests), clock)
            else:
                output = model.forward(batch)
                took_s = clock() - started_s
                results = model.split(requests, output)
        length = model.batching.padded(max(map(model.tokens, requests)))
        yield Warmed(length, len(requests), took_s, tuple(zip(requests, results, strict=False)))


def _generate(model: GeneratingRunner[Any, Any], batch: Any, left: int, clock: Callable[[], float]) -> float:
    """Seconds of the last step, when all of the batch are finished."""
    started_s = clock()
    left -= len(model.step(batch))
    took_s = clock() - started_s
    while left:
        started_s = clock()
        left -= len(model.step(None))
        took_s = clock() - started_s
    return took_s
