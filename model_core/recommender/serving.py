"""Decides how a model is served on a device when it is loaded: which retriever, which numbers, as graphs or not.

What is approximate is measured against what is exact before the first answer, and said in the log.
"""

import copy
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from model_core.execution import CudaGraphs, Eager, Execution
from model_core.recommender.index import FaissIndex
from model_core.recommender.model import RecommenderModel
from model_core.recommender.retrieval import ApproximateTopK, Counted, ExactTopK, Retriever
from model_core.recommender.scoring import TOP, Batch, Best, Scorer, made_up_queries, overlap
from model_core.recommender.tracing import TracedScorer

Retrieval: TypeAlias = Literal["auto", "exact", "approximate"]
Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]

# Up to here a table is scanned. On a CPU it is time that ends first: 256 MiB are a million items of 64 numbers, and
# scanning those costs some ms a user. On a GPU it is a share of the memory that is left.
CPU_SCAN_BYTES, GPU_SCAN_SHARE = 256 * 2**20, 0.5
RECALL = 0.95  # that an index is set to reach; as far as it can
SAMPLE = 128  # made-up users to measure it on
KEPT = 0.98  # the share of the best items that rounding may not change

log = logging.getLogger("footfall.worker")


@dataclass(frozen=True, slots=True, eq=False)
class Serving:
    """How a model runs. `recall`: the share of the best items that it finds; `notes`: all of it, for people."""

    scorer: Scorer  # what `execution` runs, operation by operation
    execution: Execution[Batch, Best]
    recall: float
    notes: str


@torch.inference_mode()
def prepare(
    model: RecommenderModel,
    device: torch.device,
    *,
    retrieval: Retrieval = "auto",
    precision: Precision = "auto",
    examples: Iterable[Batch],
    buckets: Iterable[Batch],
) -> Serving:
    """Move the model to the device and find out how to serve it there. It keeps the model, and may round its encoder.

    `examples`: batches to compare bfloat16 with float32 on. `buckets`: see `FixedShapes`, for a GPU.
    Raises `index.IndexMissingError`.
    """
    model = model.to(device).eval().requires_grad_(False)
    table, prior = model.item_table(), model.prior()
    exact = retrieval == "exact" or (retrieval == "auto" and _may_scan(table))
    retriever: Retriever = ExactTopK(table[:-1], prior) if exact else _approximate(model, table, prior)
    scorer = Scorer(model, table, prior, retriever)
    if precision == "bfloat16" or (precision == "auto" and device.type == "cuda"):
        scorer = _rounded(scorer, examples)
    execution: Execution[Batch, Best]
    if exact and device.type == "cuda":
        way, execution = "CUDA graphs", CudaGraphs(scorer, device, buckets)
    elif exact and device.type == "cpu":
        way, execution = "traced", Eager(TracedScorer(scorer), device)
    else:
        way, execution = "eager", Eager(scorer, device)
    how = "exact" if exact else f"approximate, recall@{TOP} {retriever.recall:.3f}"
    numbers = str(next(model.encoder.parameters()).dtype).removeprefix("torch.")
    notes = f"{len(prior):,} items ({how}), {numbers}, {way}"
    log.info("recommender: %s", notes)
    return Serving(scorer, execution, retriever.recall, notes)


def _may_scan(table: Tensor) -> bool:
    if table.is_cuda:
        left, _ = torch.cuda.mem_get_info(table.device)
        return table.nbytes <= GPU_SCAN_SHARE * left
    return table.nbytes <= CPU_SCAN_BYTES


def _approximate(model: RecommenderModel, table: Tensor, prior: Tensor) -> ApproximateTopK:
    """An index that finds `RECALL` of the best items of made-up users, if it can."""
    items = table[:-1]
    index = FaissIndex(items, prior)
    query = made_up_queries(model, table, prior, SAMPLE)
    nobody = torch.zeros(0, dtype=torch.int64, device=table.device)
    nothing = Counted(nobody, nobody, prior.new_zeros(0))
    k = min(TOP, len(items))
    best = ExactTopK(items, prior).top(query, nothing, k).item
    while True:
        retriever = ApproximateTopK(items, prior, index, recall=0.0)
        found = retriever.top(query, nothing, k).item
        retriever.recall = overlap(found, best)
        if retriever.recall >= RECALL or index.probes == index.lists:
            log.info("index of %d lists: %d are looked into", index.lists, index.probes)
            return retriever
        index.probes = min(2 * index.probes, index.lists)


def _rounded(scorer: Scorer, examples: Iterable[Batch]) -> Scorer:
    """The scorer in bfloat16, or as it was where that would change what is found.

    On a CPU only the encoder is rounded.
    """
    # without counters, whose items any encoder would find
    batches = [batch.without_counters().to(scorer.table.device) for batch in examples]
    expected = [scorer(batch) for batch in batches]
    model, encoder = scorer.model, copy.deepcopy(scorer.model.encoder)
    for parameter in model.encoder.parameters():  # and no buffer: frequencies of positions bear no rounding
        parameter.data = parameter.data.bfloat16()
    retriever = scorer.retriever
    if scorer.table.is_cuda and isinstance(retriever, ExactTopK):
        retriever = ExactTopK(scorer.table[:-1], scorer.prior, torch.bfloat16)
    rounded = Scorer(model, scorer.table, scorer.prior, retriever)
    pairs = [overlap(rounded(batch).item, best.item) for batch, best in zip(batches, expected, strict=True)]
    kept = sum(pairs) / len(pairs)
    if kept >= KEPT:
        return rounded
    log.warning("bfloat16 would keep %.1f %% of the best items: float32 it is", 100 * kept)
    model.encoder = encoder
    return scorer
