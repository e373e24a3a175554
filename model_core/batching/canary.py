"""The trial of a checkpoint before its first answer: it must answer much as the model that it replaces did.

Pure. It is asked what customers asked of the old model a moment ago. Each answer must belong to its request, hold
finite scores and no item twice. And of the items that the two models show, enough must be the same.

That is a smoke detector, not an evaluation: whether a new model is *better* is found out before, on held-out baskets
(`footfall evaluate`). Items that a customer keeps buying are left out of the comparison, as far as there are others:
a broken model still counts what was bought before. On what is left, two trainings of one model agree by two thirds and
more (0.66 where one had 10 steps from another seed, and the other 1,200), models whose weights or items do not belong
together by a fifth at most (0.02 to 0.19; tests/recommender/test_hot_reload.py). The floor lies between. A change
that is meant to turn everything over is let through by lowering it (`footfall worker reload --min-overlap 0`).

The comparison is with what was really served, and not with expectations stored in the checkpoint: those come out of the
same hands as the weights, and that the bytes arrived unharmed their checksum has told already.
"""

import math
from collections.abc import Sequence
from typing import TypeAlias

from model_core.runner import CheckpointError
from schemas.inference import RecommendResult, Request, Result
from schemas.results import RecommendedItem

Answers: TypeAlias = tuple[tuple[Request, Result], ...]

REQUESTS = 32  # tried: enough for a mean that chance moves by some hundredths, few enough to cost one batch
SHOWN = 20  # items that an agent keeps of an answer


class CanaryFailed(CheckpointError):  # noqa: N818 - what it found out
    """The checkpoint can be read, but what it answers cannot be right; the message says what."""


def judge(before: Answers, results: Sequence[Result], min_overlap: float) -> float:
    """The share of the best items of earlier answers that are among the best now, in the mean over the requests.

    Raises `CanaryFailed` where an answer is not well-formed, or the share is below the floor.
    """
    if [result.id for result in results] != [request.id for request, _ in before]:
        raise CanaryFailed("it does not answer each request with a result of its own")
    pairs = [
        (old, _read(new)) for (_, old), new in zip(before, results, strict=True)
        if isinstance(old, RecommendResult) and isinstance(new, RecommendResult)
    ]
    overlaps = [_overlap(old.candidates, new) for old, new in pairs if old.ids]
    overlap = sum(overlaps) / len(overlaps) if overlaps else 1.0
    if overlap < min_overlap:
        raise CanaryFailed(
            f"it shares {overlap:.2f} of the items that the model in service shows for {len(overlaps)} recent requests"
            f", below {min_overlap:g}: is it of this catalogue? Where so much is meant to change, lower --min-overlap"
        )
    return overlap


def _read(result: RecommendResult) -> list[RecommendedItem]:
    try:
        candidates = result.candidates
    except ValueError as error:  # JSON has no word for what is not finite
        raise CanaryFailed(f"an item of its answers cannot be read, as when a score is not a number: {error}") from None
    if not candidates:
        raise CanaryFailed("it answers without any item")
    if not all(math.isfinite(candidate.score) for candidate in candidates):
        raise CanaryFailed("a score of its answers is not finite")
    named = result.item_ids
    if [candidate.item_id for candidate in candidates] != named or len(set(named)) < len(named):
        raise CanaryFailed("the items of an answer are not those that it names, or one is there twice")
    return candidates


def _overlap(old: Sequence[RecommendedItem], new: Sequence[RecommendedItem]) -> float:
    repeats = {item.item_id for item in (*old, *new) if item.reason.kind == "repeat"}
    if repeats.issuperset(item.item_id for item in old):
        repeats = set()
    best_old, best_new = _best(old, repeats), _best(new, repeats)
    return len(best_old & best_new) / len(best_old)


def _best(items: Sequence[RecommendedItem], without: set[str]) -> set[str]:
    return set([item.item_id for item in items if item.item_id not in without][:SHOWN])
