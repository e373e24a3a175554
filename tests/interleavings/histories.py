"""What becomes of a process that is told something: found out once, with a real one, and remembered.

Whoever explores needs many processes that were told much the same. A number stands for all that go on alike.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from tests.interleavings.gated_process import Outside, Process, Step

Value = TypeVar("Value", bound=Hashable)


class Numbers(Generic[Value]):
    """A number for each value: states of numbers are quick to compare."""

    def __init__(self) -> None:
        self._numbers: dict[Value, int] = {}
        self._values: list[Value] = []

    def of(self, value: Value) -> int:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number

    def __getitem__(self, number: int) -> Value:
        return self._values[number]

    def __len__(self) -> int:
        return len(self._values)


class Processes:
    """`fresh` and `after` return numbers of processes; `outside` tells what is seen of each."""

    def __init__(self, make: Callable[[str], Process]) -> None:
        self._make = make
        self._portraits = Numbers[Hashable]()
        self._told: list[tuple[str, tuple[Step, ...]]] = []
        self._after: dict[tuple[int, Step], int] = {}
        self._live: dict[int, Process] = {}
        self._fresh: dict[str, int] = {}
        self.outside: list[Outside] = []

    def fresh(self, name: str) -> int:
        if name not in self._fresh:
            self._fresh[name] = self._number(self._make(name), name, ())
        return self._fresh[name]

    def after(self, number: int, step: Step) -> int:
        after = self._after.get((number, step))
        if after is None:
            name, told = self._told[number]
            process = self._live.pop(number, None) or self._again(name, told)
            process.told(step)
            after = self._after[number, step] = self._number(process, name, (*told, step))
        return after

    def close(self) -> None:
        for process in self._live.values():
            process.close()

    def _again(self, name: str, told: Sequence[Step]) -> Process:
        process = self._make(name)
        for step in told:
            process.told(step)
        return process

    def _number(self, process: Process, name: str, told: tuple[Step, ...]) -> int:
        number = self._portraits.of(process.portrait())
        if number == len(self.outside):
            self._told.append((name, told))
            self.outside.append(process.outside())
        if number in self._live:
            process.close()
        else:
            self._live[number] = process
        return number
