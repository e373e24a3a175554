"""A batch on its way through the pipeline's threads."""

from dataclasses import dataclass
from typing import Any

from model_core.batching.events import Ran
from model_core.batching.policy import Pending


@dataclass(frozen=True, slots=True)
class Work:
    """A bound batch, and who runs it. `collated` is None where its members can be collated only each alone.

    `wait_s`: of all members, until it was bound. `again`: it was on the device before and its answers could not be
    worded; it holds no slot.
    """

    runner: Any
    members: tuple[Pending, ...]
    length: int
    collated: Any | None
    wait_s: float = 0.0
    collate_s: float = 0.0
    again: bool = False

    @property
    def model(self) -> str:
        return str(self.runner.name)

    def ran(self, predicted_s: float, forward_s: float, reply_s: float) -> Ran:
        tokens = sum(member.tokens for member in self.members)
        return Ran(
            self.model, len(self.members), self.length, tokens, self.wait_s, self.collate_s, predicted_s, forward_s,
            reply_s,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """A batch that ran, to be worded."""

    work: Work
    output: Any
    predicted_s: float
    forward_s: float
