"""A log stays readable while something is away."""

import logging

import pytest

from agents.log_repeats import INTERVAL_S, Repeats

logger = logging.getLogger("tests.repeats")


@pytest.fixture
def now_s() -> list[float]:
    return [100.0]


@pytest.fixture(autouse=True)
def filtered(now_s: list[float]) -> Repeats:
    logger.filters[:] = [Repeats(clock=lambda: now_s[0])]
    return logger.filters[0]  # type: ignore[return-value]


def refused(port: int) -> None:
    logger.error("connection to %d refused", port)


def test_a_place_speaks_once_in_a_while_and_says_how_often_it_was_held_back(
    now_s: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    for port in range(50):
        refused(port)
    now_s[0] += INTERVAL_S
    refused(50)
    refused(51)
    assert caplog.messages == ["connection to 0 refused", "connection to 50 refused (and 49 more like this)"]


def test_places_do_not_silence_each_other(caplog: pytest.LogCaptureFixture) -> None:
    refused(1)
    logger.warning("something else")
    assert caplog.messages == ["connection to 1 refused", "something else"]
