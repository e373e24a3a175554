"""What the batch policy comes to under load: goodput, latency and fairness, on a virtual clock.

The bounds hold for these seeds and costs with some room; a policy that gets worse misses them.
"""

import pytest

from model_core.runner import Batching, Service
from tests.worker.fronted import FrontedSimulation
from tests.worker.simulation import Load, Served, Simulation, poisson

UNTIL_S = 4.0
WARM_S, LONG_S = 4.0, 10.0
COLLATE_S = 0.0005
EAGER = {"m": Batching(256)}
CAPACITY = 256 / (0.002 + 0.00002 * 256)  # requests/s
SHARED = {**EAGER, "forecast": Batching(64, service=Service.DEFERRED), "reply": Batching(8, service=Service.CONTINUOUS)}
STEP_S = 0.020


def cost(model: str, length: int, n: int) -> float:
    return {"m": (0.002 + 0.00002 * n) * length, "forecast": 0.010 + 0.0001 * n, "reply": STEP_S}[model]


def alone(rate_per_s: float, budget_s: float = 0.05, burst: float = 1.0) -> Served:
    arrivals = poisson(rate_per_s, UNTIL_S, seed=1, burst=burst)
    return Simulation(EAGER, cost, collate_s=COLLATE_S).run([Load("m", arrivals, budget_s)], UNTIL_S)["m"]


@pytest.mark.parametrize(("share", "batches"), [(0.05, 2), (0.25, 3), (0.5, 3.5), (0.75, 4.5)])
def test_below_capacity_nobody_waits_for_more_than_a_few_batches(share: float, batches: float) -> None:
    served = alone(share * CAPACITY)
    mean_size = sum(served.sizes) / len(served.sizes)
    assert served.percentile_s(0.99) < batches * cost("m", 1, round(mean_size)) + 2 * COLLATE_S
    assert served.shed + served.late == 0


def test_an_idle_device_serves_a_request_at_once() -> None:
    served = alone(5.0)
    assert served.percentile_s(0.5) == pytest.approx(COLLATE_S + cost("m", 1, 1))


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_beyond_capacity_the_device_answers_as_many_in_time_as_it_can(factor: float) -> None:
    served = alone(factor * CAPACITY)
    assert served.in_time / UNTIL_S > 0.97 * CAPACITY
    assert served.late < 0.01 * served.in_time


@pytest.mark.parametrize("factor", [0.9, 1.5, 3.0])
@pytest.mark.parametrize("batch_s", [0.04, 0.16, 0.32])
def test_with_an_agent_in_front_it_answers_as_many_and_its_batches_are_full(factor: float, batch_s: float) -> None:
    capacity = 64 / batch_s
    simulation = FrontedSimulation(Batching(64), lambda _model, _length, n: batch_s * (0.2 + 0.8 * n / 64), WARM_S)
    simulation.run([Load("m", poisson(factor * capacity, WARM_S + LONG_S, seed=1), 2.0)], WARM_S + LONG_S)
    outcome = simulation.outcome
    assert outcome.by_model / LONG_S > 0.96 * min(1.0, factor) * capacity
    assert outcome.in_vain <= 0.01 * outcome.by_model
    if factor > 1:
        assert sum(outcome.sizes) / len(outcome.sizes) > 63


def test_bursts_beyond_capacity_are_survived() -> None:
    served = alone(0.83 * CAPACITY, burst=1.8)
    assert served.in_time > 0.95 * served.offered


def shared(share: float, *, others: bool) -> dict[str, Served]:
    loads = [Load("m", poisson(share * CAPACITY, UNTIL_S, seed=1), 0.2)]
    if others:
        loads += [Load("forecast", poisson(3000, UNTIL_S, seed=2), 5.0)]
        loads += [Load("reply", poisson(200, UNTIL_S, seed=3), 9.0)]
    return Simulation(SHARED, cost, collate_s=COLLATE_S).run(loads, UNTIL_S)


@pytest.mark.parametrize("share", [0.05, 0.25, 0.5])
def test_others_delay_an_eager_request_by_one_of_their_steps_and_who_gathered_in_it(share: float) -> None:
    apart, together = shared(share, others=False)["m"], shared(share, others=True)["m"]
    gathered_s = cost("m", 1, round(share * CAPACITY * STEP_S)) - cost("m", 1, 0)
    assert together.percentile_s(0.99) < apart.percentile_s(0.99) + STEP_S + gathered_s + 2 * COLLATE_S


@pytest.mark.parametrize("share", [0.25, 0.75, 2.0])
def test_nobody_starves(share: float) -> None:
    served = shared(share, others=True)
    busy_s = sum(one.busy_s for one in served.values())
    assert served["reply"].busy_s > 0.1 * busy_s
    assert served["forecast"].busy_s > 0.05 * busy_s
    assert served["m"].busy_s > 0.65 * busy_s


def test_without_eager_requests_the_others_have_the_device() -> None:
    served = shared(0.0001, others=True)
    assert served["reply"].busy_s + served["forecast"].busy_s > 0.95 * UNTIL_S
