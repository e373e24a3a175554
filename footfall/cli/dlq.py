"""`footfall dlq …`."""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import asyncio

import click

from footfall.cli.base import UsersError, end
from schemas.settings import Settings


@click.group()
def dlq() -> None:
    """See the records that could not be processed, and send them again once the reason is mended.

    TOPIC is where they came from: clickstream, purchases, catalog or inventory, or the full name. The dead letters are
    on <topic>.dlq.

    \b
    Examples:
      footfall dlq list clickstream
      footfall dlq show clickstream 3 17
      footfall dlq retry clickstream
    """


@dlq.command("list")
@click.argument("topic")
@click.option("--limit", type=click.IntRange(min=1), default=100, show_default=True, help="At most the N newest.")
def dlq_list(topic: str, limit: int) -> None:
    """List dead letters, newest last, and count them by exception. LETTER and SOURCE are partition/offset.

    RETRIED is the place that the record was sent to again. `failed again`: what a retry sent was bad still.

    \b
    Examples:
      footfall dlq list clickstream
      footfall dlq list retail.purchases.v1 --limit 1000
    """
    from footfall.dlq import listing
    from footfall.dlq_reader import source_topic

    settings = Settings.from_environment()
    click.echo(asyncio.run(listing(settings, source_topic(topic, settings.prefix), limit)))


@dlq.command("show")
@click.argument("topic")
@click.argument("partition", type=click.IntRange(min=0))
@click.argument("offset", type=click.IntRange(min=0))
@click.option("--value", "with_value", is_flag=True, help="The record's value too: it may hold personal data.")
def dlq_show(topic: str, partition: int, offset: int, *, with_value: bool) -> None:
    """Show one dead letter with all headers and the stack trace. PARTITION and OFFSET are the dead letter's own.

    The value is shown only with --value, as it may hold personal data. The key is shown: on some topics it is the user.

    \b
    Examples:
      footfall dlq show clickstream 3 17
      footfall dlq show clickstream 3 17 --value
    """
    from footfall.dlq import showing
    from footfall.dlq_reader import source_topic

    settings = Settings.from_environment()
    source = source_topic(topic, settings.prefix)
    click.echo(asyncio.run(showing(settings, source, partition, offset, with_value=with_value)))


@dlq.command("retry")
@click.argument("topic")
@click.option("--partition", type=click.IntRange(min=0), help="Of one dead letter, with --offset.")
@click.option("--offset", type=click.IntRange(min=0), help="Of one dead letter, with --partition.")
def dlq_retry(topic: str, partition: int | None, offset: int | None) -> None:
    """Send the source records again, each once: a second retry sends nothing. Exit code 1 when some cannot be.

    Without --partition and --offset: all but those that failed again after a retry. The source record is read again and
    keeps its id, so an event that was processed before changes nothing. A header footfall.retry.of is added. What the
    source topic has dropped since (retention) is counted as gone.

    \b
    Examples:
      footfall dlq retry clickstream
      footfall dlq retry clickstream --partition 3 --offset 17
    """
    from footfall.dlq_reader import source_topic
    from footfall.dlq_retry import retry

    settings = Settings.from_environment()
    source = source_topic(topic, settings.prefix)
    if (partition is None) != (offset is None):
        raise UsersError("--partition and --offset go together: they name one dead letter")
    chosen = None if partition is None or offset is None else (partition, offset)
    report = asyncio.run(retry(settings, source, chosen))
    click.echo(str(report))
    end(1 if report.gone or report.refused else 0)
