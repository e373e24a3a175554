"""`footfall worker …`: run a model worker, or ask one that runs."""
# ruff: noqa: D301, PLC0415  click takes \b for a block to leave as it is; late imports keep `footfall --help` fast

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from footfall.cli.base import UsersError, end
from schemas.control import MIN_OVERLAP
from schemas.settings import Settings

control_option = click.option(
    "--control", required=True, metavar="ENDPOINT", help="As the worker was started with --control."
)


@click.group(invoke_without_command=True)
@click.option("--models", help="Which models, comma-separated: recommender, encoder, replier.")
@click.option("--listen", metavar="ENDPOINT", help="Where agents connect: ipc://… or tcp://….")
@click.option("--control", metavar="ENDPOINT", help="Where `stats` and `reload` reach it.")
@click.option("--device", help="cpu, cuda:0 (default: FOOTFALL_DEVICE, else cpu).")
@click.option("--device-cpu", metavar="CORES", help="Of the thread that runs the models: 0, or 2,3.")
@click.option("--checkpoint", type=click.Path(exists=True, file_okay=False), help="Default: the demo's own.")
@click.option("--encoder", metavar="MODEL", help="A folder or a Hugging Face id (default: from its package).")
@click.option("--head", type=click.Path(exists=True, file_okay=False), help="Of the encoder: the intents it tells.")
@click.option("--replier", metavar="MODEL", help="A folder or a Hugging Face id (default: SmolLM2 from its package).")
@click.option("--adapter", type=click.Path(exists=True, file_okay=False), help="Of the replier: a LoRA of peft.")
@click.option(
    "--retrieval", type=click.Choice(["auto", "exact", "approximate"]),
    help="Default: a scan, or an index where the catalogue is too large for that.",
)
@click.pass_context
def worker(
    context: click.Context, models: str | None, listen: str | None, control: str | None, device: str | None,
    device_cpu: str | None, checkpoint: str | None, encoder: str | None, head: str | None, replier: str | None,
    adapter: str | None, retrieval: str | None,
) -> None:
    """Run a model worker, one process per device; or ask one that runs.

    \b
    Examples:
      footfall worker --models recommender --listen ipc:///tmp/footfall.sock
      footfall worker --models recommender --listen tcp://127.0.0.1:5555 --device cuda:0
      footfall worker --models recommender --listen ipc:///tmp/footfall.sock --device-cpu 0
      footfall worker --models recommender --listen ipc:///tmp/w --control ipc:///tmp/c
      footfall worker --models encoder,replier --listen ipc:///tmp/s
      footfall worker --models encoder,replier --replier Qwen/Qwen3-0.6B --listen ipc:///tmp/s
      footfall worker stats --control ipc:///tmp/c
      footfall worker reload --control ipc:///tmp/c --checkpoint ./checkpoint
    """
    if context.invoked_subcommand is not None:
        return
    for option, value in (("--models", models), ("--listen", listen)):
        if value is None:
            raise click.UsageError(f"Missing option '{option}'.")
    arguments = {
        "--models": models,
        "--listen": listen,
        "--control": control,
        "--device": device or Settings.from_environment().device,
        "--device-cpu": device_cpu,
        "--checkpoint": checkpoint,
        "--encoder": encoder,
        "--head": head,
        "--replier": replier,
        "--adapter": adapter,
        "--retrieval": retrieval,
    }
    # the worker has the process to itself: it ends without waiting for threads of a broken device
    os.execv(  # noqa: S606  no shell is wanted
        sys.executable, [sys.executable, "-m", "model_core", *_options(arguments.items())]
    )


@worker.command("stats")
@control_option
@click.option("--json", "as_json", is_flag=True, help="As JSON, with all that the worker counts.")
@click.option("--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True)
def worker_stats(control: str, timeout_s: float, *, as_json: bool) -> None:
    """Print what a worker has done since its models were ready, and what it does now.

    \b
    Examples:
      footfall worker stats --control ipc:///tmp/c
      footfall worker stats --control ipc:///tmp/c --json
    """
    from footfall import worker_stats as rendering
    from model_core.control import WorkerUnreachable, query_stats

    try:
        stats = query_stats(control, timeout_s)
    except WorkerUnreachable as error:
        raise UsersError(str(error)) from error
    click.echo(rendering.as_json(stats) if as_json else rendering.as_text(stats))


@worker.command("reload")
@control_option
@click.option("--checkpoint", required=True, metavar="DIR", help="The folder, as the worker's machine sees it.")
@click.option("--model", default="recommender", show_default=True)
@click.option("--sha256", default="", metavar="HEX", help="What the weights' SHA-256 must be, or begin with.")
@click.option(
    "--min-overlap", type=click.FloatRange(0, 1), metavar="SHARE", default=MIN_OVERLAP, show_default=True,
    help="Of the items shown for recent requests, how many must stay, else the old checkpoint goes on.",
)
@click.option(
    "--timeout", "timeout_s", type=click.FloatRange(min=0, min_open=True), default=600.0, show_default=True,
    help="Seconds to wait for it.",
)
def worker_reload(
    control: str, checkpoint: str, model: str, sha256: str, min_overlap: float, timeout_s: float
) -> None:
    """Have a worker serve another checkpoint, without a pause.

    It is read, verified and tried on the latest requests beside the one in service, and takes over between two batches.
    Exit code 1 when it does not: then the old one goes on, and the reason is printed.

    \b
    Examples:
      footfall worker reload --control ipc:///tmp/c --checkpoint ./checkpoint
      footfall worker reload --control ipc:///tmp/c --checkpoint /models/2026-12-01 --sha256 1f0c2d…
    """
    from model_core.control import ReloadFailed, WorkerUnreachable, reload_model
    from schemas.control import Reload

    asked = Reload(model=model, path=str(Path(checkpoint).absolute()), sha256=sha256, min_overlap=min_overlap)
    try:
        done = reload_model(control, asked, timeout_s)
    except WorkerUnreachable as error:
        raise UsersError(str(error)) from error
    except ReloadFailed as error:
        click.echo(f"footfall: not reloaded, the old checkpoint goes on: {error}", err=True)
        end(1)
    click.echo(
        f"{done.model} is {done.version} now, was {done.previous}; overlap {done.overlap:.2f}, {done.took_s:.1f} s"
    )


def _options(pairs: Iterable[tuple[str, str | None]]) -> list[str]:
    return [word for option, value in pairs if value is not None for word in (option, value)]
