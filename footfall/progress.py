"""How far long work is: a bar on a terminal, a line at every tenth elsewhere. Both on stderr: stdout is for results."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Report = Callable[[float, str], None]
"""How far a run is (0 to 1), and one line about it."""


@contextmanager
def progress_of(what: str) -> Iterator[Report]:
    """Tell of this work for as long as the block runs."""
    if sys.stderr.isatty():
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[line]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=1.0, line="preparing")
            yield lambda done, line: bar.update(task, completed=done, line=line)
        return
    told = -1

    def tell(done: float, line: str) -> None:
        nonlocal told
        if int(done * 10) > told:
            told = int(done * 10)
            print(f"{what}: {done:.0%}, {line}", file=sys.stderr, flush=True)

    print(f"{what}: preparing", file=sys.stderr, flush=True)
    yield tell
