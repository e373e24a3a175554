"""The local stack: a Kafka-protocol broker and a Redis-protocol cache without Docker, or the ones the settings name.

Knows how to find, start, watch and stop them. Does not know topics, agents or models.
"""

from footfall.stack.stack import Broker, Cache, Stack, StackError

__all__ = ["Broker", "Cache", "Stack", "StackError"]
