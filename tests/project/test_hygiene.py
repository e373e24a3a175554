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


def test_files_are_short() -> None:
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in FILES}
    assert statistics.median(lengths.values()) <= 150
    long = {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 350}
    assert len(long) <= len(FILES) // 20, f"split these: {long}"


def test_every_module_says_what_it_is_for() -> None:
    silent = [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))]
    assert not silent


def test_every_dependency_is_locked_to_what_is_tested_here() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    requirements = [
        Requirement(text)
        for texts in (project["dependencies"], *project["optional-dependencies"].values())
        for text in texts
    ]
    asked = {
        canonicalize_name(requirement.name)
        for requirement in requirements if requirement.marker is None or requirement.marker.evaluate()
    } - {"footfall"}
    lines = (line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if not line.startswith("#"))
    locked = {canonicalize_name(name): version for name, _, version in (line.partition("==") for line in lines)}
    assert asked <= locked.keys(), f"install {asked - locked.keys()}, test, then `make lock`"
    tested = {name: Version(metadata.version(name)).public for name in asked}
    assert tested == {name: locked[name] for name in asked}, "install the locked versions, or `make lock` to move them"
