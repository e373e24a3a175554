"""A small shop for tests of the simulated orders and messages: its items, and purchases of its customers."""

from footfall.replay.clicks import Shelves
from footfall.replay.enquiries import Enquiries
from footfall.replay.orders import DAY_MS, Bought, Orders
from footfall.replay.trips import Line
from schemas.events import ItemData

START_MS = 1_512_000_000_000
USERS = tuple(f"u{n}" for n in range(8))
SHELVES = Shelves(
    ItemData(item_id=str(n), title=f"Item {n}, 12 oz (store brand)", category="Food", price=1.5 + n) for n in range(9)
)


def purchase(number: int, user: str, time_ms: int) -> Bought:
    lines = tuple(Line(str((number + at) % 9), 1 + at, 1.5 + at) for at in range(1 + number % 3))
    return Bought(str(number), user, time_ms, lines)


def past(days: int = 30, a_day: int = 4) -> list[Bought]:
    """So many purchases a day before the start, in order of time."""
    gap_ms = DAY_MS // a_day
    return [
        purchase(number, USERS[number * 5 % len(USERS)], START_MS - (days * a_day - number) * gap_ms)
        for number in range(days * a_day)
    ]


def enquiries(seed: int = 1) -> Enquiries:
    return Enquiries(Orders(seed, SHELVES, past()), seed)
