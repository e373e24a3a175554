"""The starter set can be used as it is, and the passage that answers a question is found."""

import struct
from pathlib import Path

import pytest

from agents.support.policies import Policies, PolicyError, read
from agents.support.templates import LANGUAGES

NOWHERE = b""


@pytest.fixture(scope="module")
def starter() -> Policies:
    return Policies(read())


def write(folder: Path, ref: str, text: str, language: str = "en") -> None:
    (folder / language).mkdir(exist_ok=True)
    (folder / language / f"{ref}.md").write_text(text, encoding="utf-8")


def test_the_starter_set_says_the_same_in_both_languages() -> None:
    passages = {(passage.language, passage.ref): passage for passage in read()}
    refs = {ref for _, ref in passages}
    assert len(refs) >= 40
    for ref in refs:
        versions = [passages[language, ref] for language in LANGUAGES]
        assert len({passage.intents for passage in versions}) == 1
        assert all(passage.text for passage in versions)


@pytest.mark.parametrize(
    ("language", "question", "intent", "ref"),
    [
        ("en", "My phone does not charge any more", "faulty_item", "device-not-charging"),
        ("en", "i forgot my password", "account", "password-and-login"),
        ("en", "charged twice for one order", "payment", "payment-problems"),
        ("en", "parcel says delivered but nothing is here", "missing_item", "delivered-not-received"),
        ("en", "do you ship to Austria", "delivery", "delivery-countries"),
        ("zh", "我的iphone12为什么充不了电？", "faulty_item", "device-not-charging"),
        ("zh", "忘记密码了", "account", "password-and-login"),
        ("zh", "可以送到奥地利吗", "delivery", "delivery-countries"),
        ("zh", "怎么退货", "return_item", "how-to-return"),
    ],
)
def test_a_question_finds_its_passage_by_its_words(
    starter: Policies, language: str, question: str, intent: str, ref: str
) -> None:
    passage = starter.best(language, question, NOWHERE, intent)
    assert passage is not None
    assert (passage.ref, passage.language) == (ref, language)


def test_where_words_say_nothing_the_meaning_decides(tmp_path: Path) -> None:
    write(tmp_path, "cats", "# Cats\nIntents: advice\n\nThey sleep.")
    write(tmp_path, "dogs", "# Dogs\nIntents: advice\n\nThey bark.")
    policies = Policies(read(tmp_path))
    for ref, vector in (("cats", (1.0, 0.0)), ("dogs", (0.0, 1.0))):
        policies.learn("en", ref, struct.pack("<2f", *vector))
    passage = policies.best("en", "hound", struct.pack("<2f", 0.1, 0.9), "advice")
    assert passage is not None
    assert passage.ref == "dogs"


def test_only_passages_of_the_intent_answer_it(starter: Policies) -> None:
    assert starter.best("en", "weather tomorrow", NOWHERE, "out_of_scope") is None
    assert starter.best("fr", "retour", NOWHERE, "return_item") is None
    passage = starter.best("en", "", NOWHERE, "invoice")
    assert passage is not None
    assert passage.intents[0] == "invoice"


@pytest.mark.parametrize("text", ["", "no title", "# Title\nno intents\n\ntext", "# Title\nIntents: a\n\n"])
def test_what_is_not_a_passage_is_refused_by_name(tmp_path: Path, text: str) -> None:
    write(tmp_path, "odd", text)
    with pytest.raises(PolicyError, match=r"odd\.md: begin with"):
        read(tmp_path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="holds no passages"):
        read(tmp_path)
