"""The batch policy: whom a batch holds, when it is bound, who is dropped, and whose turn it is."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from model_core.batching.cost import CostModel
from model_core.batching.policy import Backlog, Client, Later, Pending, Plan
from model_core.runner import Batching, Service
from schemas.inference import RecommendRequest

STATE = Raw(b"\x90")


def pending(client: Client, request_id: int, deadline_s: float = 10.0) -> Pending:
    client.outstanding.add(request_id)
    return Pending(client, RecommendRequest(request_id, 0, 0, STATE), deadline_s)


def backlog_of(max_pending: int = 100, **caps: int) -> Backlog:
    """Of eager models of whose costs nothing is known."""
    return Backlog({name: Batching(cap) for name, cap in caps.items()}, {name: CostModel((1,)) for name in caps},
                   max_pending)


def plans(backlog: Backlog, now_s: float = 0.0) -> Iterator[Plan]:
    """Until nothing waits; the device is idle each time."""
    while (plan := backlog.take(now_s, now_s)) is not None:
        assert isinstance(plan, Plan)
        yield plan


@given(st.sets(st.integers(1, 50), min_size=1), st.integers(0, 60))
def test_a_request_is_padded_to_the_shortest_length_that_holds_it_or_cut_to_the_longest(
    lengths: set[int], tokens: int
) -> None:
    padded = Batching(8, tuple(sorted(lengths))).padded(tokens)
    assert padded == min((length for length in lengths if length >= tokens), default=max(lengths))


@given(
    deadlines=st.lists(st.floats(0, 20), max_size=40),
    cancelled=st.sets(st.integers(0, 39)),
    cap=st.integers(1, 8),
    now_s=st.floats(0, 20),
)
def test_every_wanted_request_is_taken_once_in_order_or_shed_when_its_budget_is_spent(
    deadlines: list[float], cancelled: set[int], cap: int, now_s: float
) -> None:
    client = Client(b"a", 0.0)
    backlog = backlog_of(m=cap)
    for request_id, deadline_s in enumerate(deadlines):
        assert backlog.add("m", pending(client, request_id, deadline_s))
    client.outstanding -= cancelled

    batched: list[int] = []
    shed: list[int] = []
    for plan in plans(backlog, now_s):
        assert len(plan.batch) <= cap
        assert plan.batch or plan.shed
        batched += [p.request.id for p in plan.batch]
        shed += [p.request.id for p in plan.shed]

    wanted = [i for i in range(len(deadlines)) if i not in cancelled]
    assert batched == [i for i in wanted if deadlines[i] > now_s]
    assert shed == [i for i in wanted if deadlines[i] <= now_s]
    assert len(backlog) == 0


def test_a_batch_is_filled_to_the_cap_while_requests_wait() -> None:
    client, backlog = Client(b"a", 0.0), backlog_of(m=4)
    for request_id in range(10):
        backlog.add("m", pending(client, request_id))
    sizes = [len(plan.batch) for plan in plans(backlog)]
    assert sizes == [4, 4, 2]


def test_models_take_turns() -> None:
    client, backlog = Client(b"a", 0.0), backlog_of(x=1, y=1, idle=1)
    for request_id in range(6):
        backlog.add("x" if request_id < 4 else "y", pending(client, request_id))
    order = [plan.model for plan in plans(backlog)]
    assert order == ["x", "y", "x", "y", "x", "x"]


def test_requests_of_a_client_that_has_gone_are_forgotten() -> None:
    gone, here = Client(b"gone", 0.0), Client(b"here", 0.0)
    backlog = backlog_of(m=8)
    for request_id in range(4):
        backlog.add("m", pending(gone if request_id % 2 else here, request_id))
    gone.outstanding.clear()
    (plan,) = plans(backlog)
    assert [p.request.id for p in plan.batch] == [0, 2]


def test_a_full_queue_refuses_and_an_unknown_model_is_an_error() -> None:
    client, backlog = Client(b"a", 0.0), backlog_of(max_pending=2, m=8)
    assert [backlog.add("m", pending(client, i)) for i in range(3)] == [True, True, False]
    with pytest.raises(KeyError):
        backlog.add("other", pending(client, 9))


def known(length: int = 1, a_s: float = 0.010, b_s: float = 0.001) -> CostModel:
    cost = CostModel((length,))
    for n in (1, 8):
        cost.observe(length, n, a_s + b_s * n)
    return cost


def test_while_the_device_is_busy_a_batch_is_bound_just_before_it_is_free_unless_it_is_full() -> None:
    client, backlog = Client(b"a", 0.0), backlog_of(m=4)
    for request_id in range(3):
        backlog.add("m", pending(client, request_id))
    assert backlog.take(now_s=1.0, free_s=2.0, lead_s=0.1) == Later(1.9)
    assert isinstance(backlog.take(now_s=1.9, free_s=2.0, lead_s=0.1), Plan)
    for request_id in range(3, 7):
        backlog.add("m", pending(client, request_id))
    assert isinstance(backlog.take(now_s=2.0, free_s=3.0, lead_s=0.1), Plan)


def test_who_would_be_answered_too_late_is_dropped_and_the_batch_keeps_its_size() -> None:
    client, backlog = Client(b"a", 0.0), Backlog({"m": Batching(4)}, {"m": known()})
    for request_id in range(12):
        backlog.add("m", pending(client, request_id, deadline_s=1.0 + request_id / 100))
    plan = backlog.take(now_s=1.0, free_s=1.05)  # a batch of 4 is done at 1.064
    assert isinstance(plan, Plan)
    assert [p.request.id for p in plan.shed] == [0, 1, 2, 3, 4, 5, 6]
    assert [p.request.id for p in plan.batch] == [7, 8, 9, 10]


def test_an_idle_device_tries_what_cannot_be_in_time_by_the_estimate() -> None:
    client, backlog = Client(b"a", 0.0), Backlog({"m": Batching(4)}, {"m": known(a_s=100.0)})
    backlog.add("m", pending(client, 1, deadline_s=0.9))
    backlog.add("m", pending(client, 2, deadline_s=2.0))
    (plan,) = plans(backlog, now_s=1.0)
    assert [p.request.id for p in plan.batch] == [2]
    assert [p.request.id for p in plan.shed] == [1]


def test_a_batch_is_of_one_length_topped_up_from_shorter_ones_within_its_tokens() -> None:
    client = Client(b"a", 0.0)
    backlog = Backlog({"m": Batching(8, (16, 64), max_tokens=256)}, {"m": CostModel((16, 64))})
    for request_id, tokens in enumerate((60, 3, 64, 16, 5, 200)):
        client.outstanding.add(request_id)
        backlog.add("m", Pending(client, RecommendRequest(request_id, 0, 0, STATE), 10.0 + request_id, tokens))
    first, second = plans(backlog)
    assert (first.length, [p.request.id for p in first.batch]) == (64, [0, 2, 5, 1])
    assert (second.length, [p.request.id for p in second.batch]) == (16, [3, 4])


def test_deferred_work_waits_for_a_full_batch_until_its_time_is_running_out() -> None:
    client = Client(b"a", 0.0)
    backlog = Backlog({"f": Batching(8, service=Service.DEFERRED)}, {"f": known(a_s=0.5, b_s=0.0)})
    backlog.add("f", pending(client, 0, deadline_s=10.0))
    assert backlog.take(0.0, 0.0) == Later(9.5)
    assert isinstance(backlog.take(9.6, 9.6), Plan)
    for request_id in range(1, 9):
        backlog.add("f", pending(client, request_id, deadline_s=20.0))
    assert backlog.take(10.0, free_s=10.5) == Later(10.5)
    assert isinstance(backlog.take(10.5, 10.5), Plan)
