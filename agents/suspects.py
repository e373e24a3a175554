"""Which users may be asked about, after a worker broke with requests in hand.

Pure: knows users and the time that it is told, and nothing of workers. A worker that breaks does not say which request
did it, so all that were in its hands are under suspicion until the model answers them. Without this one input that
breaks the device would be asked again and again, and end every worker that there is.

Who was in hand twice running is asked *alone*: one such user at a time in this process. Who breaks a worker once more
is not asked again for a while. With one culprit that is always the culprit. With several, or with another process's in
the same batch, an innocent may be refused beside it, which costs the model's answers for that while, and no event.
"""

from collections.abc import Callable, Iterable

from msgspec import Struct

ALONE_FROM = 2  # workers also break for other reasons, and then all in hand are innocent: once is no reason
REFUSED_FROM = 3
AGAIN_AFTER_S = 3600.0  # then it is asked once more, alone: state, model or driver may be others by now
MAX_SUSPECTS = 8192  # two workers' loss of all that an agent may hold; beyond it the oldest are forgotten


class _Record(Struct):
    breaks: int
    last_s: float


class Suspects:
    """Counts, per user, the workers that broke since the model last answered."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._records: dict[str, _Record] = {}  # in the order of `last_s`
        self._alone = ""  # the one that is asked now

    def __len__(self) -> int:
        return len(self._records)

    def broke(self, users: Iterable[str]) -> None:
        """Note that a worker broke while it had requests of these."""
        now_s = self._clock()
        for user in users:
            breaks = self._breaks(user) + 1
            self._records.pop(user, None)
            self._records[user] = _Record(breaks, now_s)
        while len(self._records) > MAX_SUSPECTS:
            del self._records[next(iter(self._records))]

    def cleared(self, user: str) -> None:
        """Note that the model was run and the worker survived, whatever was answered."""
        self._records.pop(user, None)

    def refused(self, user: str) -> bool:
        """Whether this user must not be asked about."""
        record = self._records.get(user)
        return record is not None and record.breaks >= REFUSED_FROM and self._clock() - record.last_s < AGAIN_AFTER_S

    def suspected(self, user: str) -> bool:
        """Whether this user is to be asked about alone, if at all."""
        return self._breaks(user) >= ALONE_FROM

    def may_ask(self, user: str) -> bool:
        """Whether to ask now; of a suspect this is the one until `finished`."""
        if not self.suspected(user):
            return True
        if self._alone in {"", user} and not self.refused(user):
            self._alone = user
            return True
        return False

    def finished(self, user: str) -> None:
        """The user's request is over, however it ended."""
        if user == self._alone:
            self._alone = ""

    def _breaks(self, user: str) -> int:
        record = self._records.get(user)
        return record.breaks if record else 0
