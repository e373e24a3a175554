"""Replays a data set: real purchases in event time, with simulated clicks, stock, orders and messages around them.

`trips`, `clicks`, `stock`, `orders`, `enquiries` and `scoring` are pure; `runner` holds the order of things, `support`
that of messages to support; `material` is what they are made from; `kafka` talks to the outside; `command` is
`footfall replay`.
"""


def run_replay(*, dataset: str, speed: float, events: int | None, seed: int) -> int:
    """See `footfall.replay.command`, which is imported only when it runs."""
    from footfall.replay import command  # noqa: PLC0415 - numpy and Kafka

    return command.run_replay(dataset=dataset, speed=speed, events=events, seed=seed)


__all__ = ["run_replay"]
