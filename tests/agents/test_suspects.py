"""One input that breaks workers is found and asked no more; who was merely there is not."""

from hypothesis import given
from hypothesis import strategies as st

from agents.suspects import AGAIN_AFTER_S, ALONE_FROM, MAX_SUSPECTS, REFUSED_FROM, Suspects


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_one_break_is_no_reason_to_treat_anybody_apart() -> None:
    suspects = Suspects(Clock())
    suspects.broke(["a", "b"])
    assert suspects.may_ask("a")
    assert suspects.may_ask("b")


def test_who_was_there_twice_is_asked_alone() -> None:
    suspects = Suspects(Clock())
    for _ in range(ALONE_FROM):
        suspects.broke(["a", "b"])
    assert suspects.may_ask("a")
    assert not suspects.may_ask("b")
    assert suspects.may_ask("a"), "the one that is asked may be asked again"
    assert suspects.may_ask("somebody else")
    suspects.finished("somebody else")
    assert not suspects.may_ask("b")
    suspects.finished("a")
    assert suspects.may_ask("b")


def test_after_two_breaks_running_one_is_asked_alone_and_after_a_third_not_at_all() -> None:
    suspects = Suspects(Clock())
    states = []
    for _ in range(3):
        suspects.broke(["a"])
        states.append((suspects.suspected("a"), suspects.refused("a")))
    assert states == [(False, False), (True, False), (True, True)]


def test_who_is_answered_is_no_suspect_any_more() -> None:
    suspects = Suspects(Clock())
    for _ in range(ALONE_FROM):
        suspects.broke(["a"])
    suspects.cleared("a")
    assert not suspects.suspected("a")
    assert len(suspects) == 0


def test_who_breaks_a_worker_each_time_is_asked_once_more_after_a_while() -> None:
    clock = Clock()
    suspects = Suspects(clock)
    for _ in range(REFUSED_FROM):
        suspects.broke(["a"])
    assert suspects.refused("a")
    assert not suspects.may_ask("a")
    clock.now_s = AGAIN_AFTER_S
    assert suspects.may_ask("a")
    suspects.broke(["a"])
    suspects.finished("a")
    assert suspects.refused("a"), "once more is enough now"


def test_the_oldest_are_forgotten_before_memory_grows() -> None:
    suspects = Suspects(Clock())
    users = [str(number) for number in range(MAX_SUSPECTS + 10)]
    for _ in range(REFUSED_FROM):
        suspects.broke(users)
    assert len(suspects) == MAX_SUSPECTS
    assert suspects.refused(users[-1])


def test_who_broke_a_worker_just_now_is_forgotten_last() -> None:
    suspects = Suspects(Clock())
    suspects.broke(["first", "second"])
    suspects.broke(["first"])
    suspects.broke(str(number) for number in range(MAX_SUSPECTS - 1))
    assert suspects.suspected("first")


@given(st.sets(st.integers(0, 19), min_size=1, max_size=3), st.integers(1, 20), st.randoms(use_true_random=False))
def test_culprits_cost_few_workers_and_all_others_are_answered(
    culprits: set[int], batch: int, random: "object"
) -> None:
    """Users are asked in random batches until each is answered or refused; a batch with a culprit breaks the worker."""
    suspects, breaks = Suspects(Clock()), 0
    unanswered = set(range(20))
    for _ in range(1000):
        asked = [user for user in random.sample(sorted(unanswered), min(batch, len(unanswered)))  # type: ignore[attr-defined]
                 if suspects.may_ask(str(user))]
        if culprits & set(asked):
            breaks += 1
            suspects.broke(str(user) for user in asked)
        else:
            unanswered -= set(asked)
            for user in asked:
                suspects.cleared(str(user))
        for user in asked:
            suspects.finished(str(user))
        unanswered -= {user for user in unanswered if suspects.refused(str(user))}
    assert not unanswered
    assert all(suspects.refused(str(user)) for user in culprits)
    if len(culprits) == 1:
        assert breaks == REFUSED_FROM
        assert len(suspects) == 1, "everybody else was answered"
