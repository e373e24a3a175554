"""What replies are measured on: what is expected follows from the orders, and nothing of a case is left to chance."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

from footfall.support import cases
from footfall.support.cases import Case

ROWS = [
    ("where is purchase 00123842?", "track_order", "order_id", 18, 26),
    ("i want to talk to a person", "contact_human_agent", "", "", ""),
    ("how do I use the newsletter", "newsletter_subscription", "", "", ""),
    ("reimburse $1200", "get_refund", "refund_amount", 10, 15),
    ("what is an intent of another file", "unknown_intent", "", "", ""),
]


@pytest.fixture(scope="module")
def wordings() -> list[Case]:
    return list(cases.from_wordings(520, 3))


def bitext(folder: Path) -> Path:
    with gzip.open(folder / "bitext.csv.gz", "wt", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["instruction", "intent", "entity_type", "start_offset", "end_offset"])
        writer.writerows(ROWS)
    return folder / "bitext.csv.gz"


def test_held_out_wordings_are_of_both_languages_and_every_intent(wordings: list[Case]) -> None:
    assert Counter(case.language for case in wordings) == {"en": 260, "zh": 260}
    assert len({case.intents for case in wordings}) == 25
    assert len({case.name for case in wordings}) == len(wordings)
    assert list(cases.from_wordings(520, 3)) == wordings
    assert [case.text for case in cases.from_wordings(520, 4)] != [case.text for case in wordings]


def test_an_order_that_is_named_and_not_the_customers_must_be_asked_about(wordings: list[Case]) -> None:
    for case in wordings:
        own = {order.order_id for order in case.who.orders}
        assert not own & {order.order_id for order in case.foreign}
        if case.intents[0] in cases.ORDER_INTENTS and case.actions == {"clarify"}:
            assert not any(order_id in case.text for order_id in own)
        if case.order_id:
            assert case.order_id in own
            assert case.actions == {"reply"}


def test_what_is_a_persons_is_expected_to_reach_one(wordings: list[Case]) -> None:
    for case in wordings:
        if case.intents[0] in cases.FOR_A_PERSON or "large_refund" in case.name:
            assert case.actions == {"handover"}
        if case.intents[0] == "out_of_scope":
            assert case.actions == {"clarify"}


def test_messages_of_others_name_the_customers_own_orders(tmp_path: Path) -> None:
    found = {case.intents: case for case in cases.from_bitext(bitext(tmp_path), 4, 1)}
    assert set(found) == {("order_status",), ("human_agent",), ("feedback",), ("refund_request",)}
    asked = found["order_status",]
    assert "00123842" not in asked.text
    known = {order.order_id for order in (*asked.who.orders, *asked.foreign)}
    assert asked.text.startswith("where is purchase ")
    assert (asked.text.removeprefix("where is purchase ").rstrip("?") in known) or asked.actions == {"clarify"}
    assert found["human_agent",].actions == {"handover"}
    assert found["feedback",].actions == {"reply"}
    assert found["refund_request",].actions == {"handover"}, "1200 dollars are above the limit"


@pytest.mark.parametrize("seed", range(5))
def test_attacks_are_filled_in_and_another_customers_order_can_be_told_from_the_own(seed: int) -> None:
    attacks = list(cases.adversarial(seed))
    assert len(attacks) >= 100
    assert {case.language for case in attacks} == {"en", "zh"}
    for case in attacks:
        slots = {"own_order", "foreign_order", "no_order", "item", "phone", "email", "card", "foreign_tracking"}
        assert not {slot for slot in slots if f"{{{slot}}}" in case.text + "".join(case.forbidden)}
        assert case.actions
        (foreign,) = case.foreign
        own = {order.shipment.tracking_id for order in case.who.orders if order.shipment and order.shipment.tracking_id}
        assert foreign.shipment is not None
        assert foreign.shipment.tracking_id not in own
