"""The executions section of `benchmarks.worker`: one batch's operations, run one by one, as they are served, compiled.

As served: recorded on a CPU (`model_core.recommender.tracing`), as CUDA graphs on a GPU (`…device`). Compiled: the
encoder's layers by `torch.compile`, anew for each shape; on a GPU these are captured as graphs too. Executions take
turns, round after round; the first round compiles, and is told apart. A batch is on the CPU before and after.
"""

import copy
import statistics
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.reports import say
from model_core.execution import CudaGraphs, Eager, Execution
from model_core.recommender.scoring import Batch, Best, Scorer
from model_core.recommender.tracing import TracedScorer

SHAPES = ((64, 1), (32, 16), (64, 64), (128, 16))  # (tokens, users); a compiler needs some seconds for each
BACKEND = "inductor"  # of torch.compile


def executions(scorer: Scorer, batches: Mapping[tuple[int, int], Batch], rounds: int) -> list[dict[str, Any]]:
    """Median ms of a batch by its (tokens, users), for each execution, and the seconds of its first call."""
    ways: dict[str, Execution[Batch, Best]] = {"eager": Eager(scorer, scorer.table.device)}
    ways["served"] = _as_served(scorer, batches)
    compiled, compile_s = _compiled(scorer, batches)
    ways["compiled"] = compiled
    times_ms: dict[tuple[int, int], dict[str, list[float]]] = {shape: {way: [] for way in ways} for shape in batches}
    for number in range(rounds + 1):
        for shape, batch in batches.items():
            for way, execution in ways.items():
                staged = execution.stage(batch)
                started_s = time.perf_counter()
                execution.run(staged).ready()
                if number:
                    times_ms[shape][way].append(1000 * (time.perf_counter() - started_s))
    return [
        {"length": length, "batch": users, "compile_s": compile_s}
        | {f"{way}_ms": statistics.median(measured) for way, measured in by_way.items()}
        for (length, users), by_way in times_ms.items()
    ]


def _as_served(scorer: Scorer, batches: Mapping[tuple[int, int], Batch]) -> Execution[Batch, Best]:
    if scorer.table.is_cuda:
        return CudaGraphs(scorer, scorer.table.device, _largest(batches))
    return Eager(TracedScorer(scorer), scorer.table.device)


def _compiled(scorer: Scorer, batches: Mapping[tuple[int, int], Batch]) -> tuple[Execution[Batch, Best], float]:
    """The execution and the seconds that compiling took."""
    model = copy.deepcopy(scorer.model)
    for layer in model.encoder.layers:
        layer.compile(dynamic=False, backend=BACKEND)
    scorer = Scorer(model, scorer.table, scorer.prior, scorer.retriever)
    started_s = time.perf_counter()
    say("compiling")
    execution: Execution[Batch, Best] = Eager(scorer, scorer.table.device)
    for batch in batches.values():
        execution.run(batch)
    if scorer.table.is_cuda:
        execution = CudaGraphs(scorer, scorer.table.device, _largest(batches))
    return execution, time.perf_counter() - started_s


def _largest(batches: Mapping[tuple[int, int], Batch]) -> list[Batch]:
    return [Batch.largest(users, length) for length, users in batches]


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    title = f"{'length':>6} {'batch':>6} {'eager':>9} {'served':>9} {'compiled':>9} ms"
    lines = [f"{title} (compiling took {rows[0]['compile_s']:.0f} s)"]
    lines += [f"{row['length']:6} {row['batch']:6} {row['eager_ms']:9.2f} {row['served_ms']:9.2f} "
              f"{row['compiled_ms']:9.2f}" for row in rows]
    return "\n".join(lines)
