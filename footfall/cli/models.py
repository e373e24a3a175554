"""`footfall train …` and `footfall evaluate …`."""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

from pathlib import Path

import click

from footfall.cli.base import UsersError
from footfall.datasets import NAMES as DATASETS
from schemas.settings import Settings


@click.group()
def train() -> None:
    """Train a model.

    \b
    Example:
      footfall train recommender --minutes 10 --out ./checkpoint
    """


@train.command("recommender")
@click.option("--dataset", type=click.Choice(DATASETS), default=DATASETS[0], show_default=True)
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Default: FOOTFALL_HOME/checkpoints/DATASET."
)
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=10, show_default=True, help="Time budget."
)
@click.option("--steps", type=click.IntRange(min=1), help="Instead of --minutes: repeatable, however busy the machine.")
@click.option("--seed", type=int, default=0, show_default=True)
def train_recommender(dataset: str, out: Path | None, minutes: float, steps: int | None, seed: int) -> None:
    """Train the recommender and write a checkpoint, with the figures of a validation run.

    \b
    Example:
      footfall train recommender --minutes 10 --out ./checkpoint
    """
    from footfall import datasets, training
    from model_core.recommender.training import TrainingError

    out = out or Settings.from_environment().home / "checkpoints" / dataset
    try:
        version = training.train_recommender(datasets.load(dataset), out, minutes=minutes, steps=steps, seed=seed)
    except TrainingError as error:
        raise UsersError(str(error)) from error
    click.echo(f"version {version} in {out}; serve it: footfall worker --models recommender --checkpoint {out} …")


@click.group()
def evaluate() -> None:
    """Measure a model beside its baselines.

    \b
    Example:
      footfall evaluate recommender --json result.json
    """


@evaluate.command("recommender")
@click.option("--dataset", type=click.Choice(DATASETS), default=DATASETS[0], show_default=True)
@click.option(
    "--checkpoint", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Default: the demo's own."
)
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures as JSON.")
def evaluate_recommender(dataset: str, checkpoint: Path | None, json_file: Path | None) -> None:
    """Score what customers bought after the training: the model, popularity, personal frequency.

    \b
    Example:
      footfall evaluate recommender --checkpoint ./checkpoint --json result.json
    """
    from footfall import datasets, training
    from model_core.registry import DEMO_CHECKPOINT
    from model_core.runner import CheckpointError

    try:
        result = training.evaluate_recommender(
            datasets.load(dataset), checkpoint or DEMO_CHECKPOINT, json_path=json_file
        )
    except CheckpointError as error:
        raise UsersError(str(error)) from error
    click.echo(f"{result.cases} baskets, best 10, mean ± standard error")
    for metric, methods in result.metrics.items():
        figures = "  ".join(f"{method} {value.mean:.4f} ± {value.se:.4f}" for method, value in methods.items())
        click.echo(f"{metric:<9} {figures}")
