"""Models that others trained: what reading their folders has in common. Knows no architecture.

Nothing here runs code that comes with a model, or imports the package that a model is shipped in.
"""

import hashlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet() -> Iterator[None]:
    """Without the progress bars of transformers."""
    bars: Any = transformers_logging  # whose functions are not typed
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def sha256_of(paths: Iterable[Path]) -> str:
    """Of the bytes of all files, one after the other, in hex."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(2**22):
                digest.update(block)
    return digest.hexdigest()


def packaged(package: str, file: str) -> Path | None:
    """A file of an installed package, by its path inside; the package itself is not imported."""
    spec = find_spec(package)
    for place in (spec and spec.submodule_search_locations) or ():
        path = Path(place, file)
        if path.is_file():
            return path
    return None


def first_line(error: BaseException) -> str:
    """What an error says, without the page that some libraries add."""
    return str(error).strip().partition("\n")[0] or type(error).__name__
