"""What a replay is made from: the data set, cut where the model's training ended. Loads and prepares, sends nothing."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import chain
from pathlib import Path
from zoneinfo import ZoneInfo

from footfall.datasets import Dataset, load
from footfall.replay.baselines import DemoBaselines
from footfall.replay.clicks import Shelves, Step, instant, timeline
from footfall.replay.enquiries import Enquiries
from footfall.replay.orders import ASKED_DAYS, Orders, bought
from footfall.replay.runner import Message, stock_message
from footfall.replay.stock import Stock
from footfall.replay.trips import Run, trips
from model_core.recommender.purchase_log import Basket, PurchaseLog
from model_core.registry import DEMO_CHECKPOINT
from schemas.events import Item
from schemas.topics import CATALOG

DAY_MS = 86_400_000
END_OF_TIME_MS = 2**62
EVENTS_PER_BASKET = 10  # 9.7 with the click simulator's shares, on completejourney
SALES_DAYS = 56  # stock levels are made from the sales of the last weeks before the replay
SYNTHETIC_MINUTES = 0.25


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """`past` is before `from_ms`, `steps` is after it; `stock` has levels for what was sold lately."""

    dataset: Dataset
    from_ms: int
    past: PurchaseLog
    shelves: Shelves
    stock: Stock
    run: Run

    def local(self, time_ms: int) -> datetime:
        """A time as the shops' clocks show it."""
        return datetime.fromtimestamp(time_ms / 1000, ZoneInfo(self.dataset.timezone))

    @property
    def from_local(self) -> datetime:
        return self.local(self.from_ms)

    def steps(self) -> Iterator[Step]:
        """All that happens after `from_ms`, in order."""
        return timeline(trips(self.future(), self.run), self.shelves, self.run)

    def baselines(self) -> DemoBaselines:
        """The baselines, after they have observed the past (about 4 s for completejourney)."""
        baselines = DemoBaselines()
        for basket in self.past.baskets():
            baselines.observe(basket.user_id, basket.item_ids, basket.time_ms)
        return baselines

    def enquiries(self) -> Enquiries:
        """What customers write to support, about what they bought lately (about 1 s for completejourney)."""
        recent = self.past.between(self.from_ms - ASKED_DAYS * DAY_MS, self.from_ms)
        return Enquiries(Orders(self.run.seed, self.shelves, map(bought, recent.baskets())), self.run.seed)

    def future(self) -> Iterator[Basket]:
        """The baskets that are replayed."""
        return self.dataset.log.between(self.from_ms, END_OF_TIME_MS).baskets()

    def speed_for(self, events_per_s: float) -> float:
        """Event time per real time that gives about so many events a second on average, sleeping customers or not."""
        future = self.dataset.log.between(self.from_ms, END_OF_TIME_MS)
        if len(future) < 2:
            return 1.0
        event_s = float(future.time_ms[-1] - future.time_ms[0]) / 1000
        return max(1.0, round(events_per_s * event_s / (EVENTS_PER_BASKET * (len(future.basket_starts()) - 1)), -1))

    def opening(self) -> Iterable[Message]:
        """The catalogue and the first stock levels."""
        catalog = (
            Message(CATALOG, item.item_id, Item(
                specversion="1.0", id=f"{self.run.name}-{item.item_id}", source=self.run.source,
                time=instant(self.from_ms), data=item,
            ))
            for item in self.dataset.catalog
        )
        levels = self.stock.levels()
        stock = (stock_message(level, self.from_ms, f"{self.run.name}-{level.item_id}-0") for level in levels)
        return chain(catalog, stock)


def prepare(name: str, from_ms: int | None, seed: int, run_name: str) -> Material:
    """Load a data set and cut it (about 3 s for completejourney).

    `from_ms` None: the data set's own end of training.
    """
    dataset = load(name)
    from_ms = dataset.trained_until_ms if from_ms is None else from_ms
    past = dataset.log.before(from_ms)
    return Material(
        dataset, from_ms, past, Shelves(dataset.catalog), Stock(daily_sales(past, from_ms), seed),
        Run(seed, run_name, source_of(name)),
    )


def source_of(name: str) -> str:
    """The `source` of a data set's purchases."""
    return f"footfall/{name}"


def daily_sales(past: PurchaseLog, until_ms: int) -> dict[str, float]:
    """Units a day of every item sold in the last weeks."""
    recent = past.between(until_ms - SALES_DAYS * DAY_MS, until_ms)
    units: dict[str, float] = {}
    for code, quantity in zip(recent.item.tolist(), recent.quantity.tolist(), strict=True):
        item = past.item_ids[code]
        units[item] = units.get(item, 0.0) + quantity / SALES_DAYS
    return units


def checkpoint_for(name: str, home: Path) -> tuple[Path, bool]:
    """Where the data set's checkpoint is, and whether it is there: beside the demo's, else under `home`."""
    shipped = DEMO_CHECKPOINT.parent / name
    if (shipped / "config.json").is_file():
        return shipped, True
    own = home.expanduser() / "checkpoints" / name
    return own, (own / "config.json").is_file()


def trained_until_ms(checkpoint: Path) -> int:
    """The end of the training, from the checkpoint's config.json: the replay starts there."""
    text = json.loads((checkpoint / "config.json").read_bytes())["trained_until"]
    return round(datetime.fromisoformat(text).timestamp() * 1000)


