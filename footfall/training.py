"""What `footfall train recommender` and `footfall evaluate recommender` do: data set in, checkpoint or report out."""

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from footfall.datasets import Dataset
from footfall.progress import progress_of

if TYPE_CHECKING:  # torch takes seconds to import; the command line imports this module
    from model_core.recommender.checkpoint import Checkpoint
    from model_core.recommender.evaluation import Evaluation
    from model_core.recommender.runner import RecommenderRunner
    from model_core.recommender.training import TrainingOptions

DAY_MS = 86_400_000
DEFAULT_MINUTES = 10.0
VALIDATION_DAYS = 30  # held out before the end of training, for the metrics in the checkpoint
VALIDATION_CASES = 3000
VALIDATION_SHARE = 0.4  # of the time budget


def train_recommender(
    dataset: Dataset,
    out: Path,
    *,
    minutes: float = DEFAULT_MINUTES,
    steps: int | None = None,
    seed: int = 0,
    until_ms: int | None = None,
    validate: bool = True,
) -> str:
    """Train on what was sold before `until_ms` (default: the data set's own) and write the checkpoint to `out`.

    `steps` instead of `minutes` makes a run repeatable on one machine, however busy it is. With `validate` 40 % of the
    budget goes to a run that ends 30 days earlier and is scored on those days: its figures are stored with the
    checkpoint, which itself learns from all days. Returns the version.
    """
    from model_core.recommender.checkpoint import save  # noqa: PLC0415 - torch
    from model_core.recommender.runner import RecommenderRunner  # noqa: PLC0415
    from model_core.recommender.training import TrainingOptions  # noqa: PLC0415

    def options(share: float) -> TrainingOptions:
        if steps is not None:
            return TrainingOptions(seed=seed, steps=round(steps * share))
        return TrainingOptions(seed=seed, budget_s=minutes * 60 * share)

    until_ms = dataset.trained_until_ms if until_ms is None else until_ms
    metrics: dict[str, float] = {}
    if validate:
        split_ms = until_ms - VALIDATION_DAYS * DAY_MS
        trial = _train(dataset, split_ms, options(VALIDATION_SHARE), "validation run")
        scored = _evaluate(dataset, RecommenderRunner(trial), split_ms, until_ms, VALIDATION_CASES)
        metrics = {
            f"{metric}_at_10.{method}": round(value.mean, 4)
            for metric, methods in scored.metrics.items()
            for method, value in methods.items()
        }
    checkpoint = _train(dataset, until_ms, options(1 - VALIDATION_SHARE if validate else 1), "training")
    described = msgspec.structs.replace(checkpoint.description, dataset=dataset.name, metrics=metrics)
    saved = save(type(checkpoint)(checkpoint.model, described), out)
    return saved.weights_sha256[:12]


def evaluate_recommender(
    dataset: Dataset, checkpoint: Path, *, json_path: Path | None = None, max_cases: int | None = None
) -> "Evaluation":
    """Score a checkpoint on the baskets after its end of training, beside both baselines; write JSON where asked.

    Raises `CheckpointError` when there is no checkpoint, ValueError when nothing was sold after its end of training.
    """
    from datetime import datetime  # noqa: PLC0415

    from model_core.recommender.runner import RecommenderRunner  # noqa: PLC0415 - torch

    runner = RecommenderRunner.load(checkpoint)
    from_ms = int(datetime.fromisoformat(runner.description.trained_until).timestamp() * 1000)
    result = _evaluate(dataset, runner, from_ms, None, max_cases)
    if json_path is not None:
        json_path.write_bytes(msgspec.json.format(msgspec.json.encode(report_of(result)), indent=2))
    return result


def report_of(result: "Evaluation") -> dict[str, object]:
    """The evaluation under the names that others rely on (the fields of a report)."""
    report: dict[str, object] = {"cases": result.cases}
    report |= {f"{metric}_at_10": {m: v.mean for m, v in by.items()} for metric, by in result.metrics.items()}
    report["se"] = {f"{metric}_at_10": {m: v.se for m, v in by.items()} for metric, by in result.metrics.items()}
    report["paired_difference"] = {f"{metric}_at_10": by for metric, by in result.paired.items()}
    return report


def _train(dataset: Dataset, until_ms: int, options: "TrainingOptions", what: str) -> "Checkpoint":
    from model_core.recommender.training import train  # noqa: PLC0415 - torch

    with progress_of(what) as report:
        return train(
            dataset.log, dataset.catalog, until_ms=until_ms, options=options,
            progress=lambda at: report(at.done, f"step {at.step}, loss {at.loss:.3f}"),
        )  # fmt: skip


def _evaluate(
    dataset: Dataset, runner: "RecommenderRunner", from_ms: int, until_ms: int | None, max_cases: int | None
) -> "Evaluation":
    from model_core.recommender.baselines import Baseline, personal_frequency, popularity_28d  # noqa: PLC0415
    from model_core.recommender.evaluation import evaluate  # noqa: PLC0415 - torch

    log = dataset.log if until_ms is None else dataset.log.before(until_ms)
    baselines: dict[str, Baseline] = {"popularity": popularity_28d(), "personal_frequency": personal_frequency()}
    expected = max_cases or max(1, len(log.between(from_ms, int(log.time_ms[-1]) + 1).basket_starts()) - 1)
    with progress_of("evaluation") as report:
        return evaluate(
            runner, baselines, log, from_ms=from_ms, max_cases=max_cases,
            progress=lambda cases: report(min(1, cases / expected), f"{cases} baskets"),
        )  # fmt: skip
