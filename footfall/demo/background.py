"""Runs a command with the least claim to the CPU, as in `python -IS background.py ARGV…`: others go first.

Niceness alone does nothing here: Linux groups processes by session where it can (`sched_autogroup`), and gives sessions
equal shares, whatever their processes' niceness; each of ours is a session of its own (`footfall.supervisor`). So the
group is made as nice. Runs as a script with the standard library only, and is imported for `command`.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

NICENESS = 10
GROUP = Path("/proc/self/autogroup")


def command(argv: Sequence[str]) -> tuple[str, ...]:
    """What to start to have `argv` run in the background. It takes this process's place: the pid stays."""
    return (sys.executable, "-IS", __file__, *argv)


def main(argv: Sequence[str]) -> None:
    os.nice(NICENESS)
    with contextlib.suppress(OSError):  # another system, or one that does not group
        GROUP.write_text(str(NICENESS))
    os.execvp(argv[0], list(argv))  # noqa: S606 - the point of it


if __name__ == "__main__":
    main(sys.argv[1:])
