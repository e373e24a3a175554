"""Execution: fixed shapes, and graphs where there is a GPU, against each operation when Python comes to it."""

from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model_core.execution import CudaGraphs, Eager, FixedShapes
from model_core.recommender.runner import GRAPH_USERS, LENGTHS, RecommenderRunner
from model_core.recommender.scoring import Batch, overlap
from model_core.recommender.serving import prepare
from schemas.inference import RecommendRequest

CPU = torch.device("cpu")
SIZES = (1, 3, 16)
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


class Sums(NamedTuple):
    rows: Tensor  # (users,)
    pairs: Tensor  # (users, 2)


class Numbers(NamedTuple):
    item: Tensor  # (users, length)
    user: Tensor  # (R,) of any number
    value: Tensor  # (R,)


def sums(batch: Numbers) -> Sums:
    """Shows whatever a buffer holds beyond its batch: zeros add nothing."""
    rows = batch.item.sum(1).double()
    added = torch.zeros_like(rows).index_add_(0, batch.user, batch.value)
    return Sums(rows + added, torch.stack([rows, added], 1))


def largest(users: int, length: int) -> Numbers:
    ragged = 4 * users
    return Numbers(
        torch.zeros(users, length, dtype=torch.int64), torch.zeros(ragged, dtype=torch.int64),
        torch.zeros(ragged, dtype=torch.float64),
    )  # fmt: skip


@st.composite
def batches(draw: st.DrawFn) -> Numbers:
    users, length = draw(st.integers(1, 8)), draw(st.sampled_from((2, 5)))
    chance = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    ragged = draw(st.integers(0, 4 * users))
    return Numbers(
        torch.randint(1, 100, (users, length), generator=chance),
        torch.randint(users, (ragged,), generator=chance),
        torch.rand(ragged, generator=chance, dtype=torch.float64),
    )


@given(st.lists(batches(), min_size=1, max_size=8))
@settings(deadline=None)
def test_nothing_of_a_batch_reaches_the_results_of_another(sequence: list[Numbers]) -> None:
    fixed = FixedShapes(sums, CPU, [largest(users, length) for users in (1, 4, 8) for length in (5, 2)])
    eager = Eager(sums, CPU)
    for batch in sequence:
        expected = eager.run(eager.stage(batch)).ready()
        found = fixed.run(fixed.stage(batch)).ready()
        assert found.rows.shape == (len(batch.item),)
        for some, other in zip(found, expected, strict=True):
            torch.testing.assert_close(some, other)


@pytest.mark.parametrize(("users", "bucket"), [(1, 1), (2, 4), (4, 4), (5, 8)])
def test_batch_runs_in_the_smallest_bucket_that_holds_it(users: int, bucket: int) -> None:
    seen: list[tuple[int, ...]] = []

    def watched(batch: Numbers) -> Sums:
        seen.append(tuple(batch.item.shape))
        return sums(batch)

    fixed = FixedShapes(watched, CPU, [largest(n, length) for n in (4, 1, 8) for length in (2, 5)])
    fixed.run(Numbers(*(column[: users * shape] for column, shape in zip(largest(8, 5), (1, 4, 4), strict=True))))
    assert seen == [(bucket, 5)]


def test_recommender_in_fixed_shapes_answers_as_it_does_eagerly(
    runner: RecommenderRunner, requests: list[RecommendRequest]
) -> None:
    buckets = [Batch.largest(users, length) for users in (1, 4, 16) for length in LENGTHS]
    execution = runner._execution
    assert isinstance(execution, Eager)
    fixed = FixedShapes(execution._function, CPU, buckets)
    for chosen in (requests[:1], requests[:3], requests[:16], requests[2:4]):
        batch = runner.collate(chosen)
        found, expected = fixed.run(batch).ready(), runner.forward(batch).ready()
        torch.testing.assert_close(found.score, expected.score, rtol=0, atol=2e-6)
        assert (found.item == expected.item).float().mean() > 0.98  # rounding may swap neighbours
        assert (found.kind == expected.kind).float().mean() > 0.98


@pytest.fixture
def requests(runner: RecommenderRunner) -> list[RecommendRequest]:
    """Users with histories of every length, one after the other."""
    full = [list(batch) for batch in runner.example_batches() if len(batch) > 1]
    return [user for users in zip(*full, strict=False) for user in users]


@needs_gpu
def test_graphs_answer_as_each_operation_does(runner: RecommenderRunner, requests: list[RecommendRequest]) -> None:
    gpu = torch.device("cuda:0")
    on_cpu = [runner.forward(runner.collate(requests[:n])).ready() for n in SIZES]
    prepared = prepare(
        runner._model, gpu, precision="float32", examples=(),
        buckets=[Batch.largest(users, length) for length in LENGTHS for users in GRAPH_USERS],
    )  # fmt: skip
    graphs = prepared.execution
    assert isinstance(graphs, CudaGraphs)
    eager = Eager(graphs._function, gpu)
    batches_ = [runner._collated(requests[:n]) for n in SIZES]
    waiting = [graphs.run(graphs.stage(batch)) for batch in batches_]  # all run before any is read
    for batch, output, reference in zip(batches_, waiting, on_cpu, strict=True):
        expected, found = eager.run(batch).ready(), output.ready()
        assert found.item.is_pinned()
        torch.testing.assert_close(found.score, expected.score, rtol=0, atol=1e-6)
        torch.testing.assert_close(found.score, reference.score, rtol=0, atol=1e-4)
        assert (found.item == expected.item).float().mean() > 0.98


@needs_gpu
def test_rounded_graphs_keep_the_best_items(
    folder: Path, runner: RecommenderRunner, requests: list[RecommendRequest]
) -> None:
    expected = runner.forward(runner.collate(requests[:16])).ready()
    rounded = RecommenderRunner.load(folder, "cuda:0")
    found = rounded.forward(rounded.collate(requests[:16])).ready()
    assert overlap(found.item, expected.item) > 0.95
