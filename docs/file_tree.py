"""Prints the README's file tree: a line per file, the first sentence of its docstring. `make tree` puts it there."""

import ast
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("schemas", "agents", "model_core", "footfall", "benchmarks")
README, BEGIN, END = ROOT / "README.md", "<!-- tree -->\n```\n", "```\n<!-- end of tree -->\n"


def first_sentence(path: Path) -> str:
    """What the file says of itself."""
    text = path.read_text()
    said = text.split("\n", 1)[0].removeprefix("-- ") if path.suffix == ".lua" else ast.get_docstring(ast.parse(text))
    return re.split(r"(?<=[.!?:])\s", " ".join((said or "").split("\n\n")[0].split()))[0].rstrip(":")


def tree() -> str:
    """The tree as text."""
    lines = []
    for top in FOLDERS:
        for folder in sorted({path.parent for path in (ROOT / top).rglob("*.py")}):
            depth = len(folder.relative_to(ROOT).parts)
            files = [*folder.glob("*.py"), *folder.glob("*.lua")]
            for path in sorted(files, key=lambda path: (path.name != "__init__.py", path.name)):
                is_folder = path.name == "__init__.py"
                name = f"{folder.relative_to(ROOT)}/" if is_folder else f"{'  ' * depth}{path.name}"
                lines.append(f"{name:<28}{first_sentence(path)}\n")
    return "".join(lines)


def readme_with(text: str) -> str:
    """The README with this tree between its marks."""
    before, _, rest = README.read_text().partition(BEGIN)
    return before + BEGIN + text + END + rest.partition(END)[2]


if __name__ == "__main__":
    if "--write" in sys.argv:
        README.write_text(readme_with(tree()))
    else:
        sys.stdout.write(tree())
