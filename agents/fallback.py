"""What to answer when the model cannot: the last result, else what is popular. And whom the model still owes."""

from collections.abc import Container, Mapping, Sequence
from itertools import islice

import msgspec

from agents.ack_window import Partition
from agents.results import decode_recommendations
from agents.state.store import Debt
from schemas.inference import SEPARATOR
from schemas.results import Reason, RecommendedItem

_encode = msgspec.json.Encoder().encode

MAX_OWED = 50_000  # users; beyond it the oldest keep their fallback until their next event


class Fallback:
    """Knows the popular items and the users to be answered by the model when there is room."""

    def __init__(self) -> None:
        self._popular: dict[str, bytes] = {}
        self._owed: dict[str, Debt] = {}
        self._noted: dict[str, Partition] = {}  # who is noted in Redis, from the first fallback until all is over
        self._over: dict[str, Partition] = {}

    @property
    def popular(self) -> Sequence[str]:
        """Item ids, best first; those that hold a `SEPARATOR`, as no model names any, are left out."""
        return tuple(self._popular)

    @popular.setter
    def popular(self, item_ids: Sequence[str]) -> None:
        self._popular = {
            item_id: _encode(RecommendedItem(item_id, 0.0, Reason("popular")))
            for item_id in item_ids if SEPARATOR not in item_id
        }

    def candidates(self, stored: bytes | None) -> tuple[str, bytes]:
        """Ids and items without a model, as in a `RecommendResult`: the stored result's, then what is popular."""
        last = {item.item_id: _encode(item) for item in decode_recommendations(stored).items} if stored else {}
        items = last | {item_id: line for item_id, line in self._popular.items() if item_id not in last}
        return SEPARATOR.join(items), b"\n".join(items.values())

    def owe(self, user: str, debt: Debt) -> None:
        self._owed.pop(user, None)
        self._owed[user] = debt
        self._noted[user] = debt.partition
        self._over.pop(user, None)
        if len(self._owed) > MAX_OWED:
            oldest = next(iter(self._owed))
            self.cancel(oldest)
            self.settle(oldest)

    def inherit(self, debts: Mapping[str, Debt]) -> None:
        """Take over what the last owner of a partition owed."""
        for user, debt in debts.items():
            if user not in self._owed:
                self.owe(user, debt)

    def due(self, count: int, partitions: Container[Partition], in_flight: Container[str]) -> list[tuple[str, Debt]]:
        """Up to `count` users that were owed the longest and have nothing in flight: that may be their fallback.

        Those of other partitions are dropped: they are not ours any more.
        """
        for user in [user for user, debt in self._owed.items() if debt.partition not in partitions]:
            del self._owed[user], self._noted[user]
        return list(islice(((user, debt) for user, debt in self._owed.items() if user not in in_flight), count))

    def cancel(self, user: str) -> None:
        """Nothing is owed any more: the model answered, or cannot. It may not be sent yet."""
        self._owed.pop(user, None)

    def settle(self, user: str) -> bool:
        """The user's request is over and sent: whoever is not owed any more is to be forgotten. Returns whether so."""
        is_over = user in self._noted and user not in self._owed
        if is_over:
            self._over[user] = self._noted.pop(user)
        return is_over

    def over(self) -> Mapping[str, Partition]:
        """Whom to forget in Redis; tells it once."""
        over, self._over = self._over, {}
        return over

    def __contains__(self, user: object) -> bool:
        return user in self._owed

    def __len__(self) -> int:
        return len(self._owed)

