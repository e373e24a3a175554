"""A result travels with its items as readers get them."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.inference import SEPARATOR, RecommendResult, Replies, to_agent_decoder, to_agent_encoder
from schemas.results import Reason, ReasonKind, RecommendedItem

items = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=SEPARATOR), min_size=1, max_size=8)
candidates = st.builds(
    RecommendedItem,
    items,
    st.floats(allow_nan=False, allow_infinity=False),
    st.builds(Reason, st.sampled_from(get_args(ReasonKind)), st.lists(items, max_size=3).map(tuple)),
)


@given(st.lists(candidates, max_size=64, unique_by=lambda c: c.item_id))
def test_candidates_survive_the_wire_unchanged(given_candidates: list[RecommendedItem]) -> None:
    sent = Replies("e", "1", (RecommendResult.of(7, given_candidates),))
    message = to_agent_decoder.decode(to_agent_encoder.encode(sent))
    assert message == sent
    assert isinstance(message, Replies)
    (result,) = message.replies
    assert isinstance(result, RecommendResult)
    assert result.candidates == given_candidates
    assert result.item_ids == [candidate.item_id for candidate in given_candidates]


@pytest.mark.parametrize(
    "wrong",
    [
        [RecommendedItem(str(i), 0.0, Reason("popular")) for i in range(65)],
        [RecommendedItem("a", 1.0, Reason("popular")), RecommendedItem("a", 0.5, Reason("popular"))],
    ],
)
def test_what_does_not_fit_is_an_error_of_the_writer(wrong: list[RecommendedItem]) -> None:
    with pytest.raises(ValueError, match="candidates"):
        RecommendResult.of(7, wrong)
