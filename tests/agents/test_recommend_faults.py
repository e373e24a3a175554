"""The recommend agent when things end differently than they began: expired, taken over, late, poisoned, suspected."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from agents.ack_window import AckWindow, Partition
from agents.recommend import BUDGET_S
from agents.state.store import Debt, UserChanges
from footfall.stack import Stack
from schemas import keys
from schemas.inference import Failure, Shed, user_state_decoder
from tests.agents.scripted_agent import CLICKS, PURCHASES, Agent
from tests.doubles import click, envelope, purchase
from tests.waiting import until

pytestmark = pytest.mark.stack


async def test_a_redelivery_whose_stored_result_has_expired_is_answered_by_the_model(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix))
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(1)
    await agent.redis.delete(keys.recommendations(prefix))
    await agent.deliver(click(user=prefix))
    await agent.until_asked(2)
    agent.answer(2, "y")
    _, again = await agent.results(2)
    assert again["data"]["covers"][0]["from"] <= 1 <= again["data"]["covers"][0]["to"]
    await agent.until_acked(2)


async def test_poison_is_acknowledged_once_kafka_has_its_dead_letter_and_not_before(agent: Agent) -> None:
    agent.producer.hold = True
    delivering = asyncio.create_task(agent.deliver(b"nope"))
    async with asyncio.timeout(5):
        while not agent.producer.pending:
            await asyncio.sleep(0)
    assert agent.acked_to() == 0
    agent.producer.pending[0].set_result(None)
    await delivering
    assert agent.acked_to() == 1


async def test_who_got_a_fallback_and_then_the_models_answer_to_a_newer_event_is_owed_nothing(
    agent: Agent, prefix: str
) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    assert len(agent.fallback) == 1
    await agent.deliver(click(user=prefix, id="2"))
    agent.answer(2, "x")
    await agent.until_acked(2)
    assert len(agent.fallback) == 0


async def test_what_rode_behind_a_debt_that_was_not_paid_is_asked_for(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    killed = Agent(stack, prefix)
    async with killed.running():  # another process applies an event, and is killed before it answers
        killed.partition = Partition(PURCHASES, 0)
        await killed.deliver(purchase(["rug"], user=prefix, id="2"))
    async with agent.repaying():
        await agent.until_asked(2)
        agent.partition, agent.offset = Partition(PURCHASES, 0), 0
        await agent.deliver(purchase(["rug"], user=prefix, id="2"))  # read again, while the debt is being repaid
        agent.capability.on_replies([Failure(2, "ValueError: too odd")], "v1")
        await agent.until_asked(3)
        agent.answer(3, "x")
        *_, last = await agent.results(2)
    assert {run["topic"] for run in last["data"]["covers"]} >= {PURCHASES}
    await agent.until_acked(1)


async def test_a_redelivery_that_rode_behind_another_session_is_not_answered_by_its_result(
    agent: Agent, prefix: str
) -> None:
    kept, session = click("lamp", user=prefix, id="1"), click("rug", user=prefix, id="2", consent=False, session_id="s")
    await agent.deliver(kept)
    agent.answer(1, "x")
    await agent.until_acked(1)
    await agent.deliver(session)
    await agent.deliver(kept)  # again, behind the request without consent; both are of version 2
    agent.answer(2, "x")
    await agent.until_asked(3)
    agent.answer(3, "x")
    await agent.until_acked(3)
    assert len({result["data"]["recommendation_id"] for result in await agent.results(3)}) == 3


async def test_an_answer_by_the_model_clears_who_was_in_the_hands_of_a_worker_that_broke(
    agent: Agent, prefix: str
) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_lost([1])
    agent.answer(1, "x")  # asked again by the pool
    await agent.until_acked(1)
    await agent.deliver(click(user=prefix, id="2"))
    agent.capability.on_lost([2])  # a second worker, but not a second one running
    assert agent.worker.cancelled == []


async def test_a_request_that_was_shed_says_nothing_about_who_breaks_workers(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_lost([1])
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    await agent.deliver(click(user=prefix, id="2"))
    agent.capability.on_lost([2])
    assert agent.worker.cancelled == [2]


async def test_suspects_are_asked_about_one_after_the_other(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=f"{prefix}-a", id="a"), click(user=f"{prefix}-b", id="b"))
    agent.capability.on_lost([1, 2])
    agent.capability.on_lost([1, 2])
    await agent.until_acked(2)
    async with agent.repaying():
        await agent.until_asked(3)
        await asyncio.sleep(0)
        assert list(agent.worker.requests) == [1, 2, 3]
        agent.answer(3, "x")
        await agent.until_asked(4)
        agent.answer(4, "x")
        await agent.results(4)


async def test_a_debt_is_not_forgotten_when_the_model_is_late_once_more(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    async with agent.repaying():
        await agent.until_asked(2)
        agent.now_s += BUDGET_S + 1
        await agent.until_asked(3)


async def test_a_login_that_was_cut_off_in_the_middle_is_done_when_it_is_read_again(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    visit = envelope("view_item", {"visitor_id": prefix, "items": [{"item_id": "lamp"}]}, id="1")
    login = click("rug", user=prefix, visitor_id=prefix, id="2")
    killed = Agent(stack, prefix)

    async def is_killed(calls: Sequence[tuple[object, ...]]) -> list[object]:
        raise asyncio.CancelledError

    killed.store._forget.call_each = is_killed  # type: ignore[method-assign]
    async with killed.running():
        await killed.deliver(visit)
        with pytest.raises(asyncio.CancelledError):
            await killed.deliver(login)  # the user has the visitor's history; the visitor still has it too
    await agent.deliver(login)
    user, visitor = await agent.store.apply([UserChanges(prefix), UserChanges(f"v:{prefix}")])
    assert len(user_state_decoder.decode(user.state).history) == 2 * 2
    assert user_state_decoder.decode(visitor.state).history == ()
    assert (user.version, visitor.version) == (2, 1)


async def test_a_revocation_waits_for_a_debt_that_is_being_repaid(agent: Agent, prefix: str) -> None:
    """Its answer could reach the topic after a newer one of the next owner's."""
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    async with agent.repaying():
        await agent.until_asked(2)
        agent.producer.hold = True  # the broker is slow to one of the two
        agent.answer(2, "x")
        async with asyncio.timeout(5):
            while not agent.producer.pending:
                await asyncio.sleep(0)
        assert agent.window.in_hand == 1
        agent.producer.pending[0].set_result(None)
        async with asyncio.timeout(5):
            while agent.window.in_hand:
                await asyncio.sleep(0)


async def test_debts_are_repaid_by_the_owner_of_the_partition_only(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    agent.rebalancing = True
    async with agent.repaying():
        await until(lambda: agent.window_looks >= 2)
        assert (list(agent.worker.requests), len(agent.fallback)) == ([1], 1), "nobody is the owner now"
        agent.window, agent.rebalancing = AckWindow({Partition(PURCHASES, 0): 0}), False
        await until(lambda: not len(agent.fallback))
    assert list(agent.worker.requests) == [1]


async def test_a_debt_outlives_a_rebalance_that_leaves_its_partition_here(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    agent.window = AckWindow({Partition(CLICKS, 0): 1, Partition(PURCHASES, 0): 0})
    async with agent.repaying():
        await agent.until_asked(2)
        agent.answer(2, "x")
        await agent.results(2)


async def test_what_a_killed_process_owed_is_repaid_by_the_next_owner_and_then_forgotten(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    killed = Agent(stack, prefix)
    async with killed.running():
        await killed.deliver(click("lamp", user=prefix, id="1"))
        killed.capability.on_replies([Shed(1)], "v1")
        await killed.until_acked(1)
    async with agent.repaying():
        await agent.until_asked(1)
        agent.answer(1, "lamp", "rug")
        (repaid,) = await agent.results(1)
        assert [item["item_id"] for item in repaid["data"]["items"]] == ["rug"], "the lamp is still looked at"
        async with asyncio.timeout(5):
            while await agent.redis.hexists(keys.owed(*agent.partition), prefix):
                await asyncio.sleep(0.01)


async def test_an_answer_that_was_stored_and_not_sent_is_given_again_by_the_next_owner(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    killed = Agent(stack, prefix)
    async with killed.running(), killed.repaying():
        await killed.deliver(click(user=prefix, id="1"))
        killed.capability.on_replies([Shed(1)], "v1")
        await killed.until_acked(1)
        await killed.until_asked(2)
        killed.producer.hold = True
        killed.answer(2, "x")
        await until(lambda: bool(killed.producer.pending))
    async with agent.repaying():
        await agent.until_asked(1)
        agent.answer(1, "y")
        (sent,) = await agent.results(1)
    assert sent["data"] == await agent.stored(prefix)


async def test_a_stored_fallback_is_sent_again_only_once_it_is_noted_who_is_owed_the_models_answer(
    agent: Agent, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = click(user=prefix, id="1")
    await agent.deliver(failed)
    agent.capability.on_replies([Failure(1, "ValueError: too odd")], "v1")
    await agent.until_acked(1)
    note_debts, noted = agent.store.note_debts, []

    async def noting(debts: Mapping[str, Debt], over: Mapping[str, Partition]) -> None:
        noted.append((set(debts), agent.publisher.unsent, len(agent.sent())))
        await note_debts(debts, over)

    monkeypatch.setattr(agent.store, "note_debts", noting)
    await agent.deliver(failed)
    await agent.until_acked(2)
    assert noted == [({prefix}, False, 1)]
    assert len(agent.sent()) == 2


async def test_what_is_owed_to_a_session_without_consent_is_not_written_down(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix, id="1", consent=False, session_id="s"))
    agent.capability.on_replies([Shed(1)], "v1")
    await agent.until_acked(1)
    assert len(agent.fallback) == 1
    assert not await agent.redis.hexists(keys.owed(*agent.partition), prefix)
