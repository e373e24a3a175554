"""What runs in Faust's consumer thread: the aiokafka consumer, its seeks and its commits."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple

import aiokafka
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.errors import KafkaTimeoutError
from faust.transport.drivers import aiokafka as driver

from agents.ack_window import Partition

BROKER_ANSWERS_S = 5.0


class Start(NamedTuple):
    """Where an epoch starts to read, and the generation it belongs to."""

    offsets: dict[Partition, int]
    generation: int


class GaplessThread(driver.AIOKafkaConsumerThread):
    """Owns the aiokafka consumer. Every method here runs in the consumer thread."""

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        # Range, not Faust's round robin: topics with equal partition counts are assigned alike, so one process owns
        # a user's clicks and purchases.
        self._assignor = RangePartitionAssignor
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            bootstrap_servers=driver.server_list(transport.url, transport.default_port),
            partition_assignment_strategy=[RangePartitionAssignor],
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=int((conf.broker_max_poll_interval or 0) * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            fetch_max_wait_ms=self.app.fetch_max_wait_ms,  # type: ignore[attr-defined]  # agents.app.App; Faust: 1500
            request_timeout_ms=int(conf.broker_request_timeout * 1000),
            check_crcs=conf.broker_check_crcs,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            **driver.credentials_to_aiokafka_auth(conf.broker_credentials, conf.ssl_context),
        )

    async def rewind(self) -> Start | None:
        """Seek the whole assignment to the committed offsets, or the beginning: one OffsetFetch, then no await.

        Returns None while the group rebalances; the caller asks again.
        """
        consumer = self._ensure_consumer()
        subscription = consumer._subscription  # noqa: SLF001 - pinned, see pins.py
        assignment = subscription.subscription and subscription.subscription.assignment
        if not assignment or not assignment.active or subscription.reassignment_in_progress:
            return None
        coordinator = consumer._coordinator  # noqa: SLF001
        partitions = list(assignment.tps)
        committed = await coordinator.fetch_committed_offsets(partitions) if partitions else {}
        start = {tp: meta.offset for tp, meta in committed.items() if meta.offset >= 0}
        fresh = [tp for tp in partitions if tp not in start]
        if fresh:
            start.update(await consumer.beginning_offsets(fresh))
        if not assignment.active or subscription.reassignment_in_progress:
            return None
        for tp, offset in start.items():  # no await in here: positions, buffers and the answer agree
            consumer.seek(tp, offset)
        return Start({Partition(tp.topic, tp.partition): offset for tp, offset in start.items()},
                     coordinator.generation)

    async def is_behind(self) -> bool:
        """Whether the broker has records that were not fetched. Raises KafkaError while it is away."""
        consumer = self._ensure_consumer()
        try:
            async with asyncio.timeout(BROKER_ANSWERS_S):  # in here: a call that hangs would hold this thread's queue
                ends = await consumer.end_offsets(list(consumer.assignment()))
        except TimeoutError:
            raise KafkaTimeoutError from None
        subscription = consumer._subscription.subscription  # noqa: SLF001 - pinned, see pins.py
        assignment = subscription and subscription.assignment
        for tp, end in ends.items():
            state = assignment and assignment.state_value(tp)
            # never `position()`: that waits for one. Not what was handed over either: the end may be a marker
            if not state or not state.has_valid_position or state.position < end:
                return True
        return False

    async def seek_back(self, tp: Any, offset: int) -> None:
        """Read one partition again from `offset`, if it is still ours."""
        consumer = self._ensure_consumer()
        if tp in consumer.assignment():
            consumer.seek(tp, offset)

    async def commit_fenced(self, offsets: Mapping[Any, int], generation: int) -> bool:
        """Commit, unless the offsets were computed before a rebalance: then they may rewind the new owner."""
        if self._ensure_consumer()._coordinator.generation != generation:  # noqa: SLF001
            return False
        return bool(await self._commit(offsets))
