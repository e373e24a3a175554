"""One request in flight per user; nothing that rides along is lost."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from agents.ack_window import AckWindow, OffsetRun, Partition
from agents.coalescer import Coalescer, Held, Work, covers
from schemas.results import Trigger
from tests.doubles import record

WINDOW = AckWindow()


def work(
    user: str, offset: int, *, version: int | None = None, answered: bool = False, time_ms: int | None = None
) -> Work:
    version = offset if version is None else version
    time_ms = offset if time_ms is None else time_ms
    return Work(user, None, version, time_ms, Raw(b"%d" % version), Trigger("s", str(offset)), time_ms, (str(offset),),
                answered, held=[Held(record(b"", offset=offset), Partition("retail.clickstream.v1", 0), WINDOW)])


def offsets(work: Work) -> list[int]:
    return [held.record.offset for held in work.held]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=60))
def test_every_record_is_started_once_and_no_user_is_in_flight_twice(steps: list[tuple[str, bool]]) -> None:
    coalescer, running, started = Coalescer(), {}, []

    def start(work: Work | None) -> None:
        if work is not None:
            assert work.user not in running
            running[work.user] = work
            started.extend(offsets(work))

    for offset, (user, finish) in enumerate(steps):
        start(coalescer.offer(work(user, offset)))
        if finish and user in running:
            del running[user]
            start(coalescer.finished(user))
    while running:
        user = next(iter(running))
        del running[user]
        start(coalescer.finished(user))
    assert sorted(started) == list(range(len(steps)))
    assert len(coalescer) == 0


def test_what_rides_along_carries_the_newest_state_and_answers_all() -> None:
    coalescer = Coalescer()
    coalescer.offer(work("a", 1))
    for offset in (2, 3, 4):
        assert coalescer.offer(work("a", offset)) is None
    following = coalescer.finished("a")
    assert following is not None
    assert (following.version, following.state, following.trigger.id) == (4, Raw(b"4"), "4")
    assert offsets(following) == [2, 3, 4]


def test_a_late_event_is_not_the_trigger() -> None:
    newer, late = work("a", 1, time_ms=100), work("a", 2, time_ms=50)
    newer.absorb(late)
    assert newer.trigger.id == "1"
    assert newer.looked_at == ("1",)
    assert newer.version == 2


def test_a_redelivery_that_rides_with_a_new_event_is_answered_by_the_model() -> None:
    fresh, again = work("a", 1), work("a", 2, version=1, answered=True)
    fresh.absorb(again)
    assert not fresh.answered


@given(st.sets(st.integers(0, 40), max_size=20))
def test_covers_hold_exactly_the_offsets(numbers: set[int]) -> None:
    held = [Held(record(b"", offset=n), Partition("retail.clickstream.v1", n % 2), WINDOW) for n in numbers]
    runs = covers(replace(work("a", 1), held=held))
    assert {(p, o) for _, p, first, last in runs for o in range(first, last + 1)} == {(n % 2, n) for n in numbers}


def test_what_the_stored_result_answers_is_covered_again_unless_it_is_known_to_be_done() -> None:
    here, elsewhere = Partition("clicks", 0), "purchases"
    window = AckWindow({here: 5})
    window.deliver(here, [5, 6, 7])
    window.take(3)
    window.done(here, 6)
    stored = (OffsetRun("clicks", 0, 3, 4), OffsetRun("clicks", 0, 5, 5), OffsetRun("clicks", 0, 6, 6),
              OffsetRun(elsewhere, 0, 1, 2), OffsetRun("clicks", 0, 7, 7))
    again = replace(work("a", 7), held=[Held(record(b"", offset=7), here, window)], stored_covers=stored)
    assert covers(again) == (
        OffsetRun("clicks", 0, 7, 7), OffsetRun("clicks", 0, 5, 5), OffsetRun(elsewhere, 0, 1, 2),
    )
