"""The runner: fast path against a slow reading of the formula, batches against single requests, bad input."""

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from msgspec import Raw

from footfall.datasets import Dataset
from model_core.recommender.evaluation import UserStates
from model_core.recommender.features import DAY_MS, EVENT_CODES, HALF_LIVES_DAYS, TEXT_BUCKETS
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.scoring import TOP
from model_core.runner import InvalidInput, ModelRunner
from schemas.inference import RecommendRequest, RecommendResult, UserState
from schemas.results import Reason

NOW_MS = 1_720_000_000_000


def ask(runner: RecommenderRunner, requests: list[RecommendRequest]) -> list[RecommendResult]:
    return runner.split(requests, runner.forward(runner.collate(requests)))


def request(
    history: list[tuple[str, int]] | None = None,
    counters: dict[str, tuple[float, float, float]] | None = None,
    number: int = 1,
    now_ms: int = NOW_MS,
) -> RecommendRequest:
    """`history`: newest first, `<type>:<item>` and time."""
    counters = counters or {}
    state = UserState(
        history=tuple(x for n, (m, t) in enumerate(history or []) for x in (f"{m}:{n:016x}", str(t))),
        counter_items=tuple(counters),
        counter_values=np.array(list(counters.values()), "<f8").tobytes(),
        cart=(),
    )
    return RecommendRequest(id=number, budget_ms=100, now_ms=now_ms, state=Raw(msgspec.msgpack.encode(state)))


@pytest.fixture
def shoppers(shop: Dataset) -> list[RecommendRequest]:
    """Requests of real histories of all lengths, among them nobody's."""
    states = UserStates()
    for basket in shop.log.before(shop.trained_until_ms).baskets():
        states.observe(basket.user_id, basket.item_ids, basket.time_ms)
    users = [*shop.log.user_ids[:14], "nobody"]
    brief = [
        request([(f"view:{n}", NOW_MS - n * 1000) for n in range(length)], number=100 + length) for length in (1, 2, 17)
    ]
    return [states.request(user, shop.trained_until_ms, number) for number, user in enumerate(users)] + brief


def test_runner_is_a_model_runner(runner: RecommenderRunner) -> None:
    served: ModelRunner[Any, Any, Any] = runner
    assert served.name == "recommender"
    assert len(served.version) == 12
    assert len(served.popular) == 100
    for requests in served.example_batches():
        assert len(ask(runner, list(requests))) == len(requests) <= served.batching.max_batch


def test_batch_answers_as_each_request_alone(runner: RecommenderRunner, shoppers: list[RecommendRequest]) -> None:
    together = ask(runner, shoppers)
    for single, result in zip(shoppers, together, strict=True):
        assert result.id == single.id
        (alone,) = ask(runner, [single])
        expected = {candidate.item_id: candidate.score for candidate in alone.candidates}
        found = {candidate.item_id: candidate.score for candidate in result.candidates}
        # rounding may swap items at the tail; what is in both scores alike
        assert len(found.keys() & expected.keys()) >= TOP - 1
        for item in found.keys() & expected.keys():
            assert math.isclose(found[item], expected[item], abs_tol=2e-6)


def test_fast_path_agrees_with_a_slow_reading_of_the_formula(
    runner: RecommenderRunner, shoppers: list[RecommendRequest]
) -> None:
    for asked, result in zip(shoppers, ask(runner, shoppers), strict=True):
        expected = slow_scores(runner, asked)
        for candidate in result.candidates:
            assert math.isclose(candidate.score, expected[candidate.item_id], abs_tol=5e-6)
        best = max(expected.values())
        assert math.isclose(result.candidates[0].score, best, abs_tol=5e-6)


@torch.inference_mode()
def slow_scores(runner: RecommenderRunner, asked: RecommendRequest) -> dict[str, float]:
    """Probability of every item for one user, without batching, padding or vectors over items."""
    model, ids = runner._model, runner.description.item_ids
    state = msgspec.msgpack.decode(asked.state, type=UserState)
    lines = []
    for member, time in zip(state.history[::2], state.history[1::2], strict=True):
        kind, rest = member.split(":", 1)
        item = rest.rsplit(":", 1)[0]
        if item in ids:
            lines.append((ids.index(item), EVENT_CODES[kind], int(time)))
    lines.reverse()

    def bucket(gap_ms: int) -> int:
        return min(20, int(math.log2(max(gap_ms, 0) / 60_000 + 1)))

    words = [row[row != TEXT_BUCKETS] for row in model.words]
    table = [model.item.weight[n] + model.text.weight[words[n]].mean(0) for n in range(len(ids))]
    tokens, age = [], 0
    for n, (code, event, time_ms) in enumerate(lines):
        gap = bucket(time_ms - lines[n - 1][2]) if n else 0
        tokens.append(table[code] + model.event.weight[event] + model.gap.weight[gap])
        age = bucket(asked.now_ms - time_ms)
    if not tokens:
        tokens = [model.start + model.event.weight[EVENT_CODES["purchase"]] + model.gap.weight[0]]
    hidden = model.encoder(inputs_embeds=torch.stack(tokens)[None]).last_hidden_state[0, -1]
    query = hidden + model.query_out(torch.nn.functional.silu(model.query_in(hidden) + model.now.weight[age]))
    counts = np.frombuffer(state.counter_values, "<f8").reshape(-1, 3)
    logits = {}
    for n, item_id in enumerate(ids):
        logit = float(query @ table[n] + model.bias[n] + model.trend * model.log_popularity[n])
        if item_id in state.counter_items:
            *values, at_ms = counts[state.counter_items.index(item_id)]
            for k, half_life in enumerate(HALF_LIVES_DAYS):
                gate = torch.nn.functional.softplus(model.gate(query)[k] + model.habit[n, k])
                decayed = values[k] * 0.5 ** ((asked.now_ms - at_ms) / DAY_MS / half_life)
                logit += float(gate) * math.log1p(decayed * math.exp(model.log_tau[k]))
        logits[item_id] = logit
    total = math.fsum(math.exp(logit) for logit in logits.values())
    return {item_id: math.exp(logit) / total for item_id, logit in logits.items()}


def test_padding_does_not_reach_an_answer(runner: RecommenderRunner, shoppers: list[RecommendRequest]) -> None:
    batch = runner.collate(shoppers)
    poisoned = runner.collate(shoppers)
    beyond = torch.arange(batch.item.shape[1])[None] > batch.last[:, None]
    assert beyond.any()
    poisoned.item[beyond] = 5
    poisoned.event[beyond] = EVENT_CODES["cart"]
    poisoned.gap[beyond] = 9
    torch.testing.assert_close(runner.forward(batch).ready().score, runner.forward(poisoned).ready().score)


def test_user_without_known_history_gets_popular_items(runner: RecommenderRunner) -> None:
    for history in ([], [("purchase:not in the catalogue", NOW_MS)]):
        (result,) = ask(runner, [request(history)])
        assert {candidate.reason.kind for candidate in result.candidates} == {"popular"}
        assert all(candidate.reason.evidence == () for candidate in result.candidates)
        shown = {candidate.item_id for candidate in result.candidates[:20]}
        assert len(shown & set(runner.popular)) >= 12


def test_items_a_user_keeps_buying_come_first_and_say_so(runner: RecommenderRunner) -> None:
    often = runner.popular[-1]
    history = [(f"purchase:{often}", NOW_MS - n * 7 * DAY_MS) for n in range(1, 9)]
    (result,) = ask(runner, [request(history, {often: (6.0, 8.0, float(NOW_MS))})])
    first = result.candidates[0]
    assert (first.item_id, first.reason) == (often, Reason("repeat", (often,)))


def test_related_items_name_items_of_the_history_and_never_themselves(
    runner: RecommenderRunner, shoppers: list[RecommendRequest]
) -> None:
    kinds = set()
    for asked, result in zip(shoppers, ask(runner, shoppers), strict=True):
        history = {m.partition(":")[2][:-17] for m in msgspec.msgpack.decode(asked.state, type=UserState).history[::2]}
        for candidate in result.candidates:
            kinds.add(candidate.reason.kind)
            if candidate.reason.kind == "related":
                assert 1 <= len(candidate.reason.evidence) <= 2
                assert set(candidate.reason.evidence) <= history - {candidate.item_id}
    assert "related" in kinds


def test_only_the_newest_128_lines_count(runner: RecommenderRunner) -> None:
    lines = [(f"purchase:{n % 50}", NOW_MS - n * 1000) for n in range(160)]
    assert ask(runner, [request(lines)]) == ask(runner, [request(lines[:128])])
    assert ask(runner, [request(lines[:128])]) != ask(runner, [request(lines[:40])])


def test_item_ids_may_hold_colons(folder: Path) -> None:
    from model_core.recommender import checkpoint

    loaded = checkpoint.load(folder)
    ids = tuple(f"sku:{item}" for item in loaded.description.item_ids)
    renamed = RecommenderRunner(
        checkpoint.Checkpoint(loaded.model, msgspec.structs.replace(loaded.description, item_ids=ids))
    )
    batch = renamed.collate([request([(f"view:{ids[3]}", NOW_MS)])])
    assert batch.item[0, 0] == 3


def test_time_of_asking_before_the_newest_event_is_taken_as_no_gap(runner: RecommenderRunner) -> None:
    history, counters = [("purchase:1", NOW_MS)], {"1": (1.0, 1.0, float(NOW_MS))}
    early = request(history, counters, now_ms=NOW_MS - DAY_MS)
    assert ask(runner, [early]) == ask(runner, [request(history, counters)])


def test_absurd_but_finite_counters_are_answered(runner: RecommenderRunner) -> None:
    counters = {"1": (1e300, -1e300, 1e300), "2": (-5.0, 1e300, -1e300)}
    (result,) = ask(runner, [request([("purchase:1", NOW_MS)], counters)])
    assert all(math.isfinite(candidate.score) for candidate in result.candidates)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (b"\xc1", "cannot be read"),
        (msgspec.msgpack.encode((("purchase:1:0", "nan"), (), b"", ())), "history time"),
        (msgspec.msgpack.encode((("purchase:1:0", "1e30"), (), b"", ())), "history time"),
        (msgspec.msgpack.encode(((), ("1",), b"12345678", ())), "1 counters come with 8 bytes"),
        (msgspec.msgpack.encode(((), ("1",), np.array([1, math.nan, 0], "<f8").tobytes(), ())), "finite"),
        (msgspec.msgpack.encode((("purchase:1:0000000000000000", "soon"), (), b"", ())), "history time"),
        (msgspec.msgpack.encode((("purchase:1:0000000000000000",), (), b"", ())), "without a time"),
    ],
)
def test_state_that_cannot_be_read_is_invalid_input(runner: RecommenderRunner, state: bytes, message: str) -> None:
    broken = RecommendRequest(id=1, budget_ms=1, now_ms=NOW_MS, state=Raw(state))
    with pytest.raises(InvalidInput, match=message):
        runner.collate([broken])
