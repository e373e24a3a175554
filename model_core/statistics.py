"""What a worker has done since its models were ready: counts, sizes and times. Knows nothing of sockets and threads."""

from dataclasses import dataclass, field

from model_core.batching.pipeline import Ran
from schemas.inference import ModelRuns


@dataclass(slots=True)
class _Runs:
    batches: int = 0
    requests: int = 0
    tokens: int = 0
    padded_tokens: int = 0
    collate_s: float = 0.0
    forward_s: float = 0.0
    reply_s: float = 0.0


@dataclass(slots=True)
class Statistics:
    """Counts, to be raised by who sees what is counted."""

    failures: int = 0
    shed: int = 0
    ignored: int = 0
    _runs: dict[str, _Runs] = field(default_factory=dict)

    def ran(self, ran: Ran) -> None:
        """Count a batch."""
        runs = self._runs.setdefault(ran.model, _Runs())
        runs.batches += 1
        runs.requests += ran.requests
        runs.tokens += ran.tokens
        runs.padded_tokens += ran.requests * ran.length
        runs.collate_s += ran.collate_s
        runs.forward_s += ran.forward_s
        runs.reply_s += ran.reply_s

    @property
    def batches(self) -> int:
        return sum(runs.batches for runs in self._runs.values())

    @property
    def requests(self) -> int:
        return sum(runs.requests for runs in self._runs.values())

    @property
    def busy_s(self) -> float:
        """How long the device ran batches."""
        return sum(runs.forward_s for runs in self._runs.values())

    def by_model(self) -> tuple[ModelRuns, ...]:
        """Means per batch, of every model that ran."""
        return tuple(_means(model, runs) for model, runs in self._runs.items())


def _means(model: str, runs: _Runs) -> ModelRuns:
    def mean_ms(seconds: float) -> float:
        return 1000 * seconds / runs.batches

    return ModelRuns(
        model=model, batches=runs.batches, requests=runs.requests, mean_batch_size=runs.requests / runs.batches,
        padding_share=1 - min(1.0, runs.tokens / runs.padded_tokens), collate_ms=mean_ms(runs.collate_s),
        forward_ms=mean_ms(runs.forward_s), reply_ms=mean_ms(runs.reply_s),
    )
