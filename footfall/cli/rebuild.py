"""`footfall rebuild`."""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import sys

import click

from footfall.cli.base import require_connection
from schemas.settings import Settings


@click.command()
@click.option(
    "--into-existing", is_flag=True,
    help="Also into a Redis that holds users: adds what is missing. Safe for users of at most 1,024 events, which is "
    "how many are remembered and so count once. Of users with more, versions and counters may count events twice.",
)
def rebuild(*, into_existing: bool) -> None:
    """Fill an empty Redis with the users' state that the topics hold.

    Histories, counters, carts, seen ids and versions, from all that clickstream and purchases hold when it starts.
    What their retention has deleted is not in it, so versions may be lower than they were. Nothing is sent or
    committed. Stop the agents before, and start them after: they go on where they were.

    No result is rebuilt: results come with each user's next event. Times to live start anew.

    \b
    Examples:
      footfall rebuild
      REDIS_URL=redis://127.0.0.1:6379/1 footfall rebuild
    """
    require_connection("rebuild")
    import asyncio

    from footfall import rebuild as work

    with click.progressbar(length=0, label="reading the topics", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        done = asyncio.run(work.rebuild(Settings.from_environment(), into_existing=into_existing, progress=progress))
    click.echo(
        f"{done.events:,} events of {done.users:,} users and visitors applied, {done.poison:,} bad records skipped, "
        f"{done.seconds:.1f} s"
    )
