"""`python -m benchmarks.peers.process NAME TASK`: one peer at work until it is stopped. TASK is a `Task` as JSON."""

import importlib
import logging
import sys

import msgspec

from benchmarks.peers.work import Task

if __name__ == "__main__":
    name, task = sys.argv[1:]
    logging.basicConfig(level=logging.WARNING)
    importlib.import_module(f"benchmarks.peers.{name}").run(msgspec.json.decode(task, type=Task))
