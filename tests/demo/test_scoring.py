"""Hit rates and their errors against cases worked out by hand."""

import math

import pytest

from footfall.replay.scoring import Scores, first_available


def test_rates_errors_and_paired_differences_are_those_of_the_textbook() -> None:
    import numpy as np

    rng = np.random.default_rng(0)
    hits = rng.random((300, 3)) < [0.5, 0.3, 0.45]
    scores = Scores()
    for model, popularity, personal in hits:
        scores.add({"x"}, {
            "model": ("x",) if model else (), "popularity": ("x",) if popularity else ("y",),
            "personal_frequency": ("x",) if personal else ("y",),
        })
    rates = scores.rates()
    assert rates.cases == 300
    assert rates.rate["model"] == pytest.approx(hits[:, 0].mean())
    assert rates.se["popularity"] == pytest.approx(hits[:, 1].std() / math.sqrt(300))
    difference = hits[:, 0].astype(float) - hits[:, 2]
    assert rates.model_minus["personal_frequency"].mean == pytest.approx(difference.mean())
    assert rates.model_minus["personal_frequency"].se == pytest.approx(difference.std() / math.sqrt(300))


def test_without_cases_there_are_no_rates() -> None:
    rates = Scores().rates()
    assert (rates.cases, rates.rate, rates.se, rates.model_minus) == (0, {}, {}, {})


def test_the_first_available_are_shown() -> None:
    assert first_available(["a", "b", "c", "d"], {"b"}, shown=2) == ("a", "c")
