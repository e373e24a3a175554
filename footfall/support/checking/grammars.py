"""The languages that replies are written in."""

from collections.abc import Mapping, Sequence

from footfall.support.checking import chinese, english
from footfall.support.checking.reading import Grammar, Pattern

GRAMMARS: Mapping[str, Grammar] = {"en": english.GRAMMAR, "zh": chinese.GRAMMAR}
ACTIONS: Mapping[str, Sequence[tuple[str, Pattern]]] = {"en": english.ACTIONS, "zh": chinese.ACTIONS}
"""What replies say that the system did, or will do, which it cannot."""
