"""A trained recommender is replaced by another one while requests stream, and by a broken one never."""

import copy
import math
import shutil
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import torch
from torch import Tensor

from footfall.datasets import Dataset
from model_core.batching.canary import judge
from model_core.batching.serial import answer
from model_core.control import ReloadFailed, query_stats, reload_model
from model_core.recommender import checkpoint
from model_core.recommender.checkpoint import Checkpoint
from model_core.recommender.evaluation import UserStates
from model_core.recommender.runner import RecommenderRunner
from model_core.recommender.scoring import TOP
from model_core.recommender.training import TrainingOptions, train
from model_core.trained_folder import CONFIG, WEIGHTS
from schemas.control import MIN_OVERLAP, Reload, Reloaded
from schemas.inference import Hello, Ready, RecommendRequest, RecommendResult, Replies, Submit, Updated
from tests.waiting import wait_until
from tests.worker.serving import BOUND_S, Bench, serving

USERS = 32


@pytest.fixture(scope="session")
def retrained(
    shop: Dataset, small: TrainingOptions, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> Path:
    """Another training of the same model, from another seed and shorter."""
    options = msgspec.structs.replace(small, seed=4, steps=50)
    folder = tmp_path_factory.mktemp("checkpoints") / "retrained"
    checkpoint.save(train(shop.log, shop.catalog, until_ms=shop.trained_until_ms, options=options), folder)
    return folder


@pytest.fixture
def shoppers(shop: Dataset) -> list[RecommendRequest]:
    states = UserStates()
    for basket in shop.log.before(shop.trained_until_ms).baskets():
        states.observe(basket.user_id, basket.item_ids, basket.time_ms)
    users = sorted(set(shop.log.user_ids))[:USERS]
    return [states.request(user, shop.trained_until_ms, number) for number, user in enumerate(users)]


def ask(runner: RecommenderRunner, requests: list[RecommendRequest]) -> list[RecommendResult]:
    return runner.split(requests, runner.forward(runner.collate(requests)))


def mixed_up_items(good: Checkpoint) -> Checkpoint:
    ids = good.description.item_ids
    order = torch.randperm(len(ids), generator=torch.Generator().manual_seed(1)).tolist()
    return Checkpoint(good.model, msgspec.structs.replace(good.description, item_ids=tuple(ids[n] for n in order)))


def noise(good: Checkpoint) -> Checkpoint:
    chance = torch.Generator().manual_seed(1)
    return _with(good, lambda weights: torch.randn(weights.shape, generator=chance))


def shuffled_weights(good: Checkpoint) -> Checkpoint:
    chance = torch.Generator().manual_seed(1)
    return _with(good, lambda weights: weights[torch.randperm(len(weights), generator=chance)])


def _with(good: Checkpoint, change: Callable[[Tensor], Tensor]) -> Checkpoint:
    model = copy.deepcopy(good.model)
    for weights in model.parameters():
        if weights.ndim:
            weights.data = change(weights.data)
    return Checkpoint(model, good.description)


def test_the_floor_lies_between_another_training_and_a_broken_model(
    folder: Path, retrained: Path, shoppers: list[RecommendRequest]
) -> None:
    good = checkpoint.load(folder)
    before = tuple(zip(shoppers, ask(RecommenderRunner(good), shoppers), strict=True))
    other = RecommenderRunner.load(retrained)
    assert judge(before, ask(other, shoppers), 0.0) > 1.5 * MIN_OVERLAP
    for breaking in (mixed_up_items, noise, shuffled_weights):
        broken = RecommenderRunner(breaking(good))
        assert judge(before, ask(broken, shoppers), 0.0) < 0.8 * MIN_OVERLAP, breaking.__name__


class Stream:
    """Asks about the same shoppers again and again, a few at a time, and keeps who answered what."""

    def __init__(self, bench: Bench, shoppers: list[RecommendRequest]) -> None:
        self.bench, self.shoppers = bench, shoppers
        self.answers: list[tuple[str, RecommendResult]] = []  # by which version, in the order of their arrival
        self.told: list[str] = []
        self.asked = self.open = 0
        bench.send("a", Hello("a"))
        ready = bench.receive("a")
        assert isinstance(ready, Ready)
        self.ready = ready

    def go_on(self, at_once: int = 6) -> None:
        while self.open < at_once:
            state = self.shoppers[self.asked % USERS]
            request = RecommendRequest(self.asked, 60_000, state.now_ms, state.state)
            self.bench.send("a", Submit(self.ready.epoch, "recommender", (request,)))
            self.asked += 1
            self.open += 1
        message = self.bench.receive("a")
        if isinstance(message, Updated):
            self.told.append(message.model.version)
            return
        assert isinstance(message, Replies)
        for reply in message.replies:
            assert isinstance(reply, RecommendResult)
            self.answers.append((message.version, reply))
            self.open -= 1

    def finish(self) -> None:
        while self.open:
            self.go_on(at_once=0)


def test_a_stream_of_requests_does_not_notice_a_reload_but_by_its_answers(
    folder: Path, retrained: Path, shoppers: list[RecommendRequest]
) -> None:
    old, new = RecommenderRunner.load(folder), RecommenderRunner.load(retrained)
    outcome: list[Reloaded] = []
    with serving(lambda: [RecommenderRunner.load(folder)]) as bench:
        stream = Stream(bench, shoppers)
        while len(stream.answers) < USERS:
            stream.go_on()
        in_service = bench.server._pipeline._models["recommender"]
        assert isinstance(in_service, RecommenderRunner)
        memory = weakref.ref(in_service._model.item.weight)
        del in_service
        asked = Reload(model="recommender", path=str(retrained), sha256=new.description.weights_sha256)
        asking = threading.Thread(target=lambda: outcome.append(reload_model(bench.control, asked, BOUND_S)))
        asking.start()
        while not stream.told:
            stream.go_on()
        switched_at = len(stream.answers)
        while len(stream.answers) < switched_at + 2 * USERS:
            stream.go_on()
        stream.finish()
        asking.join(BOUND_S)
        wait_until(lambda: memory() is None)  # though the collector never looks at what was loaded at the start
        stats = query_stats(bench.control, BOUND_S)

    assert (outcome[0].version, outcome[0].previous) == (new.version, old.version) != (old.version, new.version)
    assert stream.told == [new.version]
    assert sorted(reply.id for _, reply in stream.answers) == list(range(stream.asked))  # nothing lost, nothing twice
    versions = [version for version, _ in stream.answers]
    assert versions == [old.version] * switched_at + [new.version] * (len(versions) - switched_at)
    assert [model.version for model in stats.models] == [new.version]
    assert (stats.failures, stats.reloads.ok, stats.reloads.rolled_back) == (0, 1, 0)
    for version, runner in ((old.version, old), (new.version, new)):
        expected = answer(runner, shoppers)
        for by, reply in stream.answers:
            if by == version:
                alike(reply, expected[reply.id % USERS])


def alike(found: RecommendResult, expected: object) -> None:
    """The same items with the same scores, but for rounding, which differs with the batch."""
    assert isinstance(expected, RecommendResult)
    scores = {item.item_id: item.score for item in expected.candidates}
    both = [item for item in found.candidates if item.item_id in scores]
    assert len(both) >= TOP - 1
    assert all(math.isclose(item.score, scores[item.item_id], abs_tol=2e-6) for item in both)


@pytest.fixture
def broken(retrained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(retrained, tmp_path / "broken"))


def test_no_broken_checkpoint_takes_over_and_each_is_told_why(
    folder: Path, broken: Path, retrained: Path, shoppers: list[RecommendRequest]
) -> None:
    old, good = checkpoint.load(folder), checkpoint.load(retrained)

    def damage() -> None:
        weights = broken / WEIGHTS
        weights.write_bytes(weights.read_bytes()[:-1] + b"\0")

    def replace(other: Checkpoint) -> Callable[[], object]:
        return lambda: checkpoint.save(other, broken)

    with torch.no_grad():
        not_a_number = copy.deepcopy(good.model)
        not_a_number.bias.fill_(float("nan"))
    cases: list[tuple[Callable[[], object], str, str]] = [
        (lambda: None, "0123", "not 0123: was it copied in full"),
        (damage, "", "damaged"),
        (replace(mixed_up_items(good)), "", "below 0.3"),
        (replace(Checkpoint(not_a_number, good.description)), "", "not a number"),
        ((broken / CONFIG).unlink, "", "holds no config.json"),
    ]
    with serving(lambda: [RecommenderRunner.load(folder)]) as bench:
        stream = Stream(bench, shoppers)
        for number, (breaking, sha256, why) in enumerate(cases, start=1):
            breaking()
            while len(stream.answers) < number * USERS:
                stream.go_on()
            with pytest.raises(ReloadFailed, match=why):
                reload_model(bench.control, Reload(model="recommender", path=str(broken), sha256=sha256), BOUND_S)
        while len(stream.answers) < (len(cases) + 1) * USERS:
            stream.go_on()
        stream.finish()
        stats = query_stats(bench.control, BOUND_S)
    assert {version for version, _ in stream.answers} == {old.version}
    assert len(stream.answers) == stream.asked
    assert (stats.reloads.ok, stats.reloads.rolled_back) == (0, len(cases))


def test_a_successor_is_served_as_the_model_before_it(folder: Path, retrained: Path) -> None:
    runner = RecommenderRunner.load(folder, retrieval="exact", precision="float32")
    new = runner.successor(retrained)
    assert (new.version, new.notes, new.batching) == (
        checkpoint.load(retrained).version, runner.notes, runner.batching
    )
    assert (new._retrieval, new._precision) == ("exact", "float32")
