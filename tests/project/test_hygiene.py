"""The shape of the code base, and a lock that is whole."""

import ast
import statistics
import tomllib
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PACKAGES = ("schemas", "agents", "model_core", "footfall", "benchmarks", "tests")
FILES = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
AT_ODDS = {"confluent-kafka", "pydantic", "pydantic-core"}  # what the peers want older


def names(*requirements: list[str]) -> set[str]:
    """What is asked for on this machine."""
    asked = [Requirement(text) for texts in requirements for text in texts]
    found: set[str] = {
        canonicalize_name(requirement.name)
        for requirement in asked if requirement.marker is None or requirement.marker.evaluate()
    }
    return found - {"footfall"}


def lock(path: Path) -> dict[str, str]:
    """Package and version."""
    lines = (line for line in path.read_text("utf-8").splitlines() if not line.startswith("#"))
    return {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert statistics.median(lengths.values()) <= 150
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 350}
    assert len(long) <= len(FILES) // 20, f"split these: {long}"


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


def test_every_dependency_is_locked_to_what_is_tested_here() -> None:
    extras = {name: texts for name, texts in PROJECT["optional-dependencies"].items() if name != "peers"}
    asked = names(PROJECT["dependencies"], *extras.values())
    locked = lock(ROOT / "constraints.txt")
    assert asked <= locked.keys(), f"install {asked - locked.keys()}, test, then `make lock`"
    tested = {name: Version(metadata.version(name)).public for name in asked}
    assert tested == {name: locked[name] for name in asked}, "install the locked versions, or `make lock` to move them"


def test_the_peers_are_locked_apart_and_share_every_version_that_they_can() -> None:
    product, peers = lock(ROOT / "constraints.txt"), lock(ROOT / "benchmarks" / "peers" / "constraints.txt")
    extras = PROJECT["optional-dependencies"]
    assert names(PROJECT["dependencies"], extras["agents"], extras["peers"]) <= peers.keys()
    assert {name for name in product.keys() & peers.keys() if product[name] != peers[name]} == AT_ODDS
