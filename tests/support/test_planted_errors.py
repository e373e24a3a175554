"""The checker finds the errors that people planted in fluent replies, and no fault with true ones."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from footfall.support.checking import disclosures, unfounded
from tests.support.case_world import OLDER, case, truth

HERE = Path(__file__).parent


def read(name: str) -> dict[str, Any]:
    return tomllib.loads((HERE / f"{name}.toml").read_text("utf-8"))


def planted() -> Iterator[tuple[str, str, str]]:
    for language, cases in read("false_replies").items():
        for name, kinds in cases.items():
            for texts in kinds.values():
                yield from ((language, name, text) for text in texts)


def true() -> Iterator[tuple[str, str, str]]:
    for language, cases in read("true_replies").items():
        for name, texts in cases.items():
            yield from ((language, name, text) for text in texts)


def told(verdict: str) -> Iterator[tuple[str, str]]:
    for language, texts in read("disclosures")[verdict].items():
        yield from ((language, text) for text in texts)


@pytest.mark.parametrize(("language", "name", "text"), list(planted()))
def test_a_planted_error_is_found(language: str, name: str, text: str) -> None:
    assert unfounded(text, language, case(name, language))


@pytest.mark.parametrize(("language", "name", "text"), list(true()))
def test_a_true_reply_in_words_of_its_own_is_found_no_fault_with(language: str, name: str, text: str) -> None:
    known = case(name, language)
    assert not [*unfounded(text, language, known), *disclosures(text, known)]


@pytest.mark.parametrize(("language", "text"), list(told("gives_away")))
def test_what_gives_another_customers_order_away_is_found(language: str, text: str) -> None:
    asked = (truth(language, OLDER, message=message) for message in ("90555?", "90556?"))
    assert any(disclosures(text, known) for known in asked)


@pytest.mark.parametrize(("language", "text"), list(told("gives_nothing_away")))
def test_what_gives_nothing_away_is_no_disclosure(language: str, text: str) -> None:
    assert not disclosures(text, truth(language, OLDER, message="90555? 90556?"))


def test_there_are_many_of_each() -> None:
    assert len(list(planted())) >= 150
    assert len(list(true())) >= 80
