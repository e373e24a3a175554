"""More than the device can do: `python -m benchmarks.overload --factor 1.5 --json FILE`."""
