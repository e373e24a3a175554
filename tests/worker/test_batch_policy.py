"""The batch policy: whom a batch holds, when it is bound, who is dropped, and whose turn it is."""

from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from model_core.batching.cost import CostModel
from model_core.batching.policy import LEAD, LEAD_S, SHARE, Backlog, Client, Later, Pending, Plan
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


def later(plan: Plan | Later | None) -> float:
    assert isinstance(plan, Later)
    return plan.at_s


def known(length: int = 1, a_s: float = 0.010, b_s: float = 0.001) -> CostModel:
    cost = CostModel((length,))
    for n in (1, 8):
        cost.observe(length, n, a_s + b_s * n)
    return cost


def test_while_the_device_is_busy_a_batch_is_bound_just_before_it_is_free_unless_it_is_full() -> None:
    client, backlog = Client(b"a", 0.0), backlog_of(m=4)
    backlog.collated("m", 3, 0.1)
    for request_id in range(3):
        backlog.add("m", pending(client, request_id))
    bind_s = 2.0 - 0.1 * LEAD - LEAD_S
    assert later(backlog.take(now_s=1.0, free_s=2.0)) == pytest.approx(bind_s)
    assert isinstance(backlog.take(now_s=bind_s + 1e-6, free_s=2.0), Plan)
    for request_id in range(3, 7):
        backlog.add("m", pending(client, request_id))
    assert isinstance(backlog.take(now_s=2.0, free_s=3.0), Plan)


def test_the_lead_is_that_of_the_batch_to_come_and_not_of_all_who_wait() -> None:
    client = Client(b"a", 0.0)
    models = {"m": Batching(4), "f": Batching(64, service=Service.DEFERRED)}
    backlog = Backlog(models, {name: CostModel((1,)) for name in models})
    backlog.collated("m", 1, 0.01)
    backlog.collated("f", 64, 0.64)
    for request_id in range(60):
        backlog.add("f", pending(client, request_id))
    backlog.add("m", pending(client, 99))
    assert later(backlog.take(now_s=1.0, free_s=2.0)) == pytest.approx(2.0 - 0.01 * LEAD - LEAD_S)


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


def sizes_of_batches(tokens: Sequence[int]) -> list[tuple[int, int]]:
    """Length and size of each batch of requests that waited in this order."""
    cost = CostModel((16, 64))
    for n in (1, 32):
        cost.observe(16, n, 0.001 + 0.0001 * n)
        cost.observe(64, n, 0.001 + 0.0004 * n)
    client, backlog = Client(b"a", 0.0), Backlog({"m": Batching(32, (16, 64))}, {"m": cost})
    for request_id, of in enumerate(tokens):
        client.outstanding.add(request_id)
        backlog.add("m", Pending(client, RecommendRequest(request_id, 0, 0, STATE), 10.0 + request_id, of))
    return [(plan.length, len(plan.batch)) for plan in plans(backlog)]


def test_shorter_requests_join_a_batch_where_they_cost_less_there_than_apart() -> None:
    assert sizes_of_batches([64, *[16] * 2]) == [(64, 3)]
    assert sizes_of_batches([64, *[16] * 10]) == [(64, 1), (16, 10)]


def test_a_batch_holds_longer_requests_than_its_first_where_that_saves_a_batch() -> None:
    assert sizes_of_batches([16, 16, *[64] * 10]) == [(64, 12)]
    assert sizes_of_batches([*[16] * 10, 64]) == [(16, 10), (64, 1)]
    assert sizes_of_batches([*[16] * 4, *[64] * 29]) == [(16, 4), (64, 29)]  # not all would find room there


def test_deferred_work_waits_for_a_full_batch_until_its_time_is_running_out() -> None:
    client = Client(b"a", 0.0)
    backlog = Backlog({"f": Batching(8, service=Service.DEFERRED)}, {"f": known(a_s=0.5, b_s=0.0)})
    backlog.add("f", pending(client, 0, deadline_s=10.0))
    assert backlog.take(0.0, 0.0) == Later(9.0)  # 0.5 s for it, and as much for what the device may be at
    assert isinstance(backlog.take(9.1, 9.1), Plan)
    for request_id in range(1, 9):
        backlog.add("f", pending(client, request_id, deadline_s=20.0))
    assert backlog.take(10.0, free_s=10.5) == Later(10.5 - LEAD_S)
    assert isinstance(backlog.take(10.5, 10.5), Plan)


def shared(**usual: int) -> Backlog:
    """An eager model, a continuous one with a step of 0.1 s, and a deferred one; `usual`: earlier batches of `m`."""
    models = {
        "m": Batching(8), "w": Batching(4, service=Service.CONTINUOUS), "f": Batching(2, service=Service.DEFERRED),
    }
    costs = {"m": known(), "w": known(a_s=0.1, b_s=0.0), "f": known(a_s=0.1, b_s=0.0)}
    backlog = Backlog(models, costs)
    client = Client(b"earlier", 0.0)
    for _ in range(usual.get("batches", 0)):
        for request_id in range(usual["size"]):
            backlog.add("m", pending(client, request_id))
        assert isinstance(backlog.take(0.0, 0.0), Plan)
    return backlog


def test_a_step_of_others_is_let_in_before_eager_requests_for_its_share() -> None:
    client, backlog, now_s, order = Client(b"a", 0.0), shared(), 1.0, []
    backlog.generating("w", 3)
    for request_id in range(2000):  # one is there whenever the device is free
        backlog.add("m", pending(client, request_id, deadline_s=1e6))
        plan = backlog.take(now_s, now_s)
        assert isinstance(plan, Plan)
        now_s += 0.011 if plan.model == "m" else 0.1
        backlog.ran(plan.model, 0.011 if plan.model == "m" else 0.1, now_s)
        order.append(plan.model)
    assert 0.8 * SHARE < 0.1 * order.count("w") / (now_s - 1.0) < SHARE


def test_a_step_of_others_waits_for_a_calm_moment_but_not_for_ever() -> None:
    client, backlog = Client(b"a", 0.0), shared(batches=50, size=2)
    backlog.generating("w", 1)
    backlog.ran("w", 0.1, now_s=0.0)
    for request_id in range(3):  # more than is usual
        backlog.add("m", pending(client, request_id, deadline_s=1e6))
    rests_s = 0.1 / SHARE
    plan = backlog.take(rests_s + 0.01, rests_s + 0.01)
    assert isinstance(plan, Plan)
    assert plan.model == "m"
    backlog.add("m", pending(client, 9, deadline_s=1e6))
    plan = backlog.take(rests_s + 0.02, rests_s + 0.02)
    assert isinstance(plan, Plan)
    assert plan.model == "w"
    backlog.ran("w", 0.1, now_s=rests_s + 0.12)
    for request_id in range(10, 30):
        backlog.add("m", pending(client, request_id, deadline_s=1e6))
    later_s = 3 * rests_s + 0.13
    plan = backlog.take(later_s, later_s)
    assert isinstance(plan, Plan)
    assert plan.model == "w"


def test_a_step_that_is_under_way_or_bound_lets_no_second_one_before_eager_requests() -> None:
    client, backlog = Client(b"a", 0.0), shared()
    backlog.generating("w", 1)
    for request_id in range(4):
        backlog.add("f", pending(client, request_id, deadline_s=1.05))
    first = backlog.take(1.0, 1.0)  # idle: nobody eager waits
    assert isinstance(first, Plan)
    assert first.model == "w"
    backlog.add("m", pending(client, 9, deadline_s=1e6))
    second = backlog.take(1.1, 1.1)
    assert isinstance(second, Plan)
    assert second.model == "m"


def test_deferred_work_waits_for_idle_time_until_its_own_is_running_out() -> None:
    client, backlog = Client(b"a", 0.0), shared()
    for request_id in range(10):
        backlog.add("f", pending(client, request_id, deadline_s=100.0))
    let_in_s = 100.0 - 2 * 0.1 - 2 * 0.1 / SHARE
    for now_s, model in ((1.0, "m"), (let_in_s - 0.01, "m"), (let_in_s + 0.01, "f")):
        backlog.add("m", pending(client, int(now_s * 1000), deadline_s=1e6))
        plan = backlog.take(now_s, now_s)
        assert isinstance(plan, Plan)
        assert plan.model == model
