"""Hashed n-grams: the same everywhere, in one form, of length 1."""

import math
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_core.encoder.features import DIMENSION, MAX_CHARS, bags, chinese, ngrams, normalised


def test_the_numbers_are_those_that_heads_were_trained_with() -> None:
    """Where this fails, all heads must be trained again, and `head.FORMAT` must say so."""
    found = bags(["退款?"])
    expected = [1177, 1605, 1958, 2643, 9722, 9887, 14205, 18061, 26421, 28267, 30645]
    assert found.gram.tolist() == expected
    assert found.gram.max() < DIMENSION


def test_forms_of_one_text_are_alike() -> None:
    wide = "".join(chr(ord(letter) + 0xFEE0) for letter in "WHERE12")  # as typed on a Chinese keyboard
    assert normalised(f"  {wide} is\tOrder № 7 ") == "where00 is order no 0"
    assert list(ngrams("Order 12")) == list(ngrams("ORDER  98"))


def test_chinese_is_taken_by_characters_and_pairs_and_latin_script_by_longer_pieces() -> None:
    found = set(ngrams("我要退款 refund"))
    assert {"w退", "p退 款", "c退款", "cefun", "wrefund", "p款 refund"} <= found
    assert not [ngram for ngram in found if "退款" in ngram and len(ngram) > 3]


def test_order_of_words_counts() -> None:
    assert set(ngrams("refund not order")) != set(ngrams("order not refund"))


def test_what_occurs_more_often_weighs_more_but_not_as_much() -> None:
    found = bags(["no no no yes"])
    weight = dict(zip(found.gram.tolist(), found.weight.tolist(), strict=True))
    no, yes = (weight[zlib.crc32(word) % DIMENSION] for word in (b"wno", b"wyes"))
    assert no / yes == pytest.approx(1 + math.log(3))


def test_length_is_bounded() -> None:
    long = "a" * MAX_CHARS
    assert normalised(long + "tail") == long
    assert len(normalised("\ufdfa" * MAX_CHARS)) <= MAX_CHARS  # one character that stands for 18


def test_share_of_chinese() -> None:
    assert chinese(["order", "退款", "退款 ok", "123 ?!", ""]).tolist() == [0, 1, 0.5, 0, 0]


@given(st.lists(st.text(max_size=30), max_size=5))
def test_every_text_has_its_own_bag_of_length_1(texts: list[str]) -> None:
    together = bags(texts)
    assert len(together.start) == len(texts)
    for row, text in enumerate(texts):
        alone, taken = bags([text]), together.take(np.array([row]))
        assert taken.gram.tolist() == alone.gram.tolist()
        assert taken.weight.tolist() == alone.weight.tolist()
        assert np.isclose((alone.weight**2).sum(), 1)
        assert alone.gram.tolist() == sorted(set(alone.gram.tolist()))


@given(st.lists(st.text(max_size=20), min_size=1, max_size=5), st.data())
def test_taking_rows_is_making_them_from_the_texts(texts: list[str], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8))
    taken, made = bags(texts).take(np.array(rows, np.int64)), bags([texts[row] for row in rows])
    assert taken.gram.tolist() == made.gram.tolist()
    assert taken.weight.tolist() == made.weight.tolist()
    assert taken.start.tolist() == made.start.tolist()
