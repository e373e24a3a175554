"""The recommend agent without Kafka and without a worker process: chunks in, records out, on a real Redis."""

import asyncio
import json
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError, MessageSizeTooLargeError

from agents import recommend
from agents.ack_window import Partition
from footfall.stack import Stack
from schemas.inference import Failure, user_state_decoder
from tests.agents.scripted_agent import CLICKS, PURCHASES, Agent
from tests.doubles import as_bytes, click, purchase

pytestmark = pytest.mark.stack


async def test_a_click_is_stored_then_sent_then_acknowledged(agent: Agent, prefix: str) -> None:
    agent.producer.hold = True
    await agent.deliver(click("lamp", user=prefix))
    agent.answer(1, "lamp", "bulb", "shade")
    async with asyncio.timeout(5):
        while not agent.producer.pending:
            await asyncio.sleep(0)
    stored = await agent.stored(prefix)
    assert [item["item_id"] for item in stored["items"]] == ["bulb", "shade"]  # the lamp is being looked at
    assert agent.acked_to() == 0
    agent.producer.pending[0].set_result(None)
    await agent.until_acked(1)


async def test_one_request_is_in_flight_per_user_and_the_next_covers_the_rest(agent: Agent, prefix: str) -> None:
    await agent.deliver(click("a", user=prefix, id="1"))
    await agent.deliver(click("b", user=prefix, id="2"))
    await agent.deliver(click("c", user=prefix, id="3"))
    assert list(agent.worker.requests) == [1]
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(1)
    assert list(agent.worker.requests) == [1, 2]
    agent.answer(2, "x")
    first, second = await agent.results(2)
    assert [c["from"] for c in first["data"]["covers"]] == [0]
    assert second["data"]["covers"] == [{"topic": CLICKS, "partition": 0, "from": 1, "to": 2}]
    assert (first["data"]["history_version"], second["data"]["history_version"]) == (1, 3)
    assert second["data"]["trigger"] == {"source": "storefront/web", "id": "3"}
    await agent.until_acked(3)


async def test_a_redelivery_is_answered_by_the_stored_bytes_without_a_request(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix))
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(1)
    await agent.deliver(click(user=prefix))
    await agent.results(2)
    first, second = agent.sent()
    assert first == second
    assert list(agent.worker.requests) == [1]
    await agent.until_acked(2)


async def test_a_redelivery_before_the_answer_is_answered_by_the_same_bytes(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix))
    await agent.deliver(click(user=prefix))
    agent.answer(1, "x")
    await agent.results(2)
    first, second = agent.sent()
    assert first == second
    assert list(agent.worker.requests) == [1]
    await agent.until_acked(2)


async def test_a_request_that_the_model_cannot_answer_is_a_dead_letter(agent: Agent, prefix: str) -> None:
    await agent.deliver(click(user=prefix), click(user=f"{prefix}-other", id="e2"))
    agent.capability.on_replies([Failure(1, "ValueError: too odd")], "v1")
    agent.answer(2, "x")
    results = await agent.results(2)
    origins = {result["data"]["user_id"]: result["data"]["origin"] for result in results}
    assert origins == {prefix: "fallback", f"{prefix}-other": "model"}
    await agent.until_acked(2)
    ((topic, _, value),) = [one for one in agent.producer.records if one[0].endswith(".dlq")]
    assert (topic, value) == (f"{CLICKS}.dlq", as_bytes(click(user=prefix)))


async def test_what_is_retried_after_the_model_was_mended_is_answered_by_it_in_the_end(
    agent: Agent, prefix: str
) -> None:
    await agent.deliver(click(user=prefix))
    agent.capability.on_replies([Failure(1, "ValueError: too odd")], "v1")
    await agent.results(1)
    await agent.until_acked(1)
    await agent.deliver(click(user=prefix))
    fallback, again = await agent.results(2)
    assert fallback == again
    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        repaying = group.create_task(agent.capability.repay())
        while 2 not in agent.worker.requests:
            await asyncio.sleep(0.01)
        agent.answer(2, "x")
        *_, repaid = await agent.results(3)
        assert (repaid["data"]["origin"], repaid["data"]["history_version"]) == ("model", 1)
        repaying.cancel()


async def test_a_request_that_breaks_every_worker_is_given_up_and_the_rest_is_answered(
    agent: Agent, prefix: str
) -> None:
    async with asyncio.TaskGroup() as group:
        repaying = group.create_task(agent.capability.repay())
        await agent.deliver(click(user=prefix), click(user=f"{prefix}-other", id="e2"))
        agent.capability.on_lost([1, 2])  # both are asked again by the pool
        agent.answer(2, "x")
        agent.capability.on_lost([1])
        results = await agent.results(2)
        origins = {result["data"]["user_id"]: result["data"]["origin"] for result in results}
        assert origins == {prefix: "fallback", f"{prefix}-other": "model"}
        assert agent.worker.cancelled == [1]
        async with asyncio.timeout(5):
            while 3 not in agent.worker.requests:  # the user is still owed the model's answer
                await asyncio.sleep(0.01)
        agent.capability.on_lost([3])
        await agent.deliver(click(user=prefix, id="e3"))
        await agent.results(3)
        await agent.until_acked(3)
        assert list(agent.worker.requests) == [1, 2, 3]
        assert agent.dead_letters.count == 1, "the event that came when the user was known to break workers"
        assert len(agent.fallback) == 0, "and nothing is owed"
        repaying.cancel()


async def test_poison_is_dead_lettered_and_the_rest_of_its_chunk_flows_on(agent: Agent, prefix: str) -> None:
    await agent.deliver(b"nope", click(user=prefix), b"")
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(3)
    assert agent.dead_letters.count == 2


async def test_a_result_that_is_refused_as_too_old_is_made_again_for_the_newer_state(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    await agent.deliver(click(user=prefix, id="1"))
    other = Agent(stack, prefix)
    async with other.running():  # another process holds the user's purchases and answers first
        await other.deliver(click(user=prefix, id="2"))
        other.answer(1, "y")
        await other.results(1)
        await other.until_acked(1)
    agent.answer(1, "x")
    async with asyncio.timeout(5):
        while 2 not in agent.worker.requests:
            await asyncio.sleep(0)
    agent.answer(2, "x")
    (result,) = await agent.results(1)
    assert result["data"]["history_version"] == 2
    assert result["data"]["covers"][0]["from"] == 0


async def test_what_a_killed_process_stored_and_did_not_send_is_covered_by_the_next_result(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    killed = Agent(stack, prefix)
    async with killed.running():
        killed.producer.hold = True
        await killed.deliver(click(user=prefix, id="1"))
        killed.answer(1, "x")
        async with asyncio.timeout(5):
            while not killed.producer.pending:
                await asyncio.sleep(0)
    agent.partition = Partition(PURCHASES, 0)  # the successor answers another event of the user first
    await agent.deliver(purchase(["rug"], user=prefix, id="2"))
    agent.answer(1, "y")
    (result,) = await agent.results(1)
    assert result["data"]["covers"] == [
        {"topic": CLICKS, "partition": 0, "from": 0, "to": 0}, {"topic": PURCHASES, "partition": 0, "from": 0, "to": 0},
    ]
    await agent.until_acked(1)
    agent.partition, agent.offset = Partition(CLICKS, 0), 0
    await agent.deliver(click(user=prefix, id="1"))  # and then the first is read again
    await agent.results(2)
    first, again = agent.sent()
    assert first == again


async def test_what_a_killed_process_applied_and_did_not_answer_is_covered_by_the_next_result(
    agent: Agent, prefix: str, stack: Stack
) -> None:
    killed = Agent(stack, prefix)
    async with killed.running():
        await killed.deliver(click("lamp", user=prefix, id="1"), click("rug", user=prefix, id="2"))
    await agent.deliver(click("lamp", user=prefix, id="1"))  # the successor's chunks are others
    agent.answer(1, "x")
    await agent.results(1)
    await agent.until_acked(1)
    await agent.deliver(click("rug", user=prefix, id="2"))
    result, again = await agent.results(2)
    assert again == result
    assert result["data"]["covers"] == [{"topic": CLICKS, "partition": 0, "from": 0, "to": 1}]
    await agent.until_acked(2)


async def test_a_record_that_kafka_did_not_take_is_sent_again_with_the_same_bytes(agent: Agent, prefix: str) -> None:
    agent.producer.failures = [KafkaConnectionError()]
    await agent.deliver(click(user=prefix))
    agent.answer(1, "x")
    await agent.until_acked(1)
    ((_, _, value),) = agent.sent()
    assert json.loads(value)["data"] == await agent.stored(prefix)


async def test_a_record_that_kafka_will_never_take_stops_the_process_instead_of_a_user(
    stack: Stack, prefix: str
) -> None:
    agent = Agent(stack, prefix)
    agent.producer.failures = [MessageSizeTooLargeError()]
    finishing, sending = asyncio.create_task(agent.answers.run()), asyncio.create_task(agent.publisher.run())
    await agent.deliver(click(user=prefix))
    agent.answer(1, "x")
    with pytest.raises(MessageSizeTooLargeError):
        await asyncio.wait_for(sending, 5)
    finishing.cancel()
    await asyncio.wait([finishing])
    assert agent.acked_to() == 0
    await agent.redis.aclose()


async def test_the_agent_takes_no_more_than_it_may_hold(agent: Agent, prefix: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(recommend, "MAX_HELD", 3)
    await agent.deliver(click(user=f"{prefix}-0", id="0"), click(user=f"{prefix}-1", id="1"))
    waiting = asyncio.create_task(agent.deliver(click(user=f"{prefix}-2", id="2")))
    async with asyncio.timeout(5):
        while 3 not in agent.worker.requests:
            await asyncio.sleep(0)
    assert not waiting.done()
    agent.answer(1, "x")
    async with asyncio.timeout(5):
        await waiting


async def test_the_request_holds_the_state_after_the_event(agent: Agent, prefix: str) -> None:
    await agent.deliver(click("lamp", user=prefix, kind="add_to_cart"))
    now_ms, raw = agent.worker.requests[1]
    state = user_state_decoder.decode(raw)
    assert state.history[0].startswith("cart:lamp:")
    assert int(state.history[1]) == now_ms
    assert state.cart == ("lamp", str(now_ms))


async def test_unavailable_items_are_not_recommended(agent: Agent, prefix: str) -> None:
    agent.answers.unavailable = frozenset({"sold-out"})
    await agent.deliver(click(user=prefix))
    agent.answer(1, "sold-out", "bulb")
    (result,) = await agent.results(1)
    assert [item["item_id"] for item in result["data"]["items"]] == ["bulb"]


async def test_a_login_brings_the_visitors_history_along(agent: Agent, prefix: str) -> None:
    visit = click("lamp", kind="view_item", id="1")
    visit["data"] = {"visitor_id": prefix, "items": [{"item_id": "lamp"}]}
    await agent.deliver(visit)
    await agent.deliver(click("rug", user=prefix, id="2", visitor_id=prefix))
    _, raw = agent.worker.requests[2]
    history = user_state_decoder.decode(raw).history
    assert {member.split(":")[1] for member in history[::2]} == {"lamp", "rug"}
