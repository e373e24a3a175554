"""The scorer on a CPU as two calls of recorded operations, between which Python need not be asked.

A batch is some hundred small operations. After each, a thread that runs them from Python needs its lock back, which the
threads that collate and word hold meanwhile: on a core of its own that cost the device a sixth of its rate, and a
lone user took twice as long (docs/performance.md). A recorded function keeps the lock away until its last operation.

`torch.jit` is deprecated, and nothing else does this without a C++ compiler where the worker runs. `Scorer` is the slow
twin, and stays what is run where tracing does not apply: on a GPU, which has graphs, and with an index.
"""

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from model_core.recommender.scoring import Batch, Best, Scorer

TRACED_USERS = 256  # the largest batch of a trace; what is larger runs operation by operation


class TracedScorer(Scorer):
    """Answers as the scorer it records, which must find the best exactly."""

    @torch.inference_mode()
    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer.model, scorer.table, scorer.prior, scorer.retriever)
        self._scorer = scorer
        largest = Batch.largest(TRACED_USERS, 2)  # lengths and numbers of users and counters are not recorded
        self._encode = _traced(scorer.encode, *largest[:4])
        newest = scorer.encode(*largest[:4])
        self._rank = _traced(lambda newest, *batch: scorer.rank(newest, Batch(*batch)), newest, *largest)

    def __call__(self, batch: Batch) -> Best:
        return super().__call__(batch) if len(batch.item) <= TRACED_USERS else self._scorer(batch)

    def encode(self, item: Tensor, event: Tensor, gap: Tensor, last: Tensor) -> Tensor:
        newest: Tensor = self._encode(item, event, gap, last)
        return newest

    def rank(self, newest: Tensor, batch: Batch) -> Best:
        return Best(*self._rank(newest, *batch))


def _traced(function: Callable[..., Any], *examples: Tensor) -> Callable[..., Any]:
    jit: Any = torch.jit  # it is not typed
    with warnings.catch_warnings():
        # it is deprecated, as the module says; and constants of a trace are what is meant here (tests compare shapes)
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", jit.TracerWarning)
        traced: Callable[..., Any] = jit.trace(function, examples, check_trace=False)
    return traced
