"""The private names of Faust and aiokafka that agents/transport relies on, and the versions that have them.

A wrong version must stop the process at import, not lose events in the middle of a rebalance.
"""

from importlib.metadata import version

import aiokafka
from aiokafka.consumer.group_coordinator import GroupCoordinator
from faust.transport import consumer as faust_consumer
from faust.transport.drivers import aiokafka as driver

PINS = {"faust-streaming": "0.15.3", "aiokafka": "0.14.0"}
PRIVATE_NAMES: dict[type, tuple[str, ...]] = {
    driver.Consumer: ("_drain_messages", "force_commit", "wait_empty", "_new_consumer_thread", "on_partitions_revoked"),
    faust_consumer.Consumer: ("_get_active_partitions", "_getmany", "perform_seek", "stop_flow", "resume_flow"),
    driver.AIOKafkaConsumerThread: ("_create_worker_consumer", "_ensure_consumer", "call_thread", "_commit"),
    GroupCoordinator: ("fetch_committed_offsets",),
    aiokafka.AIOKafkaConsumer: ("seek", "beginning_offsets"),
}


class WrongVersionError(ImportError):
    """Faust or aiokafka is not the version that agents/transport was written against."""


def check_pins() -> None:
    """Raise WrongVersionError unless the pinned versions, and the names used of them, are there."""
    found = {package: version(package) for package in PINS}
    if found != PINS:
        raise WrongVersionError(
            f"agents/transport needs {PINS} and found {found}: pip install "
            + " ".join(f"{package}=={pin}" for package, pin in PINS.items())
        )
    missing = [f"{owner.__name__}.{name}" for owner, names in PRIVATE_NAMES.items() for name in names
               if not hasattr(owner, name)]
    if missing:
        raise WrongVersionError(f"this Faust or aiokafka lacks {missing}; reinstall {PINS}")
