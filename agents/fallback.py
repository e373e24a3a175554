"""What to answer when the model cannot: the last result, else what is popular. And whom the model still owes."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from agents.ack_window import Partition
from agents.results import decode_recommendations
from schemas.results import Reason, RecommendedItem, Trigger

_encode = msgspec.json.Encoder().encode

MAX_OWED = 50_000  # users; beyond it the oldest keep their fallback until their next event


class Debt(NamedTuple):
    """What is needed to ask the model later for a user who got a fallback.

    `partition`: of the record that it answered. Who owns it answers the user, and nobody else.
    """

    partition: Partition
    session: str | None
    trigger: Trigger
    trigger_time_ms: int
    looked_at: tuple[str, ...]


class Fallback:
    """Knows the popular items and the users to be answered by the model when there is room."""

    def __init__(self) -> None:
        self._popular: dict[str, bytes] = {}
        self._owed: dict[str, Debt] = {}

    @property
    def popular(self) -> Sequence[str]:
        """Item ids, best first."""
        return tuple(self._popular)

    @popular.setter
    def popular(self, item_ids: Sequence[str]) -> None:
        self._popular = {item_id: _encode(RecommendedItem(item_id, 0.0, Reason("popular"))) for item_id in item_ids}

    def candidates(self, stored: bytes | None) -> tuple[list[str], bytes]:
        """Item ids and lines without a model, as in a `RecommendResult`: the stored result's, then what is popular."""
        last = {item.item_id: _encode(item) for item in decode_recommendations(stored).items} if stored else {}
        items = last | {item_id: line for item_id, line in self._popular.items() if item_id not in last}
        return list(items), b"\n".join(items.values())

    def owe(self, user: str, debt: Debt) -> None:
        self._owed.pop(user, None)
        self._owed[user] = debt
        if len(self._owed) > MAX_OWED:
            del self._owed[next(iter(self._owed))]

    def paid(self, user: str) -> None:
        self._owed.pop(user, None)

    def take(self, count: int) -> list[tuple[str, Debt]]:
        """Up to `count` users that were owed the longest."""
        users = [user for user, _ in zip(self._owed, range(count), strict=False)]
        return [(user, self._owed.pop(user)) for user in users]

    def __len__(self) -> int:
        return len(self._owed)

