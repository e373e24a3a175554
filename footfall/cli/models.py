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


@train.command("encoder")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Default: FOOTFALL_HOME/checkpoints/intents."
)
@click.option("--encoder", default="", metavar="MODEL", help="A folder or a Hugging Face id (default: the package's).")
@click.option("--seed", type=int, default=0, show_default=True)
def train_encoder(out: Path | None, encoder: str, seed: int) -> None:
    """Train what tells the intents of support messages apart, from the customers' wordings in English and Chinese.

    \b
    Example:
      footfall train encoder --out ./intents
    """
    from footfall.support import training
    from model_core.encoder.training import TrainingError
    from model_core.runner import CheckpointError

    out = out or Settings.from_environment().home / "checkpoints" / "intents"
    try:
        version = training.train_encoder(out, encoder=encoder, seed=seed)
    except (CheckpointError, TrainingError) as error:
        raise UsersError(str(error)) from error
    click.echo(f"version {version} in {out}; serve it: footfall worker --models encoder,replier --head {out} …")


@train.command("replier")
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="Default: FOOTFALL_HOME/checkpoints/replier."
)
@click.option("--replier", default="", metavar="MODEL", help="A folder or a Hugging Face id (default: SmolLM2).")
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=40, show_default=True, help="Time budget."
)
@click.option("--steps", type=click.IntRange(min=1), help="Instead of --minutes: repeatable, however busy the machine.")
@click.option("--seed", type=int, default=0, show_default=True)
def train_replier(out: Path | None, replier: str, minutes: float, steps: int | None, seed: int) -> None:
    """Train an adapter with which a language model answers support messages, from generated grounded dialogues.

    \b
    Examples:
      footfall train replier --minutes 40 --out ./adapter
      FOOTFALL_DEVICE=cuda:0 footfall train replier --replier Qwen/Qwen3-0.6B --steps 2000 --out ./adapter
    """
    from footfall.support import training
    from model_core.replier.training import TrainingError
    from model_core.runner import CheckpointError

    settings = Settings.from_environment()
    out = out or settings.home / "checkpoints" / "replier"
    try:
        learned = training.train_replier(
            out, cache=settings.home, replier=replier, minutes=minutes, steps=steps, seed=seed, device=settings.device
        )
    except (CheckpointError, TrainingError) as error:
        raise UsersError(str(error)) from error
    of = f"--replier {replier} " if replier else ""
    click.echo(f"{learned} dialogues; serve it: footfall worker --models encoder,replier {of}--adapter {out} …")


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


@evaluate.command("replier")
@click.option("--cases", "count", type=click.IntRange(min=1), default=1000, show_default=True, help="Messages.")
@click.option(
    "--bitext", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Messages that others wrote: a CSV with instruction, intent, entity_type, start_offset, end_offset (.gz).",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of customers, orders and the choice of messages.")
@click.option("--together", type=click.IntRange(min=1), default=4, show_default=True, help="At a time.")
@click.option("--head", type=click.Path(exists=True, file_okay=False), help="Of the encoder (default: the package's).")
@click.option("--adapter", type=click.Path(exists=True, file_okay=False), help="Of the replier (default: likewise).")
@click.option("--details", type=click.Path(dir_okay=False, path_type=Path), help="Write every case and its reply here.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures as JSON.")
def evaluate_replier(
    count: int, bitext: Path | None, seed: int, together: int, head: str | None, adapter: str | None,
    details: Path | None, json_file: Path | None,
) -> None:  # fmt: skip
    """Score replies to held-out messages and to attacks: truth, disclosures, actions, hand-overs, model share, time.

    Customers and orders are simulated. A checker that knows nothing of the guard reads every reply, and also the texts
    that the guard refused.

    \b
    Example:
      footfall evaluate replier --cases 1000 --bitext bitext.csv.gz --json result.json
    """
    import msgspec

    from footfall.stack import StackError
    from footfall.support import evaluate as evaluation

    options = [word for name, value in (("--head", head), ("--adapter", adapter)) if value for word in (name, value)]
    try:
        asked = evaluation.chosen(count, bitext, seed)
        result, judged = evaluation.evaluate_replier(
            Settings.from_environment(), asked, together=together, worker_options=options
        )
    except (KeyError, UnicodeDecodeError) as error:
        raise UsersError(f"{bitext} is not as `--help` says: {error}") from error
    except StackError as error:
        raise UsersError(str(error)) from error
    for file, content in ((json_file, result), (details, [evaluation.detail(one) for one in judged])):
        if file is not None:
            file.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=2))
    click.echo(evaluation.as_text(result))
