"""The scorer on a CPU as two calls of recorded operations, between which Python need not be asked.

A batch is some hundred small operations. After each, a thread that runs them from Python needs its lock back, which the
threads that collate and word hold meanwhile (docs/performance.md has what that costs). A recorded function does without
it until its last operation.

`torch.jit` is deprecated, and nothing else does this without a C++ compiler where the worker runs. `Scorer` is the slow
twin, and stays what is run where tracing does not apply: on a GPU, which has graphs, and with an index.
"""

import warnings
from collections.abc import Callable
from typing import Any, cast

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
        newest = torch.zeros(TRACED_USERS, scorer.table.shape[1])
        self._encode = _traced(scorer.encode, *largest[:4])
        self._rank = _traced(lambda newest, *batch: scorer.rank(newest, Batch(*batch)), newest, *largest)

    def __call__(self, batch: Batch) -> Best:
        return super().__call__(batch) if len(batch.item) <= TRACED_USERS else self._scorer(batch)

    def encode(self, item: Tensor, event: Tensor, gap: Tensor, last: Tensor) -> Tensor:
        newest: Tensor = self._encode(item, event, gap, last)
        return newest

    def rank(self, newest: Tensor, batch: Batch) -> Best:
        return Best(*self._rank(newest, *batch))


def _traced(function: Callable[..., Any], *examples: Tensor) -> Callable[..., Any]:
    """The recorded function, which owns what it recorded.

    `torch.jit.trace` leaves that with a registry of the process, which never forgets: a worker would keep the item
    table of each model that it has ever loaded.
    """
    jit, recorder = cast("Any", torch.jit), cast("Any", torch._C)  # noqa: SLF001 - neither is typed; torch is pinned
    with warnings.catch_warnings():
        # constants of a trace are what is meant here; tests compare shapes
        warnings.simplefilter("ignore", jit.TracerWarning)
        graph, _ = recorder._create_graph_by_tracing(function, examples, _unnamed, True, False)  # noqa: SLF001
    traced: Callable[..., Any] = recorder._create_function_from_graph("traced", graph)  # noqa: SLF001
    return traced


def _unnamed(_: Tensor) -> str:
    return ""
