"""`footfall demo`: purchases stream through broker, agents and model, with a live screen and a report at the end."""

from footfall.demo.demo import run_demo

__all__ = ["run_demo"]
