"""What benchmarks' figures of one kind have in common."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from benchmarks import reports


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(values: Sequence[float], share: float) -> None:
    found = reports.percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values)
    assert sum(value < found for value in values) < share * len(values)
