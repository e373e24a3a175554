"""Fixtures of the benchmarks' tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where a report may go, of a benchmark that starts the local broker and cache for itself.

    It makes and deletes topics: brokers that the environment names are not for it.
    """
    for name in ("KAFKA_HOME", "KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("FOOTFALL_HOME", str(tmp_path))
    return tmp_path / "report.json"


@pytest.fixture
def device_core() -> Iterator[int]:
    """A core for the device, of at least two. A benchmark that confines this process to the others leaves it free."""
    if not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs Linux and two cores")
    allowed = os.sched_getaffinity(0)
    yield min(allowed)
    os.sched_setaffinity(0, allowed)
