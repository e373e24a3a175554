"""`footfall stack …` and `footfall topics …`."""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import sys
from pathlib import Path

import click

from footfall.cli.base import end
from schemas.settings import Settings


@click.group()
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

    end(commands.up(Settings.from_environment(), directory))


@stack.command("exec", context_settings={"ignore_unknown_options": True})
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def stack_exec(command: tuple[str, ...]) -> None:
    """Run COMMAND with a stack that ends with it; KAFKA_BOOTSTRAP_SERVERS and REDIS_URL name it.

    \b
    Example:
      footfall stack exec -- sh -c 'footfall topics create && footfall agents facts recommend'
    """
    from footfall.stack import commands

    end(commands.execute(Settings.from_environment(), command))


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


@click.group()
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
