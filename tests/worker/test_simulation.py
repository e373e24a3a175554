"""What the batch policy comes to under load: goodput, latency and fairness, on a virtual clock.

The bounds hold for these seeds and costs with some room; a policy that gets worse misses them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from model_core.batching.policy import LEAD, LEAD_S, SHARE
from model_core.runner import Batching, Service
from tests.worker.fronted import FrontedSimulation
from tests.worker.simulation import Load, Served, Simulation, poisson

UNTIL_S = 2.0
WARM_S, LONG_S = 4.0, 10.0
COLLATE_S = 0.0005
LATE_S = LEAD * COLLATE_S + LEAD_S  # who comes after a batch was bound waits for so long before it begins
NOISE = 0.1  # of what batches take
OTHERS = {"forecast": Batching(64, service=Service.DEFERRED), "reply": Batching(8, service=Service.CONTINUOUS)}
RATES = {"forecast": 600.0, "reply": 100.0}  # requests/s: more than there is room for, while eager ones wait
BUDGETS_S = {"forecast": 0.5, "reply": 9.0}
STEP_S = 0.020
STEPS_S = {"forecast": 0.010 + 0.0001 * 64, "reply": STEP_S}


@dataclass(frozen=True)
class Device:
    """Seconds of a batch of n of the eager model: `a + b·n`."""

    a_s: float
    b_s: float
    max_batch: int

    @property
    def capacity(self) -> float:
        """Requests/s in full batches."""
        return self.max_batch / self.cost("m", 1, self.max_batch)

    def cost(self, model: str, length: int, n: int) -> float:
        return {"m": (self.a_s + self.b_s * n) * length, "forecast": 0.010 + 0.0001 * n, "reply": STEP_S}[model]


GPU = Device(0.002, 0.00002, 256)  # a batch of one costs most of what a batch of a hundred does
CPU = Device(0.004, 0.001, 64)  # the first few are for free
CAPACITY = GPU.capacity


def serve(
    share: float, *others: str, device: Device = GPU, seed: int = 1, budget_s: float = 0.5, noise: float = NOISE,
    burst: float = 1.0, until_s: float = UNTIL_S,
) -> dict[str, Served]:
    """Eager requests for this share of the capacity, beside more than enough for each of `others`."""
    loads = [Load("m", poisson(share * device.capacity, until_s, seed, burst), budget_s)]
    loads += [Load(name, poisson(RATES[name], until_s, seed + 10), BUDGETS_S[name]) for name in others]
    simulation = Simulation({"m": Batching(device.max_batch), **OTHERS}, device.cost,
                            collate_s=COLLATE_S, noise=noise, seed=seed)
    return simulation.run(loads, until_s)


@pytest.mark.parametrize(("share", "batches"), [(0.05, 2), (0.25, 3), (0.5, 3.5), (0.75, 4.5)])
def test_below_capacity_nobody_waits_for_more_than_a_few_batches(share: float, batches: float) -> None:
    served = serve(share, noise=0.0)["m"]
    mean_size = sum(served.sizes) / len(served.sizes)
    assert served.percentile_s(0.99) < batches * GPU.cost("m", 1, round(mean_size)) + LATE_S + COLLATE_S
    assert served.shed + served.late == 0


def test_an_idle_device_serves_a_request_at_once() -> None:
    served = serve(5.0 / CAPACITY, noise=0.0)["m"]
    assert served.percentile_s(0.5) == pytest.approx(COLLATE_S + GPU.cost("m", 1, 1))


@pytest.mark.parametrize("device", [GPU, CPU], ids=["gpu", "cpu"])
@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_beyond_capacity_the_device_answers_as_many_in_time_as_it_can(device: Device, seed: int, factor: float) -> None:
    budget_s = 7 * device.cost("m", 1, device.max_batch)
    until_s = 300 * device.cost("m", 1, device.max_batch)
    served = serve(factor, device=device, seed=seed, budget_s=budget_s, until_s=until_s)["m"]
    assert served.in_time / until_s > 0.97 * device.capacity
    assert served.late < 0.02 * served.in_time


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_beyond_capacity_others_leave_an_eager_model_what_it_is_promised(factor: float) -> None:
    served = serve(factor, "forecast", "reply", budget_s=0.1)["m"]
    assert served.in_time / UNTIL_S > 0.93 * CAPACITY
    assert served.late < 0.02 * served.in_time


MIX = {1: 0.5, 2: 0.3, 4: 0.2}  # share of the requests by length
LONG = Device(0.002, 0.0002, 64)


def serve_mix(share: float, until_s: float) -> Served:
    """Requests of several lengths, where a batch of longer ones takes longer."""
    loads = [
        Load("m", poisson(share * mix_capacity() * part, until_s, seed), 0.3, length)
        for seed, (length, part) in enumerate(MIX.items(), start=1)
    ]
    simulation = Simulation({"m": Batching(64, tuple(MIX))}, mix_cost, collate_s=COLLATE_S, noise=NOISE)
    return simulation.run(loads, until_s)["m"]


def mix_cost(_: str, length: int, n: int) -> float:
    return LONG.a_s + LONG.b_s * length * n


def mix_capacity() -> float:
    """In full batches of one length each."""
    return LONG.max_batch / sum(part * mix_cost("m", length, LONG.max_batch) for length, part in MIX.items())


def test_requests_of_many_lengths_wait_for_a_few_batches_and_not_for_padding() -> None:
    longest_s = mix_cost("m", max(MIX), LONG.max_batch)
    assert serve_mix(0.5, 3.0).percentile_s(0.99) < 0.6 * longest_s
    assert serve_mix(0.75, 3.0).percentile_s(0.99) < longest_s


@pytest.mark.parametrize("factor", [1.5, 3.0])
def test_beyond_capacity_requests_of_many_lengths_are_answered_about_as_full_batches_would(factor: float) -> None:
    assert serve_mix(factor, 3.0).in_time / 3.0 > 0.9 * mix_capacity()


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
    served = serve(0.83, budget_s=0.05, burst=1.8)["m"]
    assert served.in_time > 0.95 * served.offered


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.5, 0.75, 0.9])
@pytest.mark.parametrize("others", [("forecast",), ("reply",), ("forecast", "reply")], ids="+".join)
def test_others_raise_the_p99_of_eager_requests_by_one_of_their_steps_at_most(
    others: tuple[str, ...], share: float, seed: int, p99_alone: Callable[[float, int], float]
) -> None:
    served = serve(share, *others, seed=seed, until_s=3.0)
    assert served["m"].percentile_s(0.99) < p99_alone(share, seed) + max(STEPS_S[name] for name in others)
    assert served["m"].shed + served["m"].late == 0


@pytest.fixture(scope="module")
def p99_alone() -> Callable[[float, int], float]:
    known: dict[tuple[float, int], float] = {}

    def p99(share: float, seed: int) -> float:
        if (share, seed) not in known:
            known[share, seed] = serve(share, seed=seed, until_s=3.0)["m"].percentile_s(0.99)
        return known[share, seed]

    return p99


@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_where_batching_pays_little_it_is_a_step_and_the_work_that_gathered_in_it(share: float) -> None:
    alone, beside = serve(share, device=CPU)["m"], serve(share, "forecast", "reply", device=CPU)["m"]
    gathered_s = CPU.b_s * share * CPU.capacity * STEP_S
    assert beside.percentile_s(0.99) < alone.percentile_s(0.99) + STEP_S + gathered_s


@pytest.mark.parametrize("share", [0.25, 0.75, 0.9, 2.0])
def test_nobody_starves_while_eager_requests_wait_all_the_time(share: float) -> None:
    served = serve(share, "forecast", "reply", budget_s=0.2, until_s=4.0)
    busy_s = sum(one.busy_s for one in served.values())
    for name in ("forecast", "reply"):
        assert served[name].busy_s > 0.1 * SHARE * busy_s
    assert served["forecast"].busy_s + served["reply"].busy_s > 0.4 * SHARE * busy_s
    assert served["m"].busy_s > (1 - 1.5 * SHARE) * busy_s


def test_without_eager_requests_the_others_have_the_device() -> None:
    served = serve(0.0001, "forecast", "reply")
    assert served["reply"].busy_s + served["forecast"].busy_s > 0.9 * UNTIL_S
