"""Measurements: `python -m benchmarks.NAME --json FILE`. What each means is in docs/performance.md."""
