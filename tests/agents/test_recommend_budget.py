"""How long the recommend agent waits for the model, what it answers meanwhile, and what becomes of that."""

import asyncio

import pytest

from agents.recommend import BUDGET_S
from footfall.stack import Stack
from schemas.inference import ModelInfo, Shed
from tests.agents.scripted_agent import Agent
from tests.doubles import click

pytestmark = pytest.mark.stack


async def test_a_late_request_is_answered_by_fallback_and_the_model_answers_later(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(agent.capability.watch_deadlines()), group.create_task(agent.capability.repay())]
        agent.now_s = BUDGET_S + 0.1
        (late,) = await agent.results(1)
        assert (late["data"]["origin"], agent.worker.cancelled) == ("fallback", [1])
        assert [item["item_id"] for item in late["data"]["items"]] == ["hit-1", "hit-2"]
        async with asyncio.timeout(5):
            while 2 not in agent.worker.requests:
                await asyncio.sleep(0.01)
        agent.answer(2, "x")
        _, repaid = await agent.results(2)
        assert (repaid["data"]["origin"], repaid["data"]["history_version"]) == ("model", 1)
        for task in tasks:
            task.cancel()


async def test_whom_the_model_is_owed_to_waits_until_the_worker_has_room(agent: Agent, prefix: str) -> None:
    users = [f"{prefix}-{number}" for number in range(3)]
    await agent.deliver(*(click(user=user, id=user) for user in users))
    agent.capability.on_replies([Shed(1), Shed(2), Shed(3)], "v1")
    await agent.results(3)
    await agent.until_acked(3)
    agent.worker.room = 0
    async with agent.repaying(), asyncio.timeout(5):
        while agent.worker.looked < 2:
            await asyncio.sleep(0.01)
        assert list(agent.worker.requests) == [1, 2, 3]
        agent.worker.room = 2
        await agent.until_asked(5)
        assert list(agent.worker.requests) == [1, 2, 3, 4, 5]


async def test_a_request_may_wait_for_as_long_as_the_settings_say(stack: Stack, prefix: str) -> None:
    async with Agent(stack, prefix, budget_s=9.0).running() as agent:
        await agent.deliver(click(user=prefix))
        watching = asyncio.create_task(agent.capability.watch_deadlines())
        agent.now_s = 8.9
        agent.capability._give_up(agent.now_s)
        assert agent.worker.cancelled == []
        agent.now_s = 9.1
        (late,) = await agent.results(1)
        assert (late["data"]["origin"], agent.worker.cancelled, agent.worker.budgets_ms) == ("fallback", [1], [9000])
        watching.cancel()


async def test_an_event_that_rode_along_waits_no_longer_than_one_that_did_not(agent: Agent, prefix: str) -> None:
    await agent.deliver(click("a", user=prefix, id="1"))
    agent.now_s = 0.5
    await agent.deliver(click("b", user=prefix, id="2"))
    agent.now_s = 1.5
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(1)
    assert agent.worker.budgets_ms == [int(1000 * BUDGET_S), int(1000 * (0.5 + BUDGET_S - 1.5))]
    await agent.deliver(click("c", user=prefix, id="3"))
    agent.now_s = 0.5 + BUDGET_S
    agent.capability._give_up(agent.now_s)
    await agent.until_asked(3)
    assert agent.worker.budgets_ms[2] == int(1000 * (1.5 - 0.5))
    agent.now_s = 1.5 + BUDGET_S
    agent.capability._give_up(agent.now_s)
    await agent.until_acked(3)
    origins = [(one["data"]["origin"], one["data"]["trigger"]["id"]) for one in await agent.results(3)]
    assert origins == [("model", "1"), ("fallback", "2"), ("fallback", "3")]


@pytest.mark.parametrize("came_s", [0.5, 29.0])
async def test_while_kafka_holds_a_result_the_budget_of_what_waits_behind_it_neither_runs_nor_grows(
    agent: Agent, prefix: str, came_s: float
) -> None:
    agent.producer.hold = True
    await agent.deliver(click("a", user=prefix, id="1"))
    agent.now_s = 0.5
    agent.answer(1, "x")
    async with asyncio.timeout(5):
        while not agent.producer.pending:
            await asyncio.sleep(0)
    agent.now_s = came_s
    await agent.deliver(click("b", user=prefix, id="2"))
    agent.now_s = 30.0
    agent.producer.hold = False
    agent.producer.pending[0].set_result(None)
    await agent.until_asked(2)
    assert agent.worker.budgets_ms[1] == int(1000 * BUDGET_S)
    agent.answer(2, "y")
    await agent.until_acked(2)
    assert (await agent.stored(prefix))["origin"] == "model"


async def test_with_the_worker_away_nobody_waits_for_it(agent: Agent, prefix: str) -> None:
    agent.worker.room, agent.worker.away_s = 0, BUDGET_S + 1
    await agent.deliver(click(user=prefix))
    (result,) = await agent.results(1)
    assert result["data"]["origin"] == "fallback"
    assert agent.worker.requests == {}
    await agent.until_acked(1)


async def test_a_shed_request_gets_the_last_result(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.answer(1, "x", "y")
    await agent.results(1)
    await agent.until_acked(1)
    await agent.deliver(click(user=prefix, id="2"))
    agent.capability.on_replies([Shed(2)], "")
    _, shed = await agent.results(2)
    assert shed["data"]["origin"] == "fallback"
    assert [item["item_id"] for item in shed["data"]["items"]] == ["x", "y", "hit-1", "hit-2"]


async def test_a_result_names_the_version_that_made_it_and_a_fallback_follows_what_is_served(
    agent: Agent, prefix: str
) -> None:
    for number in (1, 2, 3):
        await agent.deliver(click(user=f"{prefix}{number}", id=str(number)))
    agent.capability.on_model(ModelInfo("recommender", "v2", ("hit-9",)))
    agent.answer(1, "x", version="v2")
    agent.answer(2, "x", version="v1")  # of a batch that the old one ran, or of another worker
    agent.capability.on_replies([Shed(3)], "")
    results = {result["data"]["user_id"].removeprefix(prefix): result["data"] for result in await agent.results(3)}
    assert [results[n]["model"]["version"] for n in "123"] == ["v2", "v1", "-"]
    assert [results[n]["model"]["name"] for n in "123"] == ["recommender", "recommender", "fallback"]
    assert [item["item_id"] for item in results["3"]["items"]] == ["hit-9"]
