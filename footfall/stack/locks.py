"""A lock on a directory that ends with its process, however that ends."""

import fcntl
from pathlib import Path
from typing import IO


def try_lock(file: Path) -> IO[str] | None:
    """Hold the file for as long as the result stays open; None when another process holds it."""
    opened = file.open("w")
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        opened.close()
        return None
    return opened


def is_locked(file: Path) -> bool:
    """Whether a process holds the file."""
    if not file.exists():
        return False
    held = try_lock(file)
    if held is None:
        return True
    held.close()
    return False
