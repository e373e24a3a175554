"""The two baselines of the demo, asked before each purchase as the model is, and told of it after it was sent."""

from collections.abc import Mapping, Sequence

from footfall.replay.scoring import Method
from model_core.recommender.baselines import PersonalFrequency, popularity_28d

HALF_LIFE_DAYS = 120
DEPTH = 40  # ranked items: enough that ten of them are available


class DemoBaselines:
    """Popularity of the last 28 days, and recency-weighted personal frequency."""

    def __init__(self) -> None:
        self._popularity = popularity_28d()
        self._personal = PersonalFrequency(HALF_LIFE_DAYS, self._popularity)  # it tells the other

    def observe(self, user: str, items: Sequence[str], time_ms: int) -> None:
        self._personal.observe(user, items, time_ms)

    def ranked(self, user: str, now_ms: int) -> Mapping[Method, Sequence[str]]:
        return {
            "popularity": self._popularity.top(user, now_ms, DEPTH),
            "personal_frequency": self._personal.top(user, now_ms, DEPTH),
        }
