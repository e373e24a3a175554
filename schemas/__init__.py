"""Everything that crosses a boundary: events in, results out, worker messages, topics, Redis keys, settings.

Knows types and names only: no I/O, no Kafka, no Redis, no torch.
"""
