"""`footfall stack up|exec|status|down`: a stack in the foreground, around a command, or of another terminal.

`up` leaves a state file in FOOTFALL_HOME, where `status` and `down` find it; a lock beside it tells whether it is true.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click
import msgspec
from msgspec import Struct

from footfall import guard
from footfall.stack.locks import is_locked, try_lock
from footfall.stack.stack import Broker, Cache, Stack, StackError
from schemas.settings import Settings

STOP_WITHIN_S = 30.0


class StackState(Struct, frozen=True):
    """What `up` tells other terminals."""

    pid: int
    directory: str
    broker: Broker
    cache: Cache
    servers: dict[str, int]
    environment: dict[str, str]


def up(settings: Settings, directory: Path | None, say: Callable[[str], None] = click.echo) -> int:
    """Run a stack until SIGTERM or Ctrl-C; its data stays in `directory` (default: FOOTFALL_HOME/stack).

    Raises StackError when it cannot start, or when one of its servers ends.
    """
    home = settings.home.expanduser()
    home.mkdir(parents=True, exist_ok=True)
    lock = try_lock(_lock_file(home))
    if lock is None:
        raise StackError("a stack is up already: see `footfall stack status`; `footfall stack down` ends it")
    signal.signal(signal.SIGTERM, _interrupt)
    with lock:
        directory = (directory or home / "stack").expanduser().absolute()
        _state_file(home).unlink(missing_ok=True)  # of an `up` that was killed
        try:
            with Stack(settings, directory) as stack:
                state = _state(stack, directory)
                _state_file(home).write_bytes(msgspec.json.format(msgspec.json.encode(state)))
                say(describe(state))
                say("Ctrl-C ends it.")
                while (failure := stack.failure()) is None:
                    time.sleep(0.3)
                raise StackError(failure)
        except KeyboardInterrupt:
            return 0
        finally:
            _state_file(home).unlink(missing_ok=True)


def execute(settings: Settings, command: Sequence[str]) -> int:
    """Run a command with a stack around it; its exit code, as a shell would show it.

    Raises StackError when the stack cannot start or there is no such command.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with Stack(settings) as stack:
        try:
            child = subprocess.Popen(
                command,
                env={**os.environ, **stack.environment(), "PATH": _path_with_ours()},
                preexec_fn=partial(guard.die_with_parent, signal.SIGTERM),  # noqa: PLW1509  there is one thread
            )
        except OSError as error:
            raise StackError(f"cannot run {shlex.join(command)}: {error.strerror}") from error
        signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C reached the child too: it decides what that means
        signal.signal(signal.SIGTERM, lambda *_: child.terminate())
        return guard.exit_code(child.wait())


def status(settings: Settings) -> StackState | None:
    """Return the stack that `up` runs for this FOOTFALL_HOME, or None."""
    home = settings.home.expanduser()
    if not is_locked(_lock_file(home)):
        return None
    try:
        return msgspec.json.decode(_state_file(home).read_bytes(), type=StackState)
    except FileNotFoundError:
        raise StackError("a stack is starting or stopping: ask again in a moment") from None


def down(settings: Settings) -> bool:
    """End the stack that `up` runs; False when there is none. Raises StackError when it does not end."""
    state = status(settings)
    if state is None:
        return False
    os.kill(state.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_WITHIN_S
    while is_locked(_lock_file(settings.home.expanduser())):
        if time.monotonic() > deadline:
            raise StackError(f"the stack (pid {state.pid}) did not end within {STOP_WITHIN_S:g} s: kill -9 {state.pid}")
        time.sleep(0.05)
    return True


def describe(state: StackState) -> str:
    """What runs, what it cannot do, and how to connect."""
    lines = [
        f"broker: {state.broker.kind} {state.broker.version}",
        *(f"  note: {limit}" for limit in state.broker.limits),
        f"cache:  {state.cache.kind} {state.cache.version}",
        f"data and logs: {state.directory}",
        "connect another terminal with:",
        exports(state),
    ]
    return "\n".join(lines)


def exports(state: StackState) -> str:
    """Shell lines for another terminal."""
    return "\n".join(f"export {name}={shlex.quote(value)}" for name, value in state.environment.items())


def _state(stack: Stack, directory: Path) -> StackState:
    # of the settings only what the stack decides: no passwords in files
    names = ("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "FOOTFALL_SESSION_TIMEOUT_S", "FOOTFALL_FETCH_MAX_WAIT_MS")
    environment = {name: stack.environment()[name] for name in names}
    return StackState(os.getpid(), str(directory), stack.broker, stack.cache, stack.pids, environment)


def _state_file(home: Path) -> Path:
    return home / "stack.json"


def _lock_file(home: Path) -> Path:
    return home / "stack.lock"


def _path_with_ours() -> str:
    """PATH, then our own directory: `footfall` is found inside `stack exec` where its .venv is not activated."""
    return f"{os.environ.get('PATH', os.defpath)}{os.pathsep}{Path(sys.executable).parent}"


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt
