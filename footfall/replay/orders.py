"""Simulated orders: how far a purchase is by now, as the order system of a web shop would say it. Pure and seeded.

The data has purchases, and no deliveries. An order is made from a purchase and its age in event time, so that it only
ever goes on; all that is not of the purchase is invented. Its id says so: `SIM-…`.
"""

import random
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from footfall.replay.clicks import CURRENCY, Shelves, instant
from footfall.replay.trips import Line, lines_of
from schemas.events import OrderData, OrderRefund, OrderStatus, RefundStatus, Shipment

if TYPE_CHECKING:
    from model_core.recommender.purchase_log import Basket

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ASKED_DAYS = 21  # customers ask about what is not older
KEPT = 6  # purchases of a customer
PAID_H, PACKED_H, SHIPPED_H = (0.1, 1.0), (2.0, 12.0), (14.0, 40.0)  # after the purchase
ON_THE_WAY_H, OUT_H = (24.0, 96.0), 8.0
LATE_SHARE, LATE_H = 0.15, (48.0, 120.0)
CANCELLED_SHARE, RETURNED_SHARE, REFUNDED_SHARE = 0.08, 0.1, 0.08  # the last: kept, and something is paid back
RETURNED_H, COMPLAINED_H = (24.0, 120.0), (4.0, 48.0)  # after the delivery
APPROVED_H, REPAID_H = (6.0, 30.0), (30.0, 90.0)  # after a refund was asked for
DECLINED_SHARE = 0.15
CARRIERS = ("DHL", "UPS", "FedEx", "DPD", "GLS")


class Bought(Struct, frozen=True):
    """A purchase. `name`: of its trip."""

    name: str
    user: str
    time_ms: int
    lines: tuple[Line, ...]

    @property
    def order_id(self) -> str:
        return f"SIM-{self.name.zfill(6)}"


def bought(basket: "Basket") -> Bought:
    """A basket of the log."""
    return Bought(str(basket.index), basket.user_id, basket.time_ms, lines_of(basket))


class Orders:
    """What customers have bought lately, and how far it is. Tell it of every purchase, in order of time."""

    def __init__(self, seed: int, shelves: Shelves, past: Iterable[Bought] = ()) -> None:
        self._seed = seed
        self._shelves = shelves
        self._bought: defaultdict[str, deque[Bought]] = defaultdict(lambda: deque(maxlen=KEPT))
        self._users: list[str] = []
        for one in past:
            self.add(one)

    def add(self, one: Bought) -> None:
        """One purchase more."""
        if one.user not in self._bought:
            self._users.append(one.user)
        self._bought[one.user].append(one)

    def of(self, user: str, now_ms: int) -> list[OrderData]:
        """The customer's newest orders as they are at `now_ms`, the newest first."""
        since_ms = now_ms - ASKED_DAYS * DAY_MS
        recent = [one for one in reversed(self._bought.get(user, ())) if since_ms <= one.time_ms <= now_ms]
        return [order_of(one, now_ms, self._seed, self._shelves) for one in recent]

    def of_somebody_else(self, user: str, now_ms: int, rng: random.Random) -> OrderData | None:
        """An order of some other customer, if there is one."""
        others = (self._users[at] for at in rng.sample(range(len(self._users)), min(len(self._users), KEPT)))
        orders = (self.of(other, now_ms) for other in others if other != user)
        return next((found[0] for found in orders if found), None)


def order_of(one: Bought, now_ms: int, seed: int, shelves: Shelves) -> OrderData:
    """The order of a purchase as it is at `now_ms`, in event time."""
    story = _Story(one, random.Random(f"{seed}/order/{one.name}"))  # noqa: S311 - a simulation
    status = story.status(now_ms)
    return OrderData(
        order_id=one.order_id, user_id=one.user, status=status, currency=CURRENCY, value=story.value,
        lines=tuple(shelves.line(line.item_id, line) for line in one.lines), placed_at=instant(one.time_ms),
        shipment=story.shipment(now_ms) if status != "cancelled" else None, refund=story.refund(now_ms),
    )  # fmt: skip


class _Story:
    """All that will ever happen to an order: everything is drawn at once, whatever the time is."""

    def __init__(self, one: Bought, rng: random.Random) -> None:
        def after(start_ms: float, hours: tuple[float, float]) -> int:
            return int(start_ms + rng.uniform(*hours) * HOUR_MS)

        self.value = round(sum(line.price * line.quantity for line in one.lines), 2)
        self._paid_ms, self._packed_ms = after(one.time_ms, PAID_H), after(one.time_ms, PACKED_H)
        self._shipped_ms = after(one.time_ms, SHIPPED_H)
        self._expected_ms = after(self._shipped_ms, ON_THE_WAY_H)
        late_ms = after(self._expected_ms, LATE_H)
        self._delivered_ms = late_ms if rng.random() < LATE_SHARE else self._expected_ms
        self._carrier = rng.choice(CARRIERS)
        self._tracking_id = f"{self._carrier[0]}{rng.randrange(10**9, 10**10)}"
        end = rng.random()
        self._cancelled_ms = self._returned_ms = self._asked_ms = None
        if end < CANCELLED_SHARE:
            self._cancelled_ms = self._asked_ms = self._packed_ms
        elif end < CANCELLED_SHARE + RETURNED_SHARE:
            self._returned_ms = self._asked_ms = after(self._delivered_ms, RETURNED_H)
        elif end < CANCELLED_SHARE + RETURNED_SHARE + REFUNDED_SHARE:
            self._asked_ms = after(self._delivered_ms, COMPLAINED_H)
        is_whole = self._cancelled_ms is not None or self._returned_ms is not None
        self._amount = self.value if is_whole else round(self.value * rng.uniform(0.1, 0.5), 2)
        self._refunds: tuple[tuple[int, RefundStatus], ...] = ()
        if self._asked_ms is not None:
            decided_ms = after(self._asked_ms, APPROVED_H)
            is_declined = rng.random() < DECLINED_SHARE and not self._cancelled_ms
            self._refunds = ((self._asked_ms, "requested"), (decided_ms, "declined")) if is_declined else (
                (self._asked_ms, "requested"), (decided_ms, "approved"), (after(self._asked_ms, REPAID_H), "paid"),
            )  # fmt: skip

    def status(self, now_ms: int) -> OrderStatus:
        return [status for time_ms, status in self._statuses() if time_ms <= now_ms][-1]

    def _statuses(self) -> Iterator[tuple[int, OrderStatus]]:
        """In order of time."""
        yield -(2**62), "placed"
        yield self._paid_ms, "paid"
        if self._cancelled_ms is not None:
            yield self._cancelled_ms, "cancelled"
            return
        yield self._packed_ms, "packed"
        yield self._shipped_ms, "shipped"
        yield int(self._delivered_ms - OUT_H * HOUR_MS), "out_for_delivery"
        yield self._delivered_ms, "delivered"
        if self._returned_ms is not None:
            yield self._returned_ms, "returned"

    def shipment(self, now_ms: int) -> Shipment | None:
        """When it is expected is only told of what is late.

        Whoever answers knows the real time, by which every day of a replay is long past: else nothing would be in time.
        """
        if now_ms < self._shipped_ms:
            return None
        arrived = now_ms >= self._delivered_ms
        is_late = not arrived and now_ms >= self._expected_ms + DAY_MS
        return Shipment(
            carrier=self._carrier, tracking_id=self._tracking_id, shipped_at=instant(self._shipped_ms),
            expected_at=instant(self._expected_ms) if is_late else None,
            delivered_at=instant(self._delivered_ms) if arrived else None,
        )  # fmt: skip

    def refund(self, now_ms: int) -> OrderRefund | None:
        so_far = [refund for refund in self._refunds if refund[0] <= now_ms]
        if not so_far:
            return None
        updated_ms, status = so_far[-1]
        return OrderRefund(amount=self._amount, status=status, updated_at=instant(updated_ms))
