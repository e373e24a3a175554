"""The simulated device with an agent in front: requests wait in a `WorkerPool`, which has credits, and grow old there.

Messages take no time. As in the agent, what is late is given up and cancelled.
"""

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from agents.worker_pool import WorkerPool
from model_core.batching.policy import Pending, Plan
from model_core.runner import Batching
from schemas.inference import ModelInfo, Ready, RecommendResult, Replies, Reply, Shed, Submit
from tests.worker.simulation import STATE, Load, Running, Simulation

MODEL, EPOCH = "m", "e"
BATCHES_PER_CLIENT = 16


@dataclass
class Outcome:
    """What the agent made of its requests; `in_vain`: of the device's answers, those that came too late."""

    by_model: int = 0
    by_fallback: int = 0
    in_vain: int = 0
    sizes: list[int] = field(default_factory=list)


class FrontedSimulation(Simulation):
    """`warm_s`: what comes of requests until then is not counted."""

    def __init__(self, batching: Batching, cost: Callable[[str, int, int], float], warm_s: float) -> None:
        super().__init__({MODEL: batching}, cost)
        self.pool = WorkerPool(MODEL, 1)
        self.pool.ready(0, Ready(EPOCH, (ModelInfo(MODEL, "1", ()),), BATCHES_PER_CLIENT * batching.max_batch))
        self.outcome, self._warm_s = Outcome(), warm_s
        self._deadline_s: dict[int, float] = {}  # of who waits for an answer

    def _arrive(self, load: Load, at_s: float) -> None:
        self._ids += 1
        self._deadline_s[self._ids] = at_s + load.budget_s
        self.pool.submit(self._ids, (0, STATE), at_s + load.budget_s)
        self._give_up(at_s)  # arrivals are as good a clock as any
        self._flush(at_s)

    def _give_up(self, now_s: float) -> None:
        late = [request_id for request_id, _ in
                itertools.takewhile(lambda entry: entry[1] <= now_s, self._deadline_s.items())]
        for request_id in late:
            del self._deadline_s[request_id]
        self.outcome.by_fallback += len(late) * (now_s >= self._warm_s)
        for cancelled in self.pool.cancel(late).values():
            self._client.outstanding.difference_update(cancelled)

    def _flush(self, now_s: float) -> None:
        dispatched = self.pool.dispatch(now_s)
        self._take(dispatched.shed, now_s)
        for _, submit in dispatched.submits:
            self._submit(submit, now_s)

    def _submit(self, submit: Submit, now_s: float) -> None:
        for request in submit.requests:
            self._client.outstanding.add(request.id)
            assert self.backlog.add(MODEL, Pending(self._client, request, now_s + request.budget_ms / 1000))

    def _reply(self, replies: Iterable[Reply], now_s: float) -> None:
        wanted = tuple(reply for reply in replies if reply.id in self._client.outstanding)
        self._client.outstanding.difference_update(reply.id for reply in wanted)
        self._take(self.pool.replies(0, Replies(EPOCH, "1", wanted), now_s), now_s)
        self._flush(now_s)

    def _take(self, replies: Iterable[Reply], now_s: float) -> None:
        for reply in replies:
            del self._deadline_s[reply.id]
            if now_s < self._warm_s:
                continue
            self.outcome.by_fallback += isinstance(reply, Shed)
            self.outcome.by_model += isinstance(reply, RecommendResult)

    def _count_shed(self, plan: Plan, now_s: float) -> None:
        self._reply((Shed(pending.request.id) for pending in plan.shed), now_s)

    def _finish(self, running: Running) -> None:
        plan, now_s = running.plan, running.ends_s
        self._give_up(now_s)
        if now_s >= self._warm_s:
            self.outcome.in_vain += sum(not pending.wanted for pending in plan.batch)
            self.outcome.sizes.append(len(plan.batch))
        took_s = now_s - running.began_s
        self.costs[MODEL].observe(plan.length, len(plan.batch), took_s)
        self.backlog.ran(MODEL, took_s, now_s)
        self._reply((RecommendResult(pending.request.id, "", b"") for pending in plan.batch), now_s)
