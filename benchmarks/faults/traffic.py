"""What is sent: clicks and purchases made from a seed, poison among them when asked. Knows no Kafka and no faults.

Events are made by number, so that the same input can be made again at the end and its state computed apart.
"""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
from msgspec import Struct

from schemas.topics import CLICKSTREAM, PURCHASES, Topic

KINDS = ("view_item", "select_item", "add_to_cart", "remove_from_cart", "view_item_list", "add_to_wishlist", "purchase",
         "refund")
WEIGHTS = (45, 12, 12, 3, 8, 4, 15, 1)
ITEMS = 2000
STEP = timedelta(milliseconds=7)
LATE_SHARE = 0.02  # of the events come up to an hour late
RAISING_ITEM = "stub-raise"  # benchmarks' stand-in model cannot answer a user who has seen it (model_core/stub.py)
BREAKING_ITEM = "stub-fault"
POISON = (b"nope", b"", b'{"specversion":"1.0"}', b"\xff\xfe{\x00}\x00", b"[" * 5000, b'{"data":NaN}', b"x" * 100_000)


class Input(Struct, frozen=True):
    """One record to send. `user` is empty where it calls for no result; `bad`: it calls for a dead letter."""

    topic: Topic
    key: str
    value: bytes
    user: str
    time_ms: int
    bad: bool = False


class Traffic:
    """`events` inputs of `users` users."""

    def __init__(self, run: str, events: int, users: int, seed: int, start: datetime) -> None:
        self.events = events
        self._run = run
        self._users = users
        self._seed = seed
        self._start = start

    @classmethod
    def now(cls, run: str, events: int, users: int, seed: int) -> "Traffic":
        """Event times end now: a clock that runs ahead of the records would not be believed."""
        return cls(run, events, users, seed, datetime.now(UTC) - events * STEP)

    @property
    def users(self) -> list[str]:
        """Those of `inputs`."""
        return [f"{self._run}-{number}" for number in range(self._users)]

    def inputs(self) -> Iterator[Input]:
        """All events, in the order in which they are sent; the same each time."""
        chance, users = random.Random(self._seed), self.users
        for number in range(self.events):
            yield self._event(number, users[chance.randrange(self._users)], chance)

    def _event(self, number: int, user: str, chance: random.Random) -> Input:
        kind = chance.choices(KINDS, WEIGHTS)[0]
        late = timedelta(seconds=chance.randrange(3600)) if chance.random() < LATE_SHARE else timedelta()
        items = chance.sample(range(ITEMS), chance.randint(2, 6) if kind == "purchase" else 1)
        return _input(f"{self._run}-{number:09d}", user, kind, self._start + number * STEP - late,
                      [str(1_000_000 + item) for item in items])

    def raising(self, number: int) -> Input:
        """An event, of a user of its own, that the stand-in model cannot answer: a dead letter and a fallback."""
        name = f"{self._run}-raise-{number}"
        return msgspec.structs.replace(_input(name, name, "view_item", self._start, [RAISING_ITEM]), bad=True)

    def breaking(self, number: int) -> Input:
        """An event, of a user of its own, that breaks the stand-in model's device: a fallback."""
        name = f"{self._run}-break-{number}"
        return _input(name, name, "view_item", self._start, [BREAKING_ITEM])

    def poison(self, number: int) -> Input:
        """A record that is no event."""
        return Input(CLICKSTREAM, f"{self._run}-poison-{number}", POISON[number % len(POISON)], "", 0, bad=True)


def _input(event_id: str, user: str, kind: str, time: datetime, items: list[str]) -> Input:
    sale = kind in {"purchase", "refund"}
    data: dict[str, Any] = {"user_id": user, "items": [{"item_id": item} for item in items], "session_id": f"s-{user}"}
    if sale:
        data |= {"transaction_id": event_id, "currency": "EUR", "value": 9.99}
    text = time.isoformat(timespec="milliseconds")
    value = orjson.dumps({
        "specversion": "1.0", "id": event_id, "source": "benchmarks/faults", "type": f"retail.{kind}.v1",
        "time": f"{text[:-6]}Z", "datacontenttype": "application/json", "data": data,
    })
    time_ms = int(time.timestamp() * 1000)
    return Input(PURCHASES if sale else CLICKSTREAM, user, value, user, time_ms)
