"""The kind of a message is decided by all intents of that kind together, then the likeliest of them is acted on."""

from agents.support.intents import chosen


def test_several_likely_questions_outweigh_one_likely_complaint() -> None:
    assert chosen([("complaint", 0.4), ("missing_item", 0.35), ("order_status", 0.25)]) == ("missing_item", 0.35)


def test_several_dangers_outweigh_one_likely_question() -> None:
    assert chosen([("faulty_item", 0.4), ("health", 0.3), ("legal", 0.25), ("out_of_scope", 0.05)]) == ("health", 0.3)


def test_what_is_nobodys_business_is_a_kind_of_its_own() -> None:
    assert chosen([("out_of_scope", 0.5), ("stock", 0.3), ("price", 0.2)]) == ("out_of_scope", 0.5)


def test_a_single_intent_is_the_answer() -> None:
    assert chosen([("invoice", 0.2)]) == ("invoice", 0.2)
