"""What the ledger saw answered in a while, and the arithmetic of rates. Pure: no clock, no Kafka."""

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from footfall.ledger import Latency, Ledger, percentiles


class Answers(Struct, frozen=True):
    """Results that were the first to answer something, by who made them, and events by the ms until they were answered.

    What latency is, is the ledger's: from when an event was handed to the producer to its result's record.
    """

    model_results: int
    fallback_results: int
    model_ms: Counter[int]
    fallback_ms: Counter[int]

    @classmethod
    def until_now(cls, ledger: Ledger) -> "Answers":
        """All so far."""
        model, fallback = ledger.by_model, ledger.by_fallback
        return cls(model.results, fallback.results, model.latency_counts.copy(), fallback.latency_counts.copy())

    def since(self, earlier: "Answers") -> "Answers":
        """What came in between."""
        return Answers(
            self.model_results - earlier.model_results, self.fallback_results - earlier.fallback_results,
            self.model_ms - earlier.model_ms, self.fallback_ms - earlier.fallback_ms,
        )

    @property
    def results(self) -> int:
        return self.model_results + self.fallback_results

    @property
    def events(self) -> int:
        return self.model_ms.total() + self.fallback_ms.total()

    @property
    def results_per_event(self) -> float:
        """1 where no two events were answered by one result."""
        return self.results / max(1, self.events)

    @property
    def model_share(self) -> float:
        """Of the results."""
        return self.model_results / max(1, self.results)

    @property
    def latency(self) -> Latency:
        return percentiles(self.model_ms + self.fallback_ms)

    def within(self, ms: float) -> float:
        """The share of the events that were answered in so many ms."""
        return sum(count for took, count in (self.model_ms + self.fallback_ms).items() if took <= ms) / max(
            1, self.events
        )


def steady_eps(samples: Sequence[tuple[float, int]], drop_s: float) -> float:
    """Events per second from samples (seconds, events so far), without the first and last `drop_s` of their time.

    Raises ValueError where nothing is left.
    """
    first_s, last_s = samples[0][0] + drop_s, samples[-1][0] - drop_s
    kept = [sample for sample in samples if first_s <= sample[0] <= last_s]
    if len(kept) < 2:
        raise ValueError(f"it was over in {samples[-1][0] - samples[0][0]:.1f} s: there is no steady state to measure")
    (start_s, start), (end_s, end) = kept[0], kept[-1]
    return (end - start) / (end_s - start_s)
