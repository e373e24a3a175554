"""Generating for many at once says what generating for one after the other says; who leaves is forgotten at once."""

import queue
from collections.abc import Iterator, Sequence

import pytest
import torch

from model_core.batching.events import Answered, Event, Loaded
from model_core.batching.pipeline import Pipeline
from model_core.batching.policy import Client, Pending
from model_core.replier import runner as runners
from model_core.replier.loading import load
from model_core.replier.runner import ReplierRunner
from model_core.replier.serial import generate_one
from model_core.runner import GeneratingRunner, InvalidInput, Service
from schemas.inference import GenerateRequest, GenerateResult, Reply
from tests.replier import tiny
from tests.replier.tiny import Spelled, ask

KINDS = (*tiny.KINDS, "mistral")  # whose caches cannot be put together, as those of t5
JOINABLE = ("llama", "qwen3", "bloom")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Spelled]:
    folders = {kind: tiny.save(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}
    return {kind: tiny.spelled(load(folder, "cpu", precision="float32")) for kind, folder in folders.items()}


@pytest.fixture
def llama(models: dict[str, Spelled]) -> Spelled:
    return models["llama"]


def asked(count: int, max_tokens: int = 12) -> list[GenerateRequest]:
    """Requests of several lengths."""
    return [
        ask(at, "Be kind.", "Where is my order? " + "我的订单 4411" * (at * 5 % 4), max_tokens=max_tokens - at % 3)
        for at in range(count)
    ]


def ending(model: Spelled, requests: Sequence[GenerateRequest]) -> Spelled:
    """The model, if what it says fifth to the first of them were its end."""
    return tiny.spelled(model, ends=frozenset({int(generate_one(model, requests[0]).text.split()[4])}))


class Driver:
    """Steps a runner as the worker does."""

    def __init__(self, runner: ReplierRunner) -> None:
        self.runner = runner
        self.replies: dict[int, GenerateResult] = {}

    def step(self, *requests: GenerateRequest) -> None:
        for request, result in self.runner.step(self.runner.collate(requests) if requests else None):
            assert request.id == result.id
            assert request.id not in self.replies
            self.replies[request.id] = result

    def finish(self, count: int) -> dict[int, GenerateResult]:
        for _ in range(1000):
            if len(self.replies) == count:
                break
            self.step()
        assert len(self.replies) == count
        assert self.held() == []
        return self.replies

    def held(self) -> list[int]:
        """Who has a place in a cache, or waits for one."""
        for group in self.runner._groups:
            assert len(group.rows) == len(group.mask) == len(group.last)
        rows = [*self.runner._waiting, *(row for group in self.runner._groups for row in group.rows)]
        return sorted(row.request.id for row in rows)


def expected(model: Spelled, requests: Sequence[GenerateRequest]) -> dict[int, GenerateResult]:
    return {request.id: generate_one(model, request) for request in requests}


def test_a_replier_is_a_generating_runner(llama: Spelled) -> None:
    runner = ReplierRunner(llama)
    assert isinstance(runner, GeneratingRunner)
    assert (runner.name, runner.version, runner.popular) == ("replier", llama.version, ())
    assert runner.takes is GenerateRequest
    assert (runner.batching.max_batch, runner.batching.service) == (16, Service.CONTINUOUS)
    assert runner.notes == "LlamaForCausalLM, 0 million parameters, float32"


# -- the same as one after the other


@pytest.mark.parametrize("kind", KINDS)
def test_alone_a_request_is_answered_as_generate_does(models: dict[str, Spelled], kind: str) -> None:
    driver, request = Driver(ReplierRunner(models[kind])), asked(1)[0]
    driver.step(request)
    assert driver.finish(1) == expected(models[kind], [request])


@pytest.mark.parametrize("kind", KINDS)
def test_together_requests_of_any_length_are_answered_as_alone(models: dict[str, Spelled], kind: str) -> None:
    requests = asked(6)
    model = ending(models[kind], requests)
    driver = Driver(ReplierRunner(model))
    driver.step(*requests)
    replies = driver.finish(6)
    assert replies == expected(model, requests)
    assert replies[0].complete
    assert replies[0].tokens == len(replies[0].text.split()) < 12


@pytest.mark.parametrize("kind", KINDS)
def test_who_joins_while_others_are_under_way_is_answered_as_alone(models: dict[str, Spelled], kind: str) -> None:
    requests = asked(9)
    driver = Driver(ReplierRunner(models[kind]))
    driver.step(*requests[:3])
    driver.step()
    for request in requests[3:6]:
        driver.step(request)
        driver.step()
        driver.step()
    driver.step(*requests[6:])
    assert driver.finish(9) == expected(models[kind], requests)


@pytest.mark.parametrize("kind", JOINABLE)
def test_who_joins_shares_the_steps_of_the_others(
    models: dict[str, Spelled], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runners, "STEP_BYTES", {"cpu": 2**30})
    requests = asked(4)
    driver = Driver(ReplierRunner(models[kind]))
    for request in requests:
        driver.step(request)
        driver.step()
        assert len(driver.runner._groups) == 1
    assert driver.finish(4) == expected(models[kind], requests)


def test_a_cache_is_no_wider_than_who_is_left_needs(llama: Spelled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runners, "STEP_BYTES", {"cpu": 2**30})
    runner = ReplierRunner(llama)
    driver = Driver(runner)
    driver.step(long := ask(0, "Where is my order? " * 5, max_tokens=2))
    driver.step(short := ask(1, "Hello", max_tokens=12))
    (group,) = runner._groups
    assert group.mask.shape == (2, len(runner.collate([long])[0].prompt))
    driver.step()
    assert driver.replies.keys() == {0}
    assert group.mask.shape == (1, len(runner.collate([short])[0].prompt) + 1)
    assert group.cache.get_seq_length() == group.mask.shape[1]
    assert driver.finish(2) == expected(llama, [long, short])


def test_groups_stay_apart_where_padding_costs_more_than_a_step(
    llama: Spelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = ReplierRunner(llama)
    monkeypatch.setattr(runner, "_step_bytes", 0)
    texts = ("Hello", "Hello, where is it?", "Hello!", "Hallo")
    driver, requests = Driver(runner), [ask(at, text) for at, text in enumerate(texts)]
    driver.step(requests[0])
    driver.step(requests[1])
    assert [len(group.rows) for group in runner._groups] == [1, 1]
    driver.step(requests[2])  # would be a third
    driver.step()
    assert [row.request.id for row in runner._waiting] == [2]
    assert driver.finish(3) == expected(llama, requests[:3])
    driver.replies.clear()
    driver.step(requests[0])
    driver.step(requests[3])  # as long as the prompt of the other: no padding
    assert [len(group.rows) for group in runner._groups] == [2]


@pytest.mark.parametrize("kind", ["t5", "mistral"])
def test_of_groups_that_cannot_join_there_are_few_and_others_begin_together(
    models: dict[str, Spelled], kind: str
) -> None:
    requests = asked(6)
    driver = Driver(ReplierRunner(models[kind]))
    driver.runner._prefill = 10_000
    for request in requests:
        driver.step(request)
    assert [len(group.rows) for group in driver.runner._groups] == [1] * runners.GROUPS
    assert driver.held() == list(range(6))
    while driver.runner._waiting:
        driver.step()
    assert max(len(group.rows) for group in driver.runner._groups) == 6 - runners.GROUPS
    assert driver.finish(6) == expected(models[kind], requests)


def test_groups_take_turns(models: dict[str, Spelled]) -> None:
    driver = Driver(ReplierRunner(models["t5"]))
    driver.step(ask(0, "Hello"))
    driver.step(ask(1, "Hello, you"))
    first, second = driver.runner._groups
    driver.step()
    driver.step()
    driver.step()
    assert (len(first.rows[0].written), len(second.rows[0].written)) == (3, 2)


def test_a_step_runs_few_tokens_of_prompts_or_one_long_prompt(llama: Spelled) -> None:
    runner = ReplierRunner(llama)
    driver, requests = Driver(runner), [ask(at, "Where is my order? " * (10 if at == 2 else 1)) for at in range(5)]
    lengths = [len(row.prompt) for row in runner.collate(requests)]
    runner._prefill = 2 * lengths[0]
    assert lengths[2] > runner._prefill
    driver.step(*requests)
    steps = [len(runner._waiting)]
    while runner._waiting:
        driver.step()
        steps.append(len(runner._waiting))
    assert steps == [3, 2, 0]
    assert driver.finish(5) == expected(llama, requests)


def test_it_is_deterministic(llama: Spelled) -> None:
    def replies() -> dict[int, GenerateResult]:
        driver = Driver(ReplierRunner(llama))
        driver.step(*asked(5))
        return driver.finish(5)

    assert replies() == replies()


# -- who leaves


@pytest.mark.parametrize("kind", KINDS)
def test_who_is_dropped_is_forgotten_and_the_others_go_on(models: dict[str, Spelled], kind: str) -> None:
    requests = asked(7)
    driver = Driver(ReplierRunner(models[kind]))
    driver.step(*requests[:4])
    driver.step()
    driver.step(*requests[4:])
    driver.runner.drop([requests[1], requests[3], requests[5], ask(1, "not one of them")])
    assert driver.held() == [0, 2, 4, 6]
    driver.step()
    replies = driver.finish(4)
    assert replies == expected(models[kind], [requests[at] for at in (0, 2, 4, 6)])


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_for_nobody(models: dict[str, Spelled], kind: str) -> None:
    requests = asked(5)
    driver = Driver(ReplierRunner(models[kind]))
    driver.step(*requests[:2])
    for request in requests[2:]:
        driver.step(request)
    driver.runner.drop(requests)
    assert not driver.runner._groups
    assert not driver.runner._waiting
    assert driver.runner.step(None) == []


def test_requests_are_told_apart_by_who_they_are_and_not_by_what_they_say(llama: Spelled) -> None:
    """Two agents may use the same ids."""
    one, other = ask(1, "Hello"), ask(1, "Hello")
    assert one == other
    driver = Driver(ReplierRunner(llama))
    driver.step(one, other)
    driver.runner.drop([other])
    (group,) = driver.runner._groups
    assert [row.request for row in group.rows] == [one]
    assert group.rows[0].request is one


def test_a_step_that_fails_has_not_taken_its_batch_in(llama: Spelled, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = asked(3)
    driver = Driver(ReplierRunner(llama))
    driver.step(*requests[:2])
    with monkeypatch.context() as patch:
        patch.setattr(runners._Causal, "begin", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            driver.step(requests[2])
    assert driver.held() == [0, 1]
    assert driver.finish(2) == expected(llama, requests[:2])


def test_a_batch_is_not_blamed_for_those_who_wait(llama: Spelled, monkeypatch: pytest.MonkeyPatch) -> None:
    requests = asked(3)
    driver = Driver(ReplierRunner(llama))
    driver.runner._prefill = 1
    driver.step(*requests[:2])
    assert driver.held() == [0, 1]
    with monkeypatch.context() as patch:
        patch.setattr(runners._Causal, "begin", lambda _: 1 / 0)
        driver.step(requests[2])
        with pytest.raises(ZeroDivisionError):
            driver.step()
    assert driver.finish(3) == expected(llama, requests)


# -- limits


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_a_reply_has_at_most_so_many_tokens(models: dict[str, Spelled], kind: str) -> None:
    model = models[kind]
    prompt = len(model.prompts.encode([("user", "Hello")]))
    longest = tiny.CONTEXT - (0 if kind == "t5" else prompt)
    requests = [ask(0, "Hello", max_tokens=1), ask(1, "Hello", max_tokens=longest)]
    driver = Driver(ReplierRunner(tiny.spelled(model, ends=frozenset())))
    driver.step(*requests)
    replies = driver.finish(2)
    assert [(replies[at].tokens, replies[at].complete) for at in (0, 1)] == [(1, False), (longest, False)]


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_what_is_too_long_for_the_model_is_invalid_and_its_text_is_not_told(
    models: dict[str, Spelled], kind: str
) -> None:
    runner, model = ReplierRunner(models[kind]), models[kind]
    fixed = len(model.prompts.encode([("user", "z")])) - 1
    limit = tiny.CONTEXT - fixed - (0 if kind == "t5" else 10)
    assert len(runner.collate([ask(1, "z" * limit, max_tokens=10)])) == 1
    with pytest.raises(InvalidInput, match=rf"^the prompt has {limit + fixed + 1} tokens: beside a reply of 10"):
        runner.collate([ask(1, "z" * (limit + 1), max_tokens=10)])
    with pytest.raises(InvalidInput, match=r"the model takes 0$"):
        runner.collate([ask(1, "Hello", max_tokens=tiny.CONTEXT + 1)])


@pytest.mark.parametrize("max_tokens", [0, -1])
def test_a_reply_of_nothing_is_invalid(llama: Spelled, max_tokens: int) -> None:
    with pytest.raises(InvalidInput, match=f"max_tokens is {max_tokens}"):
        ReplierRunner(llama).collate([ask(1, "Hello", max_tokens=max_tokens)])


def test_the_length_of_a_request_is_estimated_without_a_tokenizer(llama: Spelled) -> None:
    runner = ReplierRunner(tiny.spelled(llama, tokenizer=None, prompts=None))
    assert runner.tokens(ask(1, "x" * 400)) == 108
    assert runner.tokens(ask(1, "订" * 400, "\ud800")) == 316


# -- in the worker


def test_examples_of_every_kind_of_model_can_be_run(models: dict[str, Spelled]) -> None:
    for model in models.values():
        driver = Driver(ReplierRunner(model))
        examples = list(driver.runner.example_batches())
        assert [len(batch) for batch in examples] == [1, 4]
        for batch in examples:
            driver.step(*batch)
            driver.finish(len(batch))
            driver.replies.clear()


@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_the_pipeline_serves_it(models: dict[str, Spelled], kind: str) -> None:
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    pipeline = Pipeline(lambda: [ReplierRunner(models[kind])], events.put)
    pipeline.start()
    assert isinstance(events.get(timeout=60), Loaded)
    requests = asked(24)
    client = Client(b"a", 0.0, {request.id for request in requests})
    replies: dict[int, Reply] = {}
    for at in range(0, 24, 4):
        assert pipeline.submit("replier", [Pending(client, request, 1e9) for request in requests[at : at + 4]]) == []
        while len(replies) < at // 2:
            replies |= _answered(events)
    while len(replies) < 24:
        replies |= _answered(events)
    assert pipeline.stop(60)
    assert replies == expected(models[kind], requests)


def _answered(events: "queue.SimpleQueue[Event]") -> dict[int, Reply]:
    event = events.get(timeout=60)
    assert isinstance(event, Answered), event
    return {reply.id: reply for _, reply in event.replies}
