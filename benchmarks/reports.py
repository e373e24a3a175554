"""What every benchmark's report says of itself, how figures of several rounds are told, and how both are written."""

import json
import math
import os
import platform
import statistics
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from footfall.commit import git_commit
from footfall.stack import Stack


def origin() -> dict[str, Any]:
    """Of which code, and when."""
    return {"git_commit": git_commit() or "unknown", "measured_at": datetime.now(UTC).isoformat(timespec="seconds")}


def surroundings(stack: Stack) -> dict[str, Any]:
    """On which servers, and on what machine."""
    return {
        "broker": msgspec.to_builtins(stack.broker),
        "cache": msgspec.to_builtins(stack.cache),
        "machine": {
            "cpus": os.cpu_count(), "platform": platform.platform(), "python": f"{sys.version} at {sys.executable}",
        },
    }


def spread(values: Sequence[float]) -> dict[str, float]:
    """The least, the median and the greatest of the rounds."""
    ordered = {"min": min(values), "median": statistics.median(values), "max": max(values)}
    return {name: round(value, 2) for name, value in ordered.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def write(report: Mapping[str, Any], file: Path | None) -> None:
    """Write it, if somebody named a file."""
    if file:
        file.write_text(json.dumps(report, indent=2) + "\n")


def say(text: str) -> None:
    """Progress, to stderr."""
    print(text, file=sys.stderr, flush=True)
