"""Shopping trips: what a purchase log says happened, one basket at a time, in event time. Pure: no clock, no network.

The baskets, their customers, shops, prices and times are the data's. When a customer arrived, whether they were logged
in, and who only looked around is simulated (seeded), since the data has no clicks.
"""

import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

if TYPE_CHECKING:
    from model_core.recommender.purchase_log import Basket

MAX_VISIT_MS = 45 * 60_000
MIN_VISIT_MS = 12 * 60_000
QUICK_VISIT_MS = 60_000  # less time than this since the customer's last basket: nothing was looked at in between
VISITOR_SHARE = 0.1  # arrive without a login and log in at the checkout
WINDOW_SHOPPER_SHARE = 0.05  # look around and buy nothing, per basket


class Run(Struct, frozen=True):
    """What a replay is made of besides its data. The same run gives the same events with the same ids.

    `name` starts the ids of events and visitors; `source` is that of the purchases.
    """

    seed: int
    name: str
    source: str


class Line(Struct, frozen=True, gc=False):
    """One item of a basket. `price` is per unit."""

    item_id: str
    quantity: int
    price: float


class Trip(Struct, frozen=True, kw_only=True):
    """One visit to the shop. `name` identifies it within its data set and names its events.

    `visitor_id` is set when the customer came without a login. `user_id` is None for one who never logs in, and then
    `lines` is empty. `leave_ms` is the time of the purchase, or of the last look.
    """

    name: str
    user_id: str | None
    visitor_id: str | None
    arrival_ms: int
    leave_ms: int
    lines: tuple[Line, ...]
    store_id: str | None = None

    @property
    def scored(self) -> bool:
        """Whether its basket is a fair case: the shop knew the customer on arrival, and they bought something."""
        return self.visitor_id is None and bool(self.lines) and self.arrival_ms < self.leave_ms


def trips(baskets: "Iterable[Basket]", run: Run) -> Iterator[Trip]:
    """Every basket as a trip, and some visits without a purchase between them, ordered by `leave_ms`.

    `baskets` are in order of time. A customer's trips do not overlap: they arrive after their previous purchase.
    """
    previous: dict[str, int] = {}
    for basket in baskets:
        rng = random.Random(f"{run.seed}/trip/{basket.index}")  # noqa: S311 - a simulation
        leave_ms = basket.time_ms
        arrival_ms = leave_ms - rng.randint(MIN_VISIT_MS, MAX_VISIT_MS)
        if basket.user_id in previous:
            arrival_ms = max(arrival_ms, previous[basket.user_id] + 1000)
        if leave_ms - arrival_ms < QUICK_VISIT_MS:
            arrival_ms = leave_ms
        previous[basket.user_id] = leave_ms
        anonymous = rng.random() < VISITOR_SHARE and arrival_ms < leave_ms
        if rng.random() < WINDOW_SHOPPER_SHARE:
            yield Trip(
                name=f"{basket.index}w", user_id=None, visitor_id=f"{run.name}-{basket.index}w", lines=(),
                arrival_ms=leave_ms - rng.randint(MIN_VISIT_MS, MAX_VISIT_MS), leave_ms=leave_ms,
            )
        yield Trip(
            name=str(basket.index), user_id=basket.user_id,
            visitor_id=f"{run.name}-{basket.index}" if anonymous else None,
            arrival_ms=arrival_ms, leave_ms=leave_ms, store_id=basket.store_id,
            lines=lines_of(basket),
        )


def lines_of(basket: "Basket") -> tuple[Line, ...]:
    """What was bought."""
    return tuple(
        Line(item_id, quantity, round(price, 2))
        for item_id, quantity, price in zip(basket.item_ids, basket.quantities, basket.prices, strict=True)
    )
