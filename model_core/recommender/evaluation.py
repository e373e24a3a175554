"""Next-basket evaluation: each basket, in order of time, is ranked from what came strictly before it, then shown.

Every product of the data set can be a target; the model can only name those of its vocabulary and is counted as it is.
The model is asked through its runner with user states as agents keep them: 128 history lines, 512 counters, no clicks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from msgspec import Raw, Struct
from numpy.typing import NDArray

from model_core.recommender.baselines import Baseline
from model_core.recommender.features import DAY_MS, HALF_LIVES_DAYS, MAX_COUNTERS, MAX_TOKENS
from model_core.recommender.purchase_log import Basket, PurchaseLog
from model_core.recommender.runner import RecommenderRunner
from schemas.inference import RecommendRequest, UserState

K = 10
METRICS = ("hit_rate", "ndcg", "recall", "mrr")


class Mean(Struct, frozen=True):
    """A mean over cases with its standard error."""

    mean: float
    se: float


class Evaluation(Struct, frozen=True, kw_only=True):
    """Means over `cases` baskets, per metric (of the best 10) and method.

    `paired`: per metric and baseline, by how much the model is above it, basket by basket.
    """

    cases: int
    metrics: dict[str, dict[str, Mean]]
    paired: dict[str, dict[str, Mean]]


def basket_metrics(ranked: Sequence[str], bought: Sequence[str]) -> tuple[float, float, float, float]:
    """Hit, NDCG, recall and reciprocal rank of the first 10 of a ranking, in the order of METRICS."""
    wanted = set(bought)
    hits = [rank for rank, item in enumerate(ranked[:K], start=1) if item in wanted]
    if not hits:
        return 0.0, 0.0, 0.0, 0.0
    ideal = sum(1 / np.log2(rank + 1) for rank in range(1, min(len(wanted), K) + 1))
    gain = sum(1 / np.log2(rank + 1) for rank in hits)
    return 1.0, float(gain / ideal), len(hits) / len(wanted), 1 / hits[0]


def mean_of(values: NDArray[np.float64]) -> Mean:
    """Mean and standard error of values (cases,)."""
    return Mean(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0)


@dataclass(slots=True)
class _User:
    lines: list[tuple[str, str]]  # newest last: history member, time
    counters: dict[str, list[float]]  # item -> decayed counts and the time of the last purchase


class UserStates:
    """Users' states as agents/state/apply.lua keeps them, from purchases alone: for evaluation without a cache."""

    def __init__(self) -> None:
        self._users: dict[str, _User] = {}

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:
        state = self._users.setdefault(user, _User([], {}))
        state.lines += [(f"purchase:{item}:{time_ms:016x}", str(time_ms)) for item in items]
        del state.lines[:-MAX_TOKENS]
        for item in items:
            stored = state.counters.get(item)
            if stored is None:
                state.counters[item] = [1.0, 1.0, float(time_ms)]
            else:
                for k, half_life in enumerate(HALF_LIVES_DAYS):
                    stored[k] = stored[k] * 0.5 ** ((time_ms - stored[2]) / (half_life * DAY_MS)) + 1
                stored[2] = float(time_ms)
        if len(state.counters) > MAX_COUNTERS:
            slow_ms = HALF_LIVES_DAYS[1] * DAY_MS
            ranked = sorted(
                state.counters,
                key=lambda item: -state.counters[item][1] * 2 ** ((state.counters[item][2] - time_ms) / slow_ms),
            )
            for item in ranked[MAX_COUNTERS:]:
                del state.counters[item]

    def request(self, user: str, now_ms: int, number: int) -> RecommendRequest:
        """What an agent would send for the user at `now_ms`."""
        state = self._users.get(user) or _User([], {})
        packed = UserState(
            history=tuple(part for line in reversed(state.lines) for part in line),
            counter_items=tuple(state.counters),
            counter_values=np.array(list(state.counters.values()), "<f8").tobytes(),
            cart=(),
        )
        return RecommendRequest(id=number, budget_ms=1000, now_ms=now_ms, state=Raw(msgspec.msgpack.encode(packed)))

    def last_ms(self, user: str) -> int | None:
        """The time of the user's newest purchase."""
        state = self._users.get(user)
        return int(state.lines[-1][1]) if state else None


def evaluate(
    runner: RecommenderRunner,
    baselines: dict[str, Baseline],
    log: PurchaseLog,
    *,
    from_ms: int,
    max_cases: int | None = None,
    as_of_last_event: bool = False,
    progress: Callable[[int], None] = lambda _: None,
) -> Evaluation:
    """Score the baskets from `from_ms` on, at most `max_cases`; what was sold before is history.

    `as_of_last_event` asks the model as of the user's previous purchase, as a stored recommendation is, instead of as
    of the basket. `progress` is called with the number of cases done.
    """
    users = UserStates()
    for basket in log.before(from_ms).baskets():
        _show(basket, users, baselines)
    bought: list[tuple[str, ...]] = []
    requests: list[RecommendRequest] = []
    rankings: dict[str, list[list[str]]] = {name: [] for name in ("footfall", *baselines)}

    def ask_model() -> None:
        output = runner.split(requests, runner.forward(runner.collate(requests))) if requests else []
        rankings["footfall"] += [list(result.item_ids) for result in output]
        requests.clear()
        progress(len(bought))

    for basket in log.between(from_ms, int(log.time_ms[-1]) + 1).baskets():
        if max_cases is not None and len(bought) >= max_cases:
            break
        last_ms = users.last_ms(basket.user_id)
        now_ms = last_ms if as_of_last_event and last_ms is not None else basket.time_ms
        requests.append(users.request(basket.user_id, now_ms, len(bought)))
        for name, baseline in baselines.items():
            rankings[name].append(baseline.top(basket.user_id, basket.time_ms, K))
        bought.append(basket.item_ids)
        if len(requests) == runner.batching.max_batch:
            ask_model()
        _show(basket, users, baselines)
    ask_model()
    return _summarise(rankings, bought)


def _show(basket: Basket, users: UserStates, baselines: dict[str, Baseline]) -> None:
    users.observe(basket.user_id, basket.item_ids, basket.time_ms)
    for baseline in baselines.values():
        baseline.observe(basket.user_id, basket.item_ids, basket.time_ms)


def _summarise(rankings: dict[str, list[list[str]]], bought: list[tuple[str, ...]]) -> Evaluation:
    if not bought:
        raise ValueError("no basket to score: nothing was sold at or after the start of the evaluation")
    values = {
        name: np.array([basket_metrics(ranked, items) for ranked, items in zip(lists, bought, strict=True)])
        for name, lists in rankings.items()
    }  # per method (cases, metrics)
    return Evaluation(
        cases=len(bought),
        metrics={
            metric: {name: mean_of(table[:, column]) for name, table in values.items()}
            for column, metric in enumerate(METRICS)
        },
        paired={
            metric: {
                name: mean_of(values["footfall"][:, column] - table[:, column])
                for name, table in values.items()
                if name != "footfall"
            }
            for column, metric in enumerate(METRICS)
        },
    )
