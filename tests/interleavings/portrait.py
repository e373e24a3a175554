"""What a suspended program knows, as one value that can be compared: two programs with equal portraits go on alike.

Draws objects, containers and the frames of suspended coroutines. What it does not know how to draw is an error and is
never left out, since a portrait that lacks something would take different programs for the same.
"""

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from enum import Enum
from functools import partial
from types import AsyncGeneratorType, BuiltinFunctionType, CoroutineType, FunctionType, MethodType
from typing import Any, get_args

import msgspec
from aiokafka import ConsumerRecord

from agents.decoding import Poison
from agents.state.changes import Change
from schemas.events import CustomerEvent
from schemas.results import Trigger

IDLE = ("Event.wait", "sleep")  # who waits for work has nothing more to do with the work before


class Portrait:
    """Draws one program. `known`: objects that are drawn elsewhere; `rename`: what bytes are to be called."""

    def __init__(self, known: Iterable[object], rename: Callable[[bytes], bytes]) -> None:
        self._alive: list[object] = []  # no id is used again while this is drawn
        self._places: dict[int, int] = {}
        self._rename = rename
        for one in known:
            self._is_new(one)

    def of(self, value: Any) -> Hashable:
        draw = _by_type[type(value)]
        if draw is None:
            drawn: Hashable = value
        elif draw is Portrait._each or self._is_new(value):
            drawn = draw(self, value)
        else:
            drawn = "again", self._places[id(value)]
        return drawn

    def _is_new(self, value: object) -> bool:
        if id(value) in self._places:
            return False
        self._places[id(value)] = len(self._places)
        self._alive.append(value)
        return True

    def _each(self, values: Iterable[Any]) -> tuple[Hashable, ...]:
        return tuple([self.of(value) for value in values])

    def _bytes(self, value: bytes | msgspec.Raw) -> Hashable:
        return self._rename(bytes(value))

    def _record(self, value: "ConsumerRecord[Any, Any]") -> Hashable:
        return value.topic, value.partition, value.offset

    def _dict(self, value: dict[Any, Any]) -> Hashable:
        return self._each([one for item in value.items() for one in item])

    def _set(self, value: frozenset[Any]) -> Hashable:
        return frozenset(map(self.of, value))

    def _struct(self, value: msgspec.Struct) -> Hashable:
        return type(value).__name__, self._each([getattr(value, name) for name in value.__struct_fields__])

    def _object(self, value: object) -> Hashable:
        return type(value).__name__, self._each([one for item in sorted(vars(value).items()) for one in item])

    def _error(self, value: Poison | BaseException) -> Hashable:
        return repr(getattr(value, "error", value))

    def _name(self, value: object) -> Hashable:
        return getattr(value, "__qualname__", type(value).__name__)

    def _method(self, value: MethodType) -> Hashable:
        return value.__name__, self.of(value.__self__)

    def _partial(self, value: "partial[Any]") -> Hashable:
        return self._each((value.func, value.args, *value.keywords.items()))

    def _iterator(self, value: Any) -> Hashable:
        return self._each(value.__reduce__()[1:])

    def _future(self, value: "asyncio.Future[Any]") -> Hashable:
        return value.done()

    def _event(self, value: asyncio.Event) -> Hashable:
        return value.is_set()

    def _timer(self, value: asyncio.TimerHandle) -> Hashable:
        return value.when()

    def _coroutine(self, value: "CoroutineType[Any, Any, Any]") -> Hashable:
        frame, awaited = value.cr_frame, value.cr_await
        assert frame is not None
        idle = isinstance(awaited, CoroutineType) and awaited.__qualname__ in IDLE
        known = {"self": frame.f_locals["self"]} if idle else frame.f_locals
        return value.__qualname__, frame.f_lasti, self._dict(known), self.of(awaited)


_themselves = (
    int, float, str, type(None), Enum, Change, Trigger, *get_args(CustomerEvent),
)
_drawings: list[tuple[tuple[type, ...], Any]] = [
    (_themselves, None),
    ((tuple, list, deque), Portrait._each),
    ((bytes, msgspec.Raw), Portrait._bytes),
    ((ConsumerRecord,), Portrait._record),
    ((dict,), Portrait._dict),
    ((set, frozenset), Portrait._set),
    ((msgspec.Struct,), Portrait._struct),
    ((Poison, BaseException), Portrait._error),
    ((CoroutineType,), Portrait._coroutine),
    ((MethodType,), Portrait._method),
    ((partial,), Portrait._partial),
    ((asyncio.Future,), Portrait._future),
    ((asyncio.Event,), Portrait._event),
    ((asyncio.TimerHandle,), Portrait._timer),
    ((type(iter([])), type(iter(())), zip), Portrait._iterator),
    ((type, FunctionType, BuiltinFunctionType, AsyncGeneratorType, itertools.count, asyncio.AbstractEventLoop),
     Portrait._name),
]


class _Drawings(dict[type, Any]):
    """How to draw values of a type; None: they are plain values themselves."""

    def __missing__(self, kind: type) -> Any:
        self[kind] = _drawing_of(kind)
        return self[kind]


def _drawing_of(kind: type) -> Any:
    for kinds, draw in _drawings:
        if issubclass(kind, kinds):
            return draw
    if kind.__name__ in ("FutureIter", "async_generator_asend"):  # they have no other name
        return Portrait._name
    if kind.__dictoffset__ == 0:
        raise TypeError(f"cannot draw a {kind}")
    return Portrait._object


_by_type = _Drawings()
