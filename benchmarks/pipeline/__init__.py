"""The whole path beside the bare model, and its latency below capacity: `python -m benchmarks.pipeline --json FILE`."""
