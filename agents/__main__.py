"""`python -m agents CAPABILITY`: one Faust process. `footfall agents` starts and watches several of these."""

import gc
import logging
import sys

import mode.loop

mode.loop.use("uvloop")  # before Faust makes any loop: a third of the CPU per event

import faust  # noqa: E402

from agents.app import create_app  # noqa: E402
from agents.liveness import STOP_WITHIN_S, end_within  # noqa: E402
from agents.log_repeats import quieten  # noqa: E402
from schemas.settings import Settings, SettingsError  # noqa: E402

# Python's own (700, 10, 10) walks the thousands of events in hand again and again: an eighth of the CPU per event
GC_THRESHOLD = (50_000, 20, 20)


class Worker(faust.Worker):
    """Runs the app, and stops in time, after a signal as after a crash."""

    async def stop(self) -> None:
        end_within(STOP_WITHIN_S)
        await super().stop()


def main(arguments: list[str]) -> int:
    """Run one capability; returns 2 on bad settings.

    Ends the process with 0 after a signal, 1 after a crash, and 70 where it could not stop in time.
    """
    if len(arguments) != 1:
        print("usage: python -m agents CAPABILITY", file=sys.stderr)  # noqa: T201
        return 2
    try:
        app = create_app(Settings.from_environment(), arguments[0])
    except SettingsError as error:
        print(f"footfall: {error}", file=sys.stderr)  # noqa: T201
        return 2
    gc.freeze()  # what is loaded so far stays
    gc.set_threshold(*GC_THRESHOLD)
    worker = Worker(app, loglevel="INFO", quiet=True, redirect_stdouts=False, debug=False)
    logging.getLogger("aiokafka.consumer.group_coordinator").setLevel(logging.WARNING)
    quieten()
    return worker.execute_from_commandline()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
