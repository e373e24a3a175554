"""Hit rate @10 on baskets that were scored before they were sent, the model beside two baselines, on the same cases.

A hit: at least one of the first ten available items is in the basket. Standard errors are those of the mean over cases
(a customer with several trips counts several times; their trips are not independent, which this ignores).
"""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from msgspec import Struct

SHOWN = 10
Method = Literal["model", "popularity", "personal_frequency"]
METHODS: tuple[Method, ...] = ("model", "popularity", "personal_frequency")


class Difference(Struct, frozen=True):
    """Mean of (model - baseline) over the cases, and its standard error."""

    mean: float
    se: float


class HitRates(Struct, frozen=True):
    """Per method the share of hits and its standard error; per baseline the paired difference. Empty without cases."""

    cases: int
    rate: dict[Method, float]
    se: dict[Method, float]
    model_minus: dict[Method, Difference]


def first_available(ranked: Sequence[str], unavailable: Collection[str], shown: int = SHOWN) -> tuple[str, ...]:
    return tuple([item for item in ranked if item not in unavailable][:shown])


class Scores:
    """Sums over the cases so far: O(1) per case."""

    def __init__(self) -> None:
        self.cases = 0
        self._hits = dict.fromkeys(METHODS, 0)
        self._model_differs = dict.fromkeys(METHODS, 0)  # cases where exactly one of the two hits

    def add(self, basket: Collection[str], shown: Mapping[Method, Sequence[str]]) -> bool:
        """Score one basket against what each method would have shown; returns whether the model hit."""
        hit = {method: any(item in basket for item in shown[method]) for method in METHODS}
        self.cases += 1
        for method in METHODS:
            self._hits[method] += hit[method]
            self._model_differs[method] += hit["model"] != hit[method]
        return hit["model"]

    def rates(self) -> HitRates:
        n = self.cases
        if not n:
            return HitRates(0, {}, {}, {})
        rate: dict[Method, float] = {method: self._hits[method] / n for method in METHODS}
        differences: dict[Method, Difference] = {}
        for method in METHODS[1:]:
            mean = rate["model"] - rate[method]
            # a difference is -1, 0 or 1: its square is 1 exactly where the two differ
            differences[method] = Difference(mean, math.sqrt(max(0.0, self._model_differs[method] / n - mean**2) / n))
        return HitRates(n, rate, {m: math.sqrt(rate[m] * (1 - rate[m]) / n) for m in METHODS}, differences)
