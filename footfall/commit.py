"""Which commit this code is, for reports."""

import subprocess
from pathlib import Path


def git_commit() -> str | None:
    """The commit of the working tree that this file lies in, with "-dirty" where it was changed; None outside one."""
    here = Path(__file__).parent
    try:
        ran = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
            capture_output=True, text=True, timeout=10, check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()
