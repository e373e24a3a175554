"""One continuous model's requests between their admission and their last step. Belongs to the device's thread."""

from collections.abc import Sequence
from typing import Any

from model_core.batching.failures import describe, is_device_fault
from model_core.batching.policy import Client, Pending
from model_core.runner import GeneratingRunner
from schemas.inference import Failure, Reply


class Generation:
    """For whom a runner is generating."""

    def __init__(self, runner: GeneratingRunner[Any, Any]) -> None:
        self._runner = runner
        self._going: dict[int, Pending] = {}  # by the identity of the request, which the runner holds too

    def __len__(self) -> int:
        return len(self._going)

    def step(self, members: Sequence[Pending], collated: Any | None) -> list[tuple[Client, Reply]]:
        """Take the members in, make one step for all, and return the replies that are complete.

        A step that raises ends those who came in with it, or everybody where nobody did. Raises what breaks the device.
        """
        self._drop([pending for pending in self._going.values() if not pending.wanted])
        self._going |= {id(pending.request): pending for pending in members}
        try:
            finished = self._runner.step(collated)
        except Exception as error:
            if is_device_fault(error):
                raise
            failed = list(members or self._going.values())
            self._drop(failed)
            return [(pending.client, Failure(pending.request.id, describe(error))) for pending in failed]
        return [(self._going.pop(id(request)).client, result) for request, result in finished]

    def _drop(self, pendings: Sequence[Pending]) -> None:
        if pendings:
            self._runner.drop([pending.request for pending in pendings])
            for pending in pendings:
                del self._going[id(pending.request)]
