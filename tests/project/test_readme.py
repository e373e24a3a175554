"""The README tells the truth where a machine can check it."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[2]


def _file_tree() -> ModuleType:
    spec = importlib.util.spec_from_file_location("file_tree", ROOT / "docs" / "file_tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_tree_is_current() -> None:
    file_tree = _file_tree()
    assert file_tree.readme_with(file_tree.tree()) == file_tree.README.read_text(), "run `make tree`"


def test_every_file_has_a_line_that_says_what_it_is() -> None:
    for line in _file_tree().tree().splitlines():
        assert len(line.split(None, 1)) == 2, line


def test_every_local_link_leads_somewhere() -> None:
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_every_setting_of_the_environment_is_in_the_table() -> None:
    settings = (ROOT / "schemas" / "settings.py").read_text()
    readme = (ROOT / "README.md").read_text()
    names = set(re.findall(r'"((?:KAFKA|REDIS|FOOTFALL)_[A-Z_]+)"', settings))
    assert len(names) > 10
    assert {name for name in names if f"`{name}`" not in readme} == set()
