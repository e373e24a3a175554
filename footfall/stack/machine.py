"""What engines are looked for in: the environment, installed packages, PATH, Java. Tests give their own."""

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


def package_file(package: str, inside: str) -> Path | None:
    """A file that an installed package brings, without importing the package."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    file = Path(next(iter(spec.submodule_search_locations)), inside)
    return file if file.is_file() else None


def java_major(path: str) -> int | None:
    """The major version that this `java` reports, or None when it does not run."""
    try:
        ran = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return parse_java_major(ran.stderr + ran.stdout)


def parse_java_major(text: str) -> int | None:
    """`openjdk version "17.0.15" …` is 17; `java version "1.8.0_392"` is 8."""
    found = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(found.group(1)) if found else None


@dataclass(frozen=True)
class Machine:
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    package_file: Callable[[str, str], Path | None] = package_file  # (package, path inside) -> the file, if installed
    which: Callable[[str], str | None] = shutil.which
    java_major: Callable[[str], int | None] = java_major
