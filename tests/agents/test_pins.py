"""Another Faust or aiokafka stops the process at import, and says what to install."""

import importlib
import sys
from collections.abc import Iterator
from importlib import metadata

import pytest

from agents.transport import pins
from agents.transport.pins import PINS, PRIVATE_NAMES, WrongVersionError, check_pins


def test_the_versions_that_are_installed_here_are_the_pinned_ones() -> None:
    check_pins()


@pytest.mark.parametrize("package", PINS)
def test_another_version_is_named_with_the_one_that_is_needed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "version", lambda name: "9.9.9" if name == package else PINS[name])
    with pytest.raises(WrongVersionError, match=rf"9\.9\.9.*pip install .*{package}=={PINS[package]}"):
        check_pins()


def test_a_name_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    owner, names = next(iter(PRIVATE_NAMES.items()))
    monkeypatch.setitem(pins.PRIVATE_NAMES, owner, (*names, "_moved_elsewhere"))
    with pytest.raises(WrongVersionError, match=f"{owner.__name__}._moved_elsewhere"):
        check_pins()


@pytest.fixture
def unimported() -> Iterator[None]:
    """`agents.transport` is not imported yet; afterwards everybody has the modules that they had before."""
    names = [name for name in sys.modules if name == "agents.transport" or name.startswith("agents.transport.")]
    before = {name: sys.modules.pop(name) for name in names}
    yield
    for name in [name for name in sys.modules if name.startswith("agents.transport")]:
        del sys.modules[name]
    sys.modules.update(before)


def test_the_import_itself_fails(unimported: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata, "version", lambda _: "9.9.9")
    with pytest.raises(ImportError, match="agents/transport needs"):
        importlib.import_module("agents.transport")
