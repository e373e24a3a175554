"""What the consumer thread asks of aiokafka: where an epoch starts, what is read again, what is committed. Scripted."""

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from agents.ack_window import Partition
from agents.transport.thread import GaplessThread, Start

P0, P1, P2 = (TopicPartition("clicks", number) for number in range(3))


class ScriptedClient:
    """aiokafka's consumer and its coordinator. `meanwhile`: what the group does while the broker is asked."""

    def __init__(self, committed: Mapping[TopicPartition, int], beginnings: Mapping[TopicPartition, int]) -> None:
        self._committed, self._beginnings = committed, beginnings
        self._coordinator = self
        self._partitions = frozenset(committed)
        self._assignment = SimpleNamespace(active=True, tps=self._partitions)
        self._subscription = SimpleNamespace(
            subscription=SimpleNamespace(assignment=self._assignment), reassignment_in_progress=False
        )
        self.generation = 5
        self.meanwhile: Callable[[], None] = lambda: None
        self.asked: list[Sequence[TopicPartition]] = []
        self.seeks: list[tuple[TopicPartition, int]] = []

    async def fetch_committed_offsets(
        self, partitions: Sequence[TopicPartition]
    ) -> dict[TopicPartition, OffsetAndMetadata]:
        self.asked.append(partitions)
        self.meanwhile()
        return {tp: OffsetAndMetadata(self._committed[tp], "") for tp in partitions}

    async def beginning_offsets(self, partitions: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        return {tp: self._beginnings[tp] for tp in partitions}

    def assignment(self) -> frozenset[TopicPartition]:
        return self._partitions

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self.seeks.append((tp, offset))

    def rebalance_begins(self) -> None:
        self._subscription.reassignment_in_progress = True

    def assignment_ends(self) -> None:
        self._assignment.active = False


class ScriptedThread:
    rewind, seek_back, commit_fenced = GaplessThread.rewind, GaplessThread.seek_back, GaplessThread.commit_fenced

    def __init__(self, client: ScriptedClient) -> None:
        self._client = client
        self.committed: list[Mapping[Any, int]] = []

    def _ensure_consumer(self) -> Any:
        return self._client

    async def _commit(self, offsets: Mapping[Any, int]) -> bool:
        self.committed.append(offsets)
        return True


def scripted(committed: Mapping[TopicPartition, int], **beginnings: int) -> tuple[ScriptedClient, GaplessThread]:
    client = ScriptedClient(committed, {TopicPartition("clicks", int(name[1:])): at for name, at in beginnings.items()})
    return client, cast("GaplessThread", ScriptedThread(client))


async def test_an_epoch_starts_at_what_was_committed_and_where_nothing_was_at_the_beginning() -> None:
    client, thread = scripted({P0: 7, P1: -1, P2: 0}, p1=3)
    assert await thread.rewind() == Start(
        {Partition("clicks", 0): 7, Partition("clicks", 1): 3, Partition("clicks", 2): 0}, generation=5
    )
    assert sorted(client.seeks) == [(P0, 7), (P1, 3), (P2, 0)]
    assert len(client.asked) == 1


async def test_a_spare_without_partitions_starts_without_a_question() -> None:
    client, thread = scripted({})
    assert await thread.rewind() == Start({}, generation=5)
    assert client.asked == []


@pytest.mark.parametrize("what", [ScriptedClient.rebalance_begins, ScriptedClient.assignment_ends])
async def test_while_the_group_rebalances_nothing_is_asked_and_nothing_sought(
    what: Callable[[ScriptedClient], None]
) -> None:
    client, thread = scripted({P0: 7})
    what(client)
    assert await thread.rewind() is None
    assert (client.asked, client.seeks) == ([], [])


@pytest.mark.parametrize("what", [ScriptedClient.rebalance_begins, ScriptedClient.assignment_ends])
async def test_a_rebalance_during_the_question_leaves_the_positions_alone(
    what: Callable[[ScriptedClient], None]
) -> None:
    client, thread = scripted({P0: 7, P1: 9})
    client.meanwhile = lambda: what(client)
    assert await thread.rewind() is None
    assert client.seeks == []


async def test_before_the_first_assignment_there_is_no_start() -> None:
    client, thread = scripted({P0: 7})
    client._subscription.subscription = None
    assert await thread.rewind() is None


async def test_a_gap_is_sought_back_in_partitions_that_are_still_ours_only() -> None:
    client, thread = scripted({P0: 7})
    await thread.seek_back(P0, 3)
    await thread.seek_back(P1, 4)
    assert client.seeks == [(P0, 3)]


@pytest.mark.parametrize(("generation", "sent"), [(5, [{P0: 10}]), (4, [])])
async def test_a_commit_is_sent_in_the_generation_that_it_was_computed_in_and_in_no_other(
    generation: int, sent: list[Mapping[TopicPartition, int]]
) -> None:
    _, thread = scripted({P0: 7})
    assert await thread.commit_fenced({P0: 10}, generation) == bool(sent)
    assert cast("ScriptedThread", thread).committed == sent
