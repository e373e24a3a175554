"""The command line. Knows commands and options; what they do lives elsewhere and is imported when a command runs.

An error that the user can set right is one line on stderr and exit code 2, not a stack trace.
"""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import os
import signal
import sys
from pathlib import Path

import click

from footfall.cli.base import Commands, UsersError, end, require_connection, tell
from footfall.cli.dlq import dlq
from footfall.cli.models import evaluate, train
from footfall.cli.rebuild import rebuild
from footfall.cli.stack import stack, topics
from footfall.cli.worker import worker
from footfall.datasets import NAMES as DATASETS
from schemas.settings import Settings

SPEED = "Seconds of event time per second; 0: as fast as it goes."
CAPABILITIES = ("facts", "recommend")
AGENTS_GRACE_S = 35.0  # they end themselves before: STOP_WITHIN_S in agents/liveness.py


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


for command in (stack, topics, worker, train, evaluate, dlq, rebuild):
    cli.add_command(command)


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

    end(run_demo(dataset=dataset, events=events, speed=speed, seed=seed, headless=headless, report=report))


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
    require_connection(f"replay {dataset} --speed {speed:g}")
    from footfall.replay import run_replay

    end(run_replay(dataset=dataset, speed=speed, events=events, seed=seed))


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

    require_connection(f"agents {' '.join(capabilities)}")
    settings = Settings.from_environment()
    if "recommend" in capabilities and not settings.workers:
        raise UsersError("FOOTFALL_WORKERS must be set: the endpoint that `footfall worker --listen` uses")
    processes = [
        Process(
            name=capability, argv=(sys.executable, "-m", "agents", capability), alive_within_s=settings.alive_within_s
        )
        for capability in dict.fromkeys(capabilities)
    ]
    end(asyncio.run(run_until_signal(processes, tell, stop_grace_s=AGENTS_GRACE_S)))


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
