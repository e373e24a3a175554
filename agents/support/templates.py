"""Texts that are sent when no model writes: one for each situation and language, with slots.

`{slot}` is filled in; what stands in square brackets is left out when one of its slots is unknown. Knows no facts.
"""

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

FOLDER = Path(__file__).parent / "templates"
WORDINGS = Path(__file__).parent / "wordings"
LANGUAGES = ("en", "zh")

SLOT = re.compile(r"\{(\w+)\}")
OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
BLANKS = re.compile(r"[ \t]+")


class TemplateError(ValueError):
    """A text cannot be used; the message says which one, and what is wrong with it."""


def fill(text: str, slots: Mapping[str, str]) -> str:
    """The text with these slots. Raises `TemplateError` where one that must be known is not."""
    kept = OPTIONAL.sub(lambda part: part[1] if set(SLOT.findall(part[1])) <= slots.keys() else "", text)
    unknown = set(SLOT.findall(kept)) - slots.keys()
    if unknown:
        raise TemplateError(f"{text!r} needs {', '.join(sorted(unknown))}")
    return BLANKS.sub(" ", SLOT.sub(lambda slot: slots[slot[1]], kept)).strip()


class Templates:
    """The texts of a folder, one TOML file for each language: a table for each topic, a key for each situation."""

    def __init__(self, folder: Path = FOLDER) -> None:
        """Raises `TemplateError` for a file that is not there or a text that another language does not have."""
        self._texts = {language: _read(folder / f"{language}.toml") for language in LANGUAGES}
        self._wordings = {language: _wordings(language) for language in LANGUAGES}
        first, *others = self._texts.items()
        for language, texts in others:
            if texts.keys() != first[1].keys():
                odd = ", ".join(sorted(texts.keys() ^ first[1].keys()))
                raise TemplateError(f"{folder}: {odd} stands in only one of {first[0]}.toml and {language}.toml")

    @property
    def situations(self) -> frozenset[str]:
        """As `topic.situation`."""
        return frozenset(self._texts[LANGUAGES[0]])

    def text(self, language: str, situation: str, slots: Mapping[str, str]) -> str:
        """What to say. Raises `TemplateError` where a slot is missing, `KeyError` for a situation that is not there."""
        return fill(self._texts[language][situation], slots)

    def variants(self, language: str, situation: str, slots: Mapping[str, str]) -> list[str]:
        """All that may be said in a situation: the template and the other wordings of it."""
        wordings = self._wordings[language].get(situation, ())
        return [fill(text, slots) for text in (self._texts[language][situation], *wordings)]

    def required(self, language: str, situation: str) -> frozenset[str]:
        """The slots that a reply must name, whoever writes it."""
        return frozenset(SLOT.findall(OPTIONAL.sub("", self._texts[language][situation])))


def _wordings(language: str) -> dict[str, list[str]]:
    """Of `train` only: the others are to measure with."""
    tables = tomllib.loads((WORDINGS / f"{language}.toml").read_text(encoding="utf-8"))
    return {f"{topic}.{name}": splits["train"] for topic, names in tables.items() for name, splits in names.items()}


def _read(file: Path) -> dict[str, str]:
    try:
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TemplateError(f"{file} is missing: there is one for each of {', '.join(LANGUAGES)}") from None
    except tomllib.TOMLDecodeError as error:
        raise TemplateError(f"{file}: {error}") from None
    return {f"{topic}.{name}": text for topic, texts in tables.items() for name, text in texts.items()}
