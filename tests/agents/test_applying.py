"""However events are cut into batches, users end with the state that event by event would leave."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.applying import EventBatch
from agents.state.reference import ReferenceState, ReferenceStore, StateDigest
from agents.state.store import UserChanges, UserStore
from footfall.state_digest import differences
from schemas.events import CustomerEvent
from tests.doubles import NOW_MS, click, purchase


class InMemory:
    """The twin of the users' store behind the store's own methods; it counts the pipelines."""

    def __init__(self) -> None:
        self.twin = ReferenceStore()
        self.pipelines = self.links = 0

    async def apply(self, batch: Sequence[UserChanges]) -> list[ReferenceState]:
        self.pipelines += 1
        return [self.twin.apply(one) for one in batch]

    async def link(self, user: str, visitor: str) -> ReferenceState:
        self.links += 1
        return self.twin.link(user, visitor)

    async def unlink(self, user: str, visitor: str) -> None:
        self.twin.unlink(user, visitor)


def event(kind: str, number: int, item: str, **who: Any) -> CustomerEvent:
    made = purchase([item], id=str(number)) if kind == "purchase" else click(item, kind=kind, id=str(number))
    made["data"] = {name: value for name, value in made["data"].items() if name != "user_id"} | who
    decoded: CustomerEvent = msgspec.convert(made, CustomerEvent)
    return decoded


def in_batches(stream: Sequence[CustomerEvent], size: int) -> InMemory:
    async def apply() -> None:
        for start in range(0, len(stream), size):
            batch = EventBatch()
            for one in stream[start : start + size]:
                batch.add(one, NOW_MS)
            await batch.apply(cast("UserStore", store))

    store = InMemory()
    asyncio.run(apply())
    return store


def one_by_one(stream: Sequence[CustomerEvent]) -> dict[str, StateDigest]:
    twin = ReferenceStore()
    for one in stream:
        twin.take(one, NOW_MS)
    return twin.digests()


# two visitors of one user, one of another, and people who do not consent
WHO: tuple[dict[str, Any], ...] = (
    {"visitor_id": "1"}, {"visitor_id": "2"}, {"visitor_id": "3"},
    {"user_id": "a", "visitor_id": "1"}, {"user_id": "a", "visitor_id": "2"}, {"user_id": "a"},
    {"user_id": "b", "visitor_id": "3"}, {"user_id": "b", "visitor_id": "1"},
    {"visitor_id": "1", "consent": False}, {"user_id": "a", "visitor_id": "2", "consent": False, "session_id": "s"},
)
drafts = st.lists(
    st.tuples(
        st.sampled_from(("view_item", "add_to_cart", "remove_from_cart", "purchase", "search")),
        st.sampled_from("xyz"), st.sampled_from(WHO),
    ),
    min_size=1, max_size=20,
)


@given(drafts, st.lists(st.integers(0, 19), max_size=30), st.integers(2, 30))
@settings(
    deadline=None, derandomize=True, database=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow]
)
def test_batches_make_no_difference(
    drafts: list[tuple[str, str, dict[str, Any]]], repeats: list[int], size: int
) -> None:
    events = [event(kind, number, item, **who) for number, (kind, item, who) in enumerate(drafts)]
    stream = events + [events[number % len(events)] for number in repeats]
    assert differences(one_by_one(stream), in_batches(stream, size).twin.digests()) == []


def items(store: InMemory, user: str) -> set[str]:
    return {member.split(":")[1] for member, _ in store.twin.digests()[user].history}


def test_what_a_visitor_did_since_the_last_login_comes_with_the_next_even_in_one_batch() -> None:
    first = [event("view_item", 1, "x", visitor_id="81"), event("search", 2, "x", user_id="17", visitor_id="81")]
    again = [event("view_item", 3, "y", visitor_id="81"), event("search", 4, "x", user_id="17", visitor_id="81")]
    store = in_batches(first + again, size=2)
    assert items(store, "17") == {"x", "y"}
    assert items(store, "v:81") == set()


def test_a_login_takes_nothing_of_what_the_visitor_does_after_it() -> None:
    store = in_batches([
        event("view_item", 1, "x", visitor_id="81"), event("search", 2, "x", user_id="17", visitor_id="81"),
        event("view_item", 3, "y", visitor_id="81"),
    ], size=3)
    assert (items(store, "17"), items(store, "v:81")) == ({"x"}, {"y"})
    assert store.pipelines == 2


def test_a_login_of_a_visitor_who_did_nothing_since_the_last_one_costs_nothing() -> None:
    who = {"user_id": "17", "visitor_id": "81"}
    assert in_batches([event("search", number, "x", **who) for number in range(4)], size=2).links == 1


def test_a_login_that_was_applied_before_is_linked_again_in_case_that_was_cut_off() -> None:
    login = event("search", 1, "x", user_id="17", visitor_id="81")
    assert in_batches([login, login], size=1).links == 2


def test_every_visitor_of_a_batch_is_linked() -> None:
    visits = [event("view_item", number, item, visitor_id=item) for number, item in enumerate("xyz")]
    logins = [event("search", 10 + number, "x", user_id="17", visitor_id=item) for number, item in enumerate("xyz")]
    store = in_batches(visits + logins, size=6)
    assert items(store, "17") == {"x", "y", "z"}
    assert store.pipelines == 1


def test_a_group_knows_its_newest_event_and_the_state_after_all_of_it() -> None:
    batch, store = EventBatch(), InMemory()
    old, new = (event("view_item", number, "x", user_id="17") for number in (1, 2))
    old = msgspec.structs.replace(old, time=old.time - timedelta(days=1))
    assert batch.add(new, NOW_MS) is batch.add(old, NOW_MS)
    ((group, applied),) = asyncio.run(batch.apply(cast("UserStore", store)))
    assert (group.user, group.session, group.newest.id, group.newest_ms) == ("17", None, "2", NOW_MS)
    assert (applied.version, applied.new_events) == (2, 2)


def test_of_two_events_at_the_same_time_the_later_record_is_the_newest() -> None:
    batch = EventBatch()
    for number in (1, 2):
        group = batch.add(event("view_item", number, "x", user_id="17"), NOW_MS)
    assert group.newest.id == "2"


def test_without_consent_each_session_is_a_group_and_logs_nobody_in() -> None:
    batch = EventBatch()
    who = {"user_id": "17", "visitor_id": "81", "consent": False}
    sessions = ("a", "b", None)
    groups = [batch.add(event("view_item", n, "x", **who, session_id=s), NOW_MS) for n, s in enumerate(sessions)]
    assert [group.session for group in groups] == ["a", "b", "81"]
    store = InMemory()
    asyncio.run(batch.apply(cast("UserStore", store)))
    assert store.twin.digests().keys() == {"17"}
