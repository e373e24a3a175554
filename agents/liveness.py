"""Signs of life: a process that was frozen, or works no more, ends before it can do harm and is started again.

Knows time and a pipe; what work, lag and outages are, the caller says. Under `footfall agents` the guard above this
process (footfall/guard.py) hears `Heartbeat`, and kills and restarts what falls silent. Elsewhere, as in a container,
nobody listens: the process then ends itself, and whatever started it starts it again.

In agents/app.py: `Progress.worked` is called for every list of chunks taken and for all work done, and beside the
agent's other loops runs

    Heartbeat(
        lambda: progress.symptom(behind=..., holding=...),
        alive_within_s=settings.alive_within_s, lease_s=settings.lease_s, fd=heartbeat_fd(os.environ),
    ).run
"""

import asyncio
import contextlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping

logger = logging.getLogger(__name__)

BEATS = 5  # in the time that the guard allows: some may come late, on a machine with too much to do
STALLED, FROZEN = 70, 75  # exit codes: EX_SOFTWARE and EX_TEMPFAIL of sysexits.h
STOP_WITHIN_S = 30.0  # what is in hand has 25 s of it (agents/transport/consumer.py)


def heartbeat_fd(environ: Mapping[str, str]) -> int | None:
    """The pipe to the guard; None where none listens. Raises OSError when the guard's pipe is not there."""
    text = environ.get("FOOTFALL_HEARTBEAT_FD")
    if text is None:
        return None
    fd = int(text)
    os.set_blocking(fd, False)
    os.set_inheritable(fd, False)  # whoever we start must not speak for us
    return fd


def now_s() -> float:
    """Seconds that go on while the machine is suspended: the broker, on another one, counts them too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC)


def end_within(seconds: float, end: Callable[[int], object] = os._exit) -> threading.Timer:
    """Have this process ended then, if it has not come to its own end.

    A stop may hang as long as what it waits for is away: aiokafka commits and leaves the group for ever. A thread does
    not need the event loop for it.
    """

    def give_up() -> None:
        logger.critical("this process did not stop within %.0f s: it ends, and its events are read again", seconds)
        end(STALLED)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True  # who stops in time does not wait for it
    timer.start()
    return timer


class Progress:
    """Tells a silent stall from having nothing to do, and from waiting for what is away. Pure."""

    def __init__(self, stall_s: float = 60.0, clock: Callable[[], float] = time.monotonic) -> None:
        self._stall_s = stall_s
        self._clock = clock
        self._well_s = clock()

    def worked(self) -> None:
        """Something was taken, or finished."""
        self._well_s = self._clock()

    def symptom(self, *, behind: bool, holding: bool) -> str | None:
        """What is wrong, for the operator; None while all is well. To be asked several times per `stall_s`.

        `behind`: there is lag, or work in hand. `holding`: for a good reason, as while Redis is away, or the worker for
        capabilities that cannot do without.
        """
        now_s = self._clock()
        if holding or not behind:
            self._well_s = now_s
        stalled_s = now_s - self._well_s
        if stalled_s <= self._stall_s:
            return None
        return f"nothing was taken or finished for {stalled_s:.0f} s, though there is work and nothing it needs is away"


class Heartbeat:
    """Shows that the event loop turns and that all is well.

    `lease_s`: for how long this process may stand still and surely keep its partitions; below Kafka's session time-out
    by at least the interval of its heartbeats. Who stood still for longer ends at once, since others may have written
    newer results. That is the best that a process can do for itself: what else was due when it woke may run before
    this loop does. The fence is the guard, which kills it in its sleep; so its time (`alive_within_s`, and a second) is
    to be below `lease_s`. Where guard and process sleep together (a container, the machine), this loop is all there is.
    """

    def __init__(
        self,
        symptom: Callable[[], str | None],
        *,
        alive_within_s: float,
        lease_s: float,
        fd: int | None,
        end: Callable[[int], object] = os._exit,  # no clean-up: that would send what is held
        clock: Callable[[], float] = now_s,
        sleep: Callable[[float], Coroutine[None, None, None]] = asyncio.sleep,
    ) -> None:
        self._symptom = symptom
        self._interval_s = alive_within_s / BEATS
        self._lease_s = lease_s
        self._fd = fd
        self._end = end
        self._clock = clock
        self._sleep = sleep

    async def run(self) -> None:
        """Beat for as long as all is well."""
        self._beat()  # whatever the symptom: the guard judges only whom it has heard
        awake_s = self._clock()
        while True:
            await self._sleep(self._interval_s)
            now_s = self._clock()
            if now_s - awake_s > self._lease_s:
                logger.critical(
                    "this process stood still for %.0f s and may have lost its partitions: it ends, and its events are "
                    "read again. Look for SIGSTOP, swap, a pause of the machine, or a call that blocks the event loop",
                    now_s - awake_s,
                )
                self._end(FROZEN)
                return
            awake_s = now_s
            symptom = self._symptom()
            if symptom is not None:
                logger.critical("this process is stalled: %s. It will be ended, and its events read again", symptom)
                if self._fd is None:
                    self._end(STALLED)
                return  # silence: the guard ends us
            self._beat()

    def _beat(self) -> None:
        if self._fd is None:
            return
        # full: the guard is stopped, and reads later that we were alive; closed: it is gone, and Linux ends us with it
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(self._fd, b".")
