"""From the best items of a batch to results: each item as the line of JSON that readers get.

The lines are written without the structs that `schemas.results` has for them, at a third of the CPU; `reference` builds
those, and a test says that they agree. Knows item ids; nothing of models and devices.
"""

import math
import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec

from model_core.recommender.scoring import KINDS, POPULAR, REPEAT, Best
from model_core.runner import CheckpointError, InvalidInput
from schemas.inference import SEPARATOR, RecommendResult
from schemas.results import Reason, RecommendedItem

Row: TypeAlias = tuple[Sequence[int], Sequence[float], Sequence[int], Sequence[Sequence[int]]]

_NOT_AS_IT_STANDS = re.compile(r'["\\\x00-\x1f]')


class Wording:
    """Of the items with these ids, by code."""

    def __init__(self, item_ids: Sequence[str]) -> None:
        """Raises CheckpointError where an id holds what stands between ids."""
        self._item_ids = item_ids
        # as they stand between quotes: mostly the ids themselves, which then take no memory twice
        self._quotable = item_ids
        if any(map(_NOT_AS_IT_STANDS.search, item_ids)):
            if any(SEPARATOR in item_id for item_id in item_ids):
                raise CheckpointError("an item id holds the control character U+001F; train without that item")
            self._quotable = [msgspec.json.encode(item_id)[1:-1].decode() for item_id in item_ids]

    def results(self, request_ids: Iterable[int], best: Best) -> list[RecommendResult]:
        """One result per request, in their order. Raises InvalidInput where a score is not finite."""
        item_ids = self._item_ids
        return [
            RecommendResult(request_id, SEPARATOR.join([item_ids[code] for code in row[0]]), self._lines(*row))
            for request_id, row in zip(request_ids, _rows(best), strict=True)
        ]

    def _lines(
        self, items: Sequence[int], scores: Sequence[float], kinds: Sequence[int], evidence: Sequence[Sequence[int]]
    ) -> bytes:
        quotable = self._quotable
        numbers = msgspec.json.encode(scores).decode()[1:-1].split(",")  # at a fifth of what `str` takes
        lines: list[str] = []
        for code, score, kind, (first, second) in zip(items, numbers, kinds, evidence, strict=True):
            item_id = quotable[code]
            if kind == POPULAR:
                reason = '"popular","evidence":['
            elif kind == REPEAT:
                reason = f'"repeat","evidence":["{item_id}"'
            elif second < 0:
                reason = f'"related","evidence":["{quotable[first]}"'
            else:
                reason = f'"related","evidence":["{quotable[first]}","{quotable[second]}"'
            lines.append(f'{{"item_id":"{item_id}","score":{score},"reason":{{"kind":{reason}]}}}}')
        return "\n".join(lines).encode()

    def reference(self, request_ids: Iterable[int], best: Best) -> list[RecommendResult]:
        """The same as `results`, the slow way."""
        return [
            RecommendResult.of(request_id, [self._candidate(*of) for of in zip(*row, strict=True)])
            for request_id, row in zip(request_ids, _rows(best), strict=True)
        ]

    def _candidate(self, code: int, score: float, kind: int, evidence: Sequence[int]) -> RecommendedItem:
        ids = self._item_ids
        of = (code,) if kind == REPEAT else evidence
        return RecommendedItem(ids[code], score, Reason(KINDS[kind], tuple([ids[n] for n in of if n >= 0])))


def _rows(best: Best) -> Iterable[Row]:
    """Item codes, scores, kinds and evidence of each user."""
    scores = best.score.double().numpy().round(6)
    if not math.isfinite(scores.sum()):
        raise InvalidInput("a score that the model gives here is not a number")
    return zip(best.item.tolist(), scores.tolist(), best.kind.tolist(), best.evidence.tolist(), strict=True)
