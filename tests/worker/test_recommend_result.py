"""A result is sent by column and read as candidates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.inference import (
    REASON_KINDS,
    Candidate,
    RecommendResult,
    Replies,
    to_agent_decoder,
    to_agent_encoder,
)

items = st.text(max_size=8)
candidates = st.builds(
    Candidate,
    items,
    st.floats(allow_nan=False),
    st.sampled_from(REASON_KINDS),
    st.lists(items, max_size=3).map(tuple),
)


@given(st.lists(candidates, max_size=64, unique_by=lambda c: c.item_id))
def test_candidates_survive_the_wire_unchanged(given_candidates: list[Candidate]) -> None:
    sent = Replies("e", (RecommendResult.of(7, given_candidates),))
    message = to_agent_decoder.decode(to_agent_encoder.encode(sent))
    assert message == sent
    assert isinstance(message, Replies)
    (result,) = message.replies
    assert isinstance(result, RecommendResult)
    assert list(result.candidates) == given_candidates


@pytest.mark.parametrize(
    "wrong",
    [
        [Candidate(str(i), 0.0, "popular") for i in range(65)],
        [Candidate("a", 1.0, "popular"), Candidate("a", 0.5, "popular")],
        [Candidate("a", 1.0, "related", ("b", "c", "d", "e"))],
        [Candidate(str(i), 0.0, "related", tuple(f"{i}-{k}" for k in range(3))) for i in range(64)],
    ],
)
def test_what_does_not_fit_is_an_error_of_the_writer(wrong: list[Candidate]) -> None:
    with pytest.raises(ValueError, match=r"candidates|evidence"):
        RecommendResult.of(7, wrong)
