"""Data sets that the demo, the replay and the training know by name.

A data set is purchases and a catalogue. Loading reads an installed package or makes the data up from a seed; nothing
is downloaded and nothing is written.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from model_core.recommender.purchase_log import PurchaseLog
    from schemas.events import ItemData

# a module of this package each, with a function `load()`; imported when asked for, since they need numpy or pandas
NAMES = ("completejourney", "synthetic")


class DatasetError(RuntimeError):
    """The data set cannot be loaded; the message says what to install or which name to use."""


@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Purchases, the catalogue they refer to, and where they come from.

    `trained_until_ms` (UTC epoch) is where training stops by default and a replay starts; `timezone` is the shops'.
    """

    name: str
    provenance: str
    timezone: str
    trained_until_ms: int
    log: "PurchaseLog"
    catalog: "tuple[ItemData, ...]"


def load(name: str) -> Dataset:
    """Load a data set by name.

    Raises DatasetError for an unknown name or when its package is not installed.
    """
    if name not in NAMES:
        raise DatasetError(f"no data set is called {name!r}; use one of {', '.join(NAMES)}")
    loader: Callable[[], Dataset] = import_module(f"{__name__}.{name}").load
    return loader()
