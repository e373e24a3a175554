"""The batch policy: oldest first, no more than the cap, nothing spent or cancelled, nothing lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from model_core.batching.policy import Backlog, Client, Pending
from schemas.inference import RecommendRequest

STATE = Raw(b"\x90")


def pending(client: Client, request_id: int, deadline_s: float = 10.0) -> Pending:
    client.outstanding.add(request_id)
    return Pending(client, RecommendRequest(request_id, 0, 0, STATE), deadline_s)


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
    backlog = Backlog({"m": cap})
    for request_id, deadline_s in enumerate(deadlines):
        assert backlog.add("m", pending(client, request_id, deadline_s))
    client.outstanding -= cancelled

    batched: list[int] = []
    shed: list[int] = []
    while (plan := backlog.take(now_s)) is not None:
        assert len(plan.batch) <= cap
        assert plan.batch or plan.shed
        batched += [p.request.id for p in plan.batch]
        shed += [p.request.id for p in plan.shed]

    wanted = [i for i in range(len(deadlines)) if i not in cancelled]
    assert batched == [i for i in wanted if deadlines[i] > now_s]
    assert shed == [i for i in wanted if deadlines[i] <= now_s]
    assert len(backlog) == 0


def test_a_batch_is_filled_to_the_cap_while_requests_wait() -> None:
    client, backlog = Client(b"a", 0.0), Backlog({"m": 4})
    for request_id in range(10):
        backlog.add("m", pending(client, request_id))
    sizes = [len(plan.batch) for plan in iter(lambda: backlog.take(0.0), None)]
    assert sizes == [4, 4, 2]


def test_models_take_turns() -> None:
    client, backlog = Client(b"a", 0.0), Backlog({"x": 1, "y": 1, "idle": 1})
    for request_id in range(6):
        backlog.add("x" if request_id < 4 else "y", pending(client, request_id))
    order = [plan.model for plan in iter(lambda: backlog.take(0.0), None)]
    assert order == ["x", "y", "x", "y", "x", "x"]


def test_requests_of_a_client_that_has_gone_are_forgotten() -> None:
    gone, here = Client(b"gone", 0.0), Client(b"here", 0.0)
    backlog = Backlog({"m": 8})
    for request_id in range(4):
        backlog.add("m", pending(gone if request_id % 2 else here, request_id))
    gone.outstanding.clear()
    plan = backlog.take(0.0)
    assert plan is not None
    assert [p.request.id for p in plan.batch] == [0, 2]


def test_a_full_queue_refuses_and_an_unknown_model_is_an_error() -> None:
    client, backlog = Client(b"a", 0.0), Backlog({"m": 8}, max_pending=2)
    assert [backlog.add("m", pending(client, i)) for i in range(3)] == [True, True, False]
    with pytest.raises(KeyError):
        backlog.add("other", pending(client, 9))
