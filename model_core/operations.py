"""What operations may ask of a running worker, over its control socket: how it is, and to serve another checkpoint.

Knows who waits for the end of a reload. Belongs to the thread of the sockets; the reload itself is the pipeline's.
"""

import logging
from collections.abc import Callable

from model_core.batching.events import Kept, Swapped
from model_core.batching.reload import ReloadRefused
from model_core.sockets import Sockets
from model_core.statistics import Statistics
from schemas.control import ControlReply, Reload, Reloaded, WorkerStats, control_encoder, control_query_decoder
from schemas.inference import PROTOCOL, Refused

log = logging.getLogger("footfall.worker")


class Operations:
    """Answers one question per call of `answer`; a reload when it is over."""

    def __init__(
        self, sockets: Sockets, counts: Statistics, stats: Callable[[], WorkerStats], reload: Callable[[Reload], None]
    ) -> None:
        """`reload` begins one, and raises `ReloadRefused` where it cannot."""
        self._sockets = sockets
        self._counts = counts
        self._stats = stats
        self._reload = reload
        self._asker: list[bytes] | None = None  # of the reload that is under way

    def answer(self) -> None:
        """Answer what was asked, if anything was."""
        question = self._sockets.question()
        if question is None:
            return
        address, frames = question
        try:
            asked = control_query_decoder.decode(frames[1] if len(frames) == 2 and frames[0] == PROTOCOL else b"")
        except (ValueError, RecursionError) as error:
            self._counts.ignored += 1
            self._send(address, Refused(f"not a question of {PROTOCOL.decode()}: {error}"))
            return
        if not isinstance(asked, Reload):
            self._send(address, self._stats())
            return
        try:
            self._reload(asked)
        except ReloadRefused as error:
            self._send(address, Refused(str(error)))
        else:
            log.info("reloading %s from %s", asked.model, asked.path)
            self._asker = address

    def swapped(self, event: Swapped) -> None:
        """A reload ended well."""
        self._counts.reloaded += 1
        name, version = event.model.name, event.model.version
        log.info("%s is %s now, was %s; overlap %.2f", name, version, event.previous, event.overlap)
        self._tell(Reloaded(
            model=name, version=version, previous=event.previous, overlap=event.overlap, took_s=event.took_s
        ))

    def kept(self, event: Kept) -> None:
        """A reload came to nothing."""
        self._counts.rolled_back += 1
        log.error("%s was not reloaded, the checkpoint in service goes on: %s", event.model, event.reason)
        self._tell(Refused(event.reason))

    def leave(self, exit_code: int) -> None:
        """The process ends: whoever waits for a reload will not hear of it again."""
        self._tell(Refused(f"the worker ended, with exit code {exit_code}, before the reload was over"))

    def _tell(self, reply: ControlReply) -> None:
        if self._asker is not None:
            self._send(self._asker, reply)
            self._asker = None

    def _send(self, address: list[bytes], reply: ControlReply) -> None:
        self._sockets.answer(address, control_encoder.encode(reply))
