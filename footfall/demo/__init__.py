"""`footfall demo`: purchases and messages stream through broker, agents and models, with a live screen and a report."""

from footfall.demo.demo import run_demo

__all__ = ["run_demo"]
