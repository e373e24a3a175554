"""The grammar of wordings: templates in, messages out. Pure, besides reading its files.

A file holds a TOML table per intent, also nested ones (`[handover.legal]`), with the arrays `train` and `heldout`. In
a template `(a|b|c)` is one of these, `[a]` or `[a|b]` is one of these or nothing (half of the times), and `{slot}` a
value. Both brackets nest, and an alternative may be empty. All other characters stand for themselves.
"""

import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random
from types import MappingProxyType
from typing import Any, Literal, TypeAlias

WORDINGS = Path(__file__).parent / "wordings"
CLOSING = {"(": ")", "[": "]"}
SPECIAL = frozenset("()[]{}|")
TRIES = 8  # to find a value that no other slot of a message has; lists of values may be short

Split: TypeAlias = Literal["train", "heldout"]
SPLITS: tuple[Split, ...] = ("train", "heldout")
Slots: TypeAlias = Mapping[str, Callable[[Random], str]]


class WordingError(ValueError):
    """A wording file cannot be used; the message names the file, the table and the template."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A value that is filled in."""

    name: str


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the alternatives; nothing, half of the times, where it is optional."""

    alternatives: "tuple[Nodes, ...]"
    optional: bool


Nodes: TypeAlias = tuple[str | Slot | Choice, ...]  # one after the other; a str stands for itself


@dataclass(frozen=True, slots=True)
class Utterance:
    """A message, and which template of its table it comes from."""

    text: str
    template_index: int


@dataclass(frozen=True, slots=True)
class Template:
    """A template, parsed. `where`: it stands, for errors."""

    source: str
    nodes: Nodes
    where: str = ""

    @property
    def slots(self) -> frozenset[str]:
        """The names of all its slots."""
        return frozenset(_slots(self.nodes))

    def expand(self, rng: Random, slots: Slots) -> str:
        """One of its messages. A slot has one value all over it, and two slots have two, as far as there are others.

        Raises `WordingError` where there is no value for a slot.
        """
        values: dict[str, str] = {}

        def value(name: str) -> str:
            if name not in values:
                if name not in slots:
                    raise WordingError(f"{self.where}: no value was given for {{{name}}} in {self.source!r}")
                taken = set(values.values())
                for _ in range(TRIES):
                    values[name] = slots[name](rng)
                    if values[name] not in taken:
                        break
            return values[name]

        return "".join(_expanded(self.nodes, rng, value))


@dataclass(frozen=True, slots=True)
class Wordings:
    """The templates of one language. `tables`: by intent, or `handover.<reason>`, then by split."""

    language: str
    path: Path
    tables: Mapping[str, Mapping[Split, tuple[Template, ...]]]

    @property
    def intents(self) -> tuple[str, ...]:
        """The tables that stand for an intent, in the file's order."""
        return tuple(name for name in self.tables if "." not in name)

    def templates(self, intent: str, split: Split) -> tuple[Template, ...]:
        """All of one table and split. Raises `WordingError` where there is no such table."""
        if intent not in self.tables:
            raise WordingError(f"{self.path} has no table [{intent}]")
        return self.tables[intent][split]

    def sample(self, intent: str, split: Split, rng: Random, slots: Slots) -> Utterance:
        """A message, from templates and their alternatives with equal chances.

        Raises `WordingError` where there is no such table, or no value for one of its slots.
        """
        templates = self.templates(intent, split)
        index = rng.randrange(len(templates))
        return Utterance(templates[index].expand(rng, slots), index)


def load(language: str, folder: Path = WORDINGS) -> Wordings:
    """Read `<language>.toml`. Raises `WordingError` for a file that is missing, or in which something is wrong."""
    path = folder / f"{language}.toml"
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise WordingError(f"there are no wordings for {language!r}: {error}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WordingError(f"{path} is not TOML in UTF-8: {error}") from error
    tables = dict(_tables(content, path, ""))
    if not tables:
        raise WordingError(f"{path} holds no table")
    return Wordings(language, path, MappingProxyType(tables))


def parse(source: str, where: str = "template") -> Template:
    """Read a template. Raises `WordingError` where brackets do not match, or a slot has no proper name."""
    parser = _Parser(source, where)
    nodes = parser.sequence("")
    if not nodes:
        raise parser.error("it is empty")
    return Template(source, nodes, where)


class _Parser:
    """Recursive descent, one method per rule."""

    def __init__(self, source: str, where: str) -> None:
        self._source, self._where, self._at = source, where, 0

    def error(self, what: str, at: int | None = None) -> WordingError:
        column = (self._at if at is None else at) + 1
        return WordingError(f"{self._where}, column {column}: {what}, in {self._source!r}")

    def sequence(self, ends: str) -> Nodes:
        """What stands up to one of the characters `ends`, or to the end of the template where there are none."""
        nodes: list[str | Slot | Choice] = []
        while (here := self._here()) and here not in ends:
            if here in CLOSING:
                nodes.append(self._choice())
            elif here == "{":
                nodes.append(self._slot())
            elif here in SPECIAL:
                raise self.error(f"{here!r} without the bracket that it belongs to")
            else:
                nodes.append(self._literal())
        return tuple(nodes)

    def _here(self) -> str:
        return self._source[self._at : self._at + 1]

    def _literal(self) -> str:
        start = self._at
        while (here := self._here()) and here not in SPECIAL:
            self._at += 1
        return self._source[start : self._at]

    def _slot(self) -> Slot:
        start = self._at
        end = self._source.find("}", start)
        name = self._source[start + 1 : max(end, 0)]
        if not (name.isascii() and name.isidentifier()):
            raise self.error("a slot is a name in braces, such as {order_id}", start)
        self._at = end + 1
        return Slot(name)

    def _choice(self) -> Choice:
        start, opening = self._at, self._here()
        alternatives: list[Nodes] = []
        while True:
            self._at += 1  # the opening bracket, or a bar
            alternatives.append(self.sequence("|" + CLOSING[opening]))
            if not self._here():
                raise self.error(f"{opening!r} is never closed", start)
            if self._here() != "|":
                self._at += 1
                return Choice(tuple(alternatives), optional=opening == "[")


def _slots(nodes: Nodes) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, Slot):
            yield node.name
        elif isinstance(node, Choice):
            for alternative in node.alternatives:
                yield from _slots(alternative)


def _expanded(nodes: Nodes, rng: Random, value: Callable[[str], str]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, str):
            yield node
        elif isinstance(node, Slot):
            yield value(node.name)
        elif not (node.optional and rng.random() < 0.5):
            yield from _expanded(rng.choice(node.alternatives), rng, value)


def _tables(
    content: Mapping[str, Any], path: Path, prefix: str
) -> Iterator[tuple[str, Mapping[Split, tuple[Template, ...]]]]:
    for key, table in content.items():
        name, where = prefix + key, f"{path} [{prefix}{key}]"
        if not isinstance(table, dict):
            raise WordingError(f"{path}: {name} stands outside of a table")
        if table and all(isinstance(inner, dict) for inner in table.values()):
            yield from _tables(table, path, f"{name}.")
            continue
        if set(table) != set(SPLITS):
            raise WordingError(f"{where} has {', '.join(table) or 'nothing'}, and not just {' and '.join(SPLITS)}")
        yield name, MappingProxyType({split: _templates(table[split], f"{where} {split}") for split in SPLITS})


def _templates(sources: Any, where: str) -> tuple[Template, ...]:
    if not (isinstance(sources, list) and sources and all(isinstance(source, str) for source in sources)):
        raise WordingError(f"{where} is not a list of templates")
    return tuple(parse(source, f"{where} {number}") for number, source in enumerate(sources))
