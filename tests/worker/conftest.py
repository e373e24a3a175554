"""Fixtures of the worker's tests."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.processes import Processes


@pytest.fixture
def processes() -> Iterator[Processes]:
    # ipc paths are limited to 107 bytes, which pytest's own directories may exceed
    with tempfile.TemporaryDirectory(prefix="fw-") as directory:
        owner = Processes(Path(directory))
        yield owner
        for process in owner.started:
            process.kill()
            process.wait()
