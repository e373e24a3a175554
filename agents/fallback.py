"""What to answer when the model cannot: the last result, else what is popular. And whom the model still owes."""

from collections.abc import Sequence
from typing import NamedTuple

from agents.results import decode_recommendations
from schemas.results import Reason, RecommendedItem, Trigger

MAX_OWED = 50_000  # users; beyond it the oldest keep their fallback until their next event


class Debt(NamedTuple):
    """What is needed to ask the model later for a user who got a fallback."""

    session: str | None
    trigger: Trigger
    trigger_time_ms: int
    looked_at: tuple[str, ...]


class Fallback:
    """Knows the popular items and the users to be answered by the model when there is room."""

    def __init__(self) -> None:
        self.popular: Sequence[str] = ()
        self._owed: dict[str, Debt] = {}

    def items(self, stored: bytes | None) -> list[RecommendedItem]:
        """Candidates without a model: the stored result first, then what is popular."""
        items = {item.item_id: item for item in decode_recommendations(stored).items} if stored else {}
        for item_id in self.popular:
            items.setdefault(item_id, RecommendedItem(item_id, 0.0, Reason("popular")))
        return list(items.values())

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

