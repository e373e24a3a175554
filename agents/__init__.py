"""Faust apps: topics in, results out. Never imports torch or the worker's code; they meet in `schemas`."""
