"""What a model learns from is grounded: of the simulated shop, allowed by the guard, the same for the same seed."""

import itertools
from collections import Counter
from random import Random

import pytest

from agents.support.planning import POLICY, Asked
from agents.support.policies import Passage
from agents.support.templates import Templates
from agents.support.writing import SYSTEM
from footfall.support import messages
from footfall.support.dialogues import SENTENCES, Dialogue, Dialogues, fitting
from footfall.support.shop import STATUSES, customer, moment
from model_core.dialogues import grammar

COUNT = 1500


@pytest.fixture(scope="module")
def dialogues() -> list[Dialogue]:
    return list(itertools.islice(Dialogues().sample(Random(5)), COUNT))


def test_they_are_a_function_of_the_seed(dialogues: list[Dialogue]) -> None:
    again = list(itertools.islice(Dialogues().sample(Random(5)), 40))
    assert again == dialogues[:40]
    assert list(itertools.islice(Dialogues().sample(Random(6)), 40)) != again


def test_languages_take_turns_and_every_situation_of_a_reply_occurs(dialogues: list[Dialogue]) -> None:
    assert Counter(one.language for one in dialogues) == {"en": COUNT / 2, "zh": COUNT / 2}
    spoken = {name for name in Templates().situations if not name.startswith(("handover.", "policy."))}
    assert {one.situation for one in dialogues} == spoken | {POLICY}


def test_what_the_customer_wrote_stands_in_the_users_message_only(dialogues: list[Dialogue]) -> None:
    for one in dialogues:
        (system, instruction), (user, _) = one.messages
        assert (system, user) == ("system", "user")
        assert instruction == SYSTEM[one.language]


def test_replies_name_what_the_facts_name(dialogues: list[Dialogue]) -> None:
    for one in dialogues:
        facts = one.messages[1][1]
        for word in one.reply.replace("，", " ").replace("。", " ").split():
            if sum(map(str.isdigit, word)) > 5 and word.isascii():
                assert word.strip(".,;:?()") in facts


def test_of_a_passage_the_sentences_that_answer_are_taken_in_its_order() -> None:
    passage = Passage("x", "en", "X", "We open at nine. Gift cards never expire. Parking is free for an hour.", (), 0.0)
    asked = Asked("how long may I use parking, and do gift cards expire?", "en", "feedback", 1.0)
    assert fitting(passage, asked) == ["Gift cards never expire.", "Parking is free for an hour."]
    assert len(fitting(passage, asked)) == SENTENCES


def test_messages_to_learn_from_are_of_every_intent_and_never_of_a_held_out_wording() -> None:
    examples = messages.examples("train", 10)
    counts = Counter((one.language, one.intent) for one in examples)
    wordings = grammar.load("en")
    intents = set(map(messages.intent_of, wordings.tables))
    assert set(counts) == set(itertools.product(("en", "zh"), intents))
    assert min(counts.values()) >= 8
    held_out = {one.text for one in messages.examples("heldout", 10)}
    assert not held_out & {one.text for one in examples}
    assert messages.examples("train", 10) == examples


def test_a_large_refund_is_a_refund_for_the_encoder_and_a_danger_is_named_after_its_reason() -> None:
    assert messages.intent_of("handover.large_refund") == "refund_request"
    assert messages.intent_of("handover.legal") == "legal"
    assert messages.intent_of("stock") == "stock"


@pytest.mark.parametrize("status", STATUSES)
def test_an_order_has_what_its_status_implies(status: str) -> None:
    for seed in range(30):
        rng = Random(seed)
        who = customer(rng, "en", moment(rng), (status,))  # type: ignore[arg-type]
        (order,) = who.orders
        assert order.user_id == who.user
        assert (order.shipment is not None) == (status in {"shipped", "out_for_delivery", "delivered", "returned"})
        assert order.placed_at is not None
        assert order.placed_at <= who.now
        if order.shipment and order.shipment.delivered_at:
            assert status in {"delivered", "returned"}
