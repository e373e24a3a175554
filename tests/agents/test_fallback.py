"""Whom the model owes an answer: in order, bounded, and forgotten once it is over."""

import pytest

from agents import fallback as module
from agents.ack_window import Partition
from agents.fallback import Fallback
from agents.state.store import Debt
from schemas.inference import SEPARATOR
from schemas.results import Trigger

HERE, ELSEWHERE = Partition("clicks", 0), Partition("clicks", 1)


def debt(partition: Partition = HERE, at_ms: int = 0) -> Debt:
    return Debt(partition, None, Trigger("s", str(at_ms)), at_ms, ())


def users(fallback: Fallback, count: int = 9) -> list[str]:
    return [user for user, _ in fallback.due(count, {HERE}, ())]


def test_who_was_owed_the_longest_comes_first_and_a_newer_debt_counts_anew() -> None:
    fallback = Fallback()
    for at_ms, user in enumerate("abca"):
        fallback.owe(user, debt(at_ms=at_ms))
    assert users(fallback, 2) == ["b", "c"]
    assert fallback.due(9, {HERE}, ())[-1] == ("a", debt(at_ms=3))
    assert len(fallback) == 3


def test_who_is_answered_by_the_model_is_forgotten_once_that_is_sent() -> None:
    fallback = Fallback()
    fallback.owe("a", debt())
    fallback.cancel("a")
    assert fallback.over() == {}
    fallback.settle("a")
    assert fallback.over() == {"a": HERE}
    assert fallback.over() == {}


def test_who_is_still_owed_when_the_request_is_over_is_remembered() -> None:
    fallback = Fallback()
    fallback.owe("a", debt())
    assert users(fallback) == ["a"]
    fallback.owe("a", debt())  # late once more
    fallback.settle("a")
    assert fallback.over() == {}
    assert users(fallback) == ["a"]


def test_whose_fallback_is_still_on_its_way_is_owed_until_the_next_time() -> None:
    fallback = Fallback()
    fallback.owe("a", debt())
    fallback.owe("b", debt())
    assert fallback.due(1, {HERE}, {"a"}) == [("b", debt())]
    fallback.settle("a")
    assert fallback.over() == {}
    assert users(fallback, 1) == ["a"]


def test_who_is_owed_again_before_it_was_forgotten_is_not_forgotten() -> None:
    fallback = Fallback()
    fallback.owe("a", debt())
    fallback.cancel("a")
    fallback.settle("a")
    fallback.inherit({"a": debt()})  # read before
    assert fallback.over() == {}


def test_users_of_partitions_that_are_another_owners_now_are_left_to_that_one() -> None:
    fallback = Fallback()
    fallback.owe("a", debt(ELSEWHERE))
    fallback.owe("b", debt())
    assert users(fallback) == ["b"]
    fallback.settle("a")
    assert fallback.over() == {}


def test_what_the_last_owner_owed_does_not_replace_what_is_newer() -> None:
    fallback = Fallback()
    fallback.owe("a", debt(at_ms=2))
    fallback.inherit({"a": debt(at_ms=1), "b": debt(at_ms=1)})
    assert fallback.due(9, {HERE}, ()) == [("a", debt(at_ms=2)), ("b", debt(at_ms=1))]


def test_beyond_the_bound_the_oldest_are_forgotten_in_redis_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_OWED", 2)
    fallback = Fallback()
    for user in "abc":
        fallback.owe(user, debt())
    assert fallback.over() == {"a": HERE}
    assert users(fallback) == ["b", "c"]


def test_a_popular_id_that_would_read_as_two_is_left_out_and_the_others_keep_their_lines() -> None:
    fallback = Fallback()
    fallback.popular = ("tea", f"ri{SEPARATOR}ce", "milk")
    ids, items = fallback.candidates(None)
    assert ids.split(SEPARATOR) == ["tea", "milk"]
    assert [line.split(b'"')[3] for line in items.split(b"\n")] == [b"tea", b"milk"]
