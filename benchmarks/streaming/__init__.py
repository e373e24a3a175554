"""The parts of `benchmarks.pipeline` and `benchmarks.overload`: real agents and a real worker under a load."""
