"""The parts of `benchmarks.fuzz_decoding`: inputs, where they come from, what is run on them, and what is measured."""
