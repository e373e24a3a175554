"""The scorer on a CPU as one call of recorded operations, between which Python need not be asked.

A batch is some hundred small operations. After each, a thread that runs them from Python needs its lock back, which the
threads that collate and word hold meanwhile (docs/performance.md has what that costs). A recorded function does without
it until its last operation.

`torch.jit` is deprecated, and nothing else does this without a C++ compiler where the worker runs. `Scorer` is the slow
twin, and stays what is run where tracing does not apply: on a GPU, which has graphs, and with an index.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from model_core.recommender.features import MAX_TOKENS
from model_core.recommender.scoring import Batch, Best, Scorer

TRACED_USERS = 64  # the largest batch of a trace; what is larger runs operation by operation


class TracedScorer(Scorer):
    """Answers as the scorer it records, which must find the best exactly."""

    @torch.inference_mode()
    def __init__(self, scorer: Scorer) -> None:
        super().__init__(scorer.model, scorer.table, scorer.prior, scorer.retriever)
        self._scorer = scorer
        parts = self.parts(Batch.largest(TRACED_USERS, MAX_TOKENS))
        self._answers = [_traced(partial(_answer, scorer, number + 1)) for number in range(parts)]

    def __call__(self, batch: Batch) -> Best:
        if len(batch.item) > TRACED_USERS:
            return self._scorer(batch)
        return Best(*self._answers[self.parts(batch) - 1](*batch))


def _answer(scorer: Scorer, parts: int, *batch: Tensor) -> Best:
    return scorer.answer(Batch(*batch), parts)


def _traced(function: Callable[..., Best]) -> Callable[..., tuple[Tensor, ...]]:
    """The recorded function of a batch's tensors, which owns what it recorded.

    Lengths and numbers of users and counters are not recorded.

    `torch.jit.trace` leaves that with a registry of the process, which never forgets: a worker would keep the item
    table of each model that it has ever loaded.
    """
    jit, recorder = cast("Any", torch.jit), cast("Any", torch._C)  # noqa: SLF001 - neither is typed; torch is pinned
    example = Batch.largest(TRACED_USERS, 2)
    with warnings.catch_warnings():
        # constants of a trace are what is meant here; tests compare shapes
        warnings.simplefilter("ignore", jit.TracerWarning)
        graph, _ = recorder._create_graph_by_tracing(function, tuple(example), _unnamed, True, False)  # noqa: SLF001
    traced: Callable[..., tuple[Tensor, ...]] = recorder._create_function_from_graph("traced", graph)  # noqa: SLF001
    return traced


def _unnamed(_: Tensor) -> str:
    return ""
