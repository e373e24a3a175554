"""Where a record goes."""

from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given
from hypothesis import strategies as st

from agents.publisher import partition_of

PARTITIONS = list(range(8))


@given(st.binary(max_size=40))
def test_a_key_goes_to_the_partition_where_other_clients_put_it(key: bytes) -> None:
    assert partition_of(key, PARTITIONS, PARTITIONS) == DefaultPartitioner()(key, PARTITIONS, PARTITIONS)


def test_a_record_without_a_key_goes_where_there_is_a_leader() -> None:
    assert partition_of(None, PARTITIONS, [3]) == 3
