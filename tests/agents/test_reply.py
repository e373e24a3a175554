"""A message is answered once, from facts, in its turn; what a person must answer reaches one."""

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from agents.state.conversations import FinalReply
from footfall.stack import Stack
from schemas import keys
from tests.agents.support_agent import BOUND_S, SupportAgent

pytestmark = pytest.mark.stack


@pytest.fixture
async def agent(stack: Stack, prefix: str) -> AsyncIterator[SupportAgent]:
    async with SupportAgent(stack, prefix).running() as agent:
        yield agent


async def test_a_question_about_an_order_is_answered_from_it_and_cites_it(agent: SupportAgent) -> None:
    order_id = await agent.has_order("1", "packed")
    await agent.deliver(agent.message(1, f"Where is my order {order_id}?"))
    (data,) = await agent.replies(1)
    assert data["text"] == f"Your order {order_id} is packed. It has not been handed to the carrier yet."
    assert (data["action"], data["origin"], data["intent"]) == ("reply", "template", "order_status")
    assert [(one["kind"], one["ref"]) for one in data["citations"]] == [("order", order_id)]
    assert data["covers"] == [{"topic": agent.partition.topic, "partition": 0, "from": 0, "to": 0}]
    stored = await agent.redis.get(keys.reply(agent.user, "c-1"))
    assert stored is not None
    assert json.loads(stored) == data
    await agent.until_acked(1)


async def test_a_redelivered_message_gets_the_same_bytes_and_no_model_is_asked(agent: SupportAgent) -> None:
    message = agent.message(1, "Where is my order?")
    await agent.deliver(message)
    await agent.replies(1)
    await agent.deliver(message)
    await agent.replies(2)
    assert agent.sent()[0] == agent.sent()[1]
    assert len(agent.encoder.texts) == 1
    await agent.until_acked(2)


async def test_a_new_message_supersedes_an_unanswered_one_and_one_reply_answers_both(agent: SupportAgent) -> None:
    await agent.has_order("1")
    agent.engine.gate = asyncio.Semaphore(0)
    await agent.deliver(agent.message(1, "hello"))
    await asyncio.wait_for(agent.engine.asked.wait(), BOUND_S)
    await agent.deliver(agent.message(2, "where is my order"))
    agent.engine.gate.release()
    (data,) = await agent.replies(1)
    assert (data["message_id"], data["supersedes"]) == ("m-2", ["m-1"])
    assert [(part["from"], part["to"]) for part in data["covers"]] == [(0, 1)]
    assert agent.encoder.texts == ["hello", "hello\nwhere is my order"]
    assert agent.engine.cancelled == 1
    await agent.until_acked(2)


async def test_a_message_that_is_delivered_again_while_it_is_answered_is_answered_once(agent: SupportAgent) -> None:
    agent.engine.gate = asyncio.Semaphore(0)
    message = agent.message(1, "hello")
    await agent.deliver(message)
    await asyncio.wait_for(agent.engine.asked.wait(), BOUND_S)
    await agent.deliver(message)
    agent.engine.gate.release()
    (data,) = await agent.replies(1)
    assert (data["message_id"], data.get("supersedes", [])) == ("m-1", [])
    assert agent.engine.cancelled == 0
    await agent.until_acked(2)
    assert len(agent.sent()) == 1


async def test_a_message_that_is_delivered_again_when_its_reply_is_final_gets_that_reply(agent: SupportAgent) -> None:
    agent.store.gate.clear()
    message = agent.message(1, "hello")
    await agent.deliver(message)
    await asyncio.wait_for(agent.store.entered.wait(), BOUND_S)
    await agent.deliver(message)
    agent.store.gate.set()
    await agent.replies(2)
    assert agent.sent()[0] == agent.sent()[1]
    await agent.until_acked(2)
    assert len(agent.encoder.texts) == 1


async def test_what_comes_when_a_reply_is_final_is_answered_after_it(agent: SupportAgent) -> None:
    agent.store.gate.clear()
    await agent.deliver(agent.message(1, "hello"))
    await asyncio.wait_for(agent.store.entered.wait(), BOUND_S)
    await agent.deliver(agent.message(2, "where is"), agent.message(3, "my order"))
    agent.store.gate.set()
    first, second = await agent.replies(2)
    assert (first["message_id"], first.get("supersedes", [])) == ("m-1", [])
    assert (second["message_id"], second["supersedes"]) == ("m-3", ["m-2"])
    await agent.until_acked(3)


async def test_of_somebody_elses_order_nothing_is_said(agent: SupportAgent) -> None:
    order_id = await agent.has_order("2", "delivered", user=f"{agent.user}-other")
    await agent.deliver(agent.message(1, f"Where is my order {order_id}?"))
    (data,) = await agent.replies(1)
    assert data["text"].startswith(f"We cannot find an order {order_id} in your account.")
    assert data["citations"] == []
    assert "delivered" not in json.dumps(data)


async def test_danger_reaches_a_person_though_no_encoder_is_there(agent: SupportAgent) -> None:
    agent.encoder.there.clear()
    await agent.deliver(agent.message(1, "The kettle gave me an electric shock"))
    (data,) = await agent.replies(1)
    assert (data["action"], data["handover"]["reason"]) == ("handover", "health")
    assert agent.encoder.texts == []


async def test_while_no_encoder_is_there_messages_are_held_and_then_answered(agent: SupportAgent) -> None:
    agent.encoder.there.clear()
    await agent.deliver(agent.message(1, "Where is my order?"))
    async with asyncio.timeout(BOUND_S):
        while not agent.encoder.texts:
            await asyncio.sleep(0)
    assert agent.acked_to() == 0
    agent.encoder.there.set()
    await agent.replies(1)
    await agent.until_acked(1)


async def test_a_models_text_is_sent_where_the_guard_lets_it_pass(agent: SupportAgent) -> None:
    order_id = await agent.has_order("1", "packed")
    agent.engine.text = f"Your order {order_id} is packed."
    await agent.deliver(agent.message(1, f"Where is {order_id}?"))
    (data,) = await agent.replies(1)
    assert (data["text"], data["origin"], data["model"]) == (
        agent.engine.text, "model", {"name": "replier", "version": "m1"}
    )


@pytest.mark.parametrize("text", ["Your order {} was delivered.", "Your order 12345 is packed.", "It is packed.", ""])
async def test_where_the_guard_refuses_a_models_text_the_template_answers(agent: SupportAgent, text: str) -> None:
    order_id = await agent.has_order("1", "packed")
    agent.engine.text = text.format(order_id)
    await agent.deliver(agent.message(1, f"Where is {order_id}?"))
    (data,) = await agent.replies(1)
    assert data["origin"] == "template"
    assert data["text"].startswith(f"Your order {order_id} is packed.")


async def test_models_see_no_personal_data(agent: SupportAgent) -> None:
    await agent.deliver(agent.message(1, "I am jane.doe@example.com, card 4111 1111 1111 1111, where is my order?"))
    await agent.replies(1)
    seen = agent.encoder.texts[0] + str(agent.engine.prompts)
    assert "jane" not in seen
    assert "4111" not in seen
    assert "[email]" in seen
    assert "[card]" in seen


async def test_a_foreign_language_reaches_a_person(agent: SupportAgent) -> None:
    await agent.deliver(agent.message(1, "Wo bleibt denn meine Bestellung, ich warte schon seit zwei Wochen?"))
    (data,) = await agent.replies(1)
    assert (data["action"], data["handover"]["reason"]) == ("handover", "low_confidence")


async def test_the_products_own_example_is_answered_in_chinese(agent: SupportAgent) -> None:
    agent.encoder.intent = "faulty_item"
    await agent.deliver(agent.message(1, "我的iphone12为什么充不了电？"))
    (data,) = await agent.replies(1)
    assert (data["language"], data["citations"][0]["ref"]) == ("zh", "device-not-charging")
    for said in ("损坏", "原装充电器", "联系客服"):
        assert said in data["text"]


async def test_a_record_that_is_no_message_is_a_dead_letter_without_its_bytes(agent: SupportAgent) -> None:
    await agent.deliver(b'{"text": "my card is 4111"}', agent.message(1, "hello"))
    await agent.replies(1)
    await agent.until_acked(2)
    letters = [value for topic, _, value in agent.producer.records if topic.endswith(".dlq")]
    assert letters == [b""]


async def test_the_third_turn_is_a_persons_unless_the_conversation_was_resolved(agent: SupportAgent) -> None:
    for number in (1, 2, 3):
        await agent.deliver(agent.message(number, "Where is my order?"))
        await agent.replies(number)
    await agent.deliver(agent.message(4, "and now?"))
    *_, third, fourth = await agent.replies(4)
    assert third["handover"]["reason"] == "third_turn"
    assert fourth["handover"]["reason"] == "third_turn"  # a person has it now
    await agent.deliver(agent.resolved(5), agent.message(6, "Where is my order?"))
    *_, fresh = await agent.replies(5)
    assert fresh["action"] == "clarify"
    await agent.until_acked(6)


async def test_where_another_process_answered_meanwhile_its_reply_is_the_one_that_is_sent(agent: SupportAgent) -> None:
    agent.engine.gate = asyncio.Semaphore(0)
    await agent.deliver(agent.message(1, "hello"))
    await asyncio.wait_for(agent.engine.asked.wait(), BOUND_S)
    await agent.deliver(agent.message(9, "hello", conversation="c-2"))
    agent.engine.gate.release()
    agent.engine.gate.release()
    (theirs, _) = await agent.replies(2)
    data = json.dumps(theirs | {"reply_id": "theirs", "text": "theirs"}).encode()
    agent.engine.gate, agent.engine.asked = asyncio.Semaphore(0), asyncio.Event()
    await agent.deliver(agent.message(2, "hello again"))
    await asyncio.wait_for(agent.engine.asked.wait(), BOUND_S)
    assert await agent.store.finish([FinalReply(agent.user, "c-1", 2, data, "smalltalk")]) == [None]
    agent.engine.gate.release()
    *_, sent = await agent.replies(3)
    assert sent["text"] == "theirs"
    await agent.until_acked(3)
