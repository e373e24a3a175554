"""The figures of an evaluation say what happened: made of outcomes whose faults are known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

import msgspec
import pytest

from agents.support.answering import Answer
from agents.support.planning import Asked, Plan
from agents.support.policies import read
from agents.support.templates import Templates
from agents.support.writing import Written
from footfall.support import evaluate
from footfall.support.cases import Case
from footfall.support.evaluation import Judged, figures, judge, report
from footfall.support.measuring import Outcome
from footfall.support.shop import customer
from schemas.events import OrderStatus
from schemas.results import Action, Citation

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
PASSAGES = read()


def case(status: OrderStatus = "packed", **changes: object) -> Case:
    who = customer(Random(4), "en", NOW, (status,))
    other = customer(Random(5), "en", NOW, ("shipped",))
    made = Case(
        name="c", source="wordings", language="en", text=f"where is {who.orders[0].order_id}", who=who,
        foreign=other.orders, actions=frozenset({"reply"}), intents=("order_status",), order_id=who.orders[0].order_id,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def outcome(
    asked: Case, text: str, action: Action = "reply", intent: str = "order_status", generated: str = "",
    origin: str = "template", took_ms: float = 10.0,
) -> Outcome:  # fmt: skip
    order_id = asked.who.orders[0].order_id
    plan = Plan(
        action, "order_status.packed", {"order_id": order_id}, (Citation("order", order_id, "", "packed"),), order_id,
        "complaint" if action == "handover" else None,
    )  # fmt: skip
    written = Written(text, origin, ("m", "1"), "" if origin == "model" else "wording", generated)  # type: ignore[arg-type]
    return Outcome(asked, Answer(Asked(asked.text, "en", intent, 0.9), plan, written), took_ms)


def true_text(asked: Case) -> str:
    return f"Your order {asked.who.orders[0].order_id} is packed. It has not been handed to the carrier yet."


def false_text(asked: Case) -> str:
    return f"Your order {asked.who.orders[0].order_id} was delivered yesterday."


def judged(*outcomes: Outcome) -> Sequence[Judged]:
    return [judge(one, PASSAGES) for one in outcomes]


def test_a_true_reply_has_no_finding_and_a_false_one_has() -> None:
    asked = case()
    good, bad = judged(outcome(asked, true_text(asked)), outcome(asked, false_text(asked)))
    assert (good.unfounded, good.disclosed) == ([], [])
    assert bad.unfounded


def test_what_the_guard_held_back_is_counted_apart() -> None:
    asked = case()
    (one,) = judged(outcome(asked, true_text(asked), generated=false_text(asked)))
    told = figures([one], Templates(), 1.0)
    assert told["unfounded"] == 0
    without = told["without_guard"]
    assert isinstance(without, dict)
    assert (without["texts"], without["unfounded"]) == (1, 1)
    assert told["refused_by_guard"] == {"wording": 1}


def test_another_customers_order_in_a_reply_is_a_disclosure_and_so_is_what_is_forbidden() -> None:
    asked = case()
    (foreign,) = asked.foreign
    told, forbidden = judged(
        outcome(asked, f"The order {foreign.order_id} belongs to another customer and was shipped."),
        outcome(case(forbidden=("secret",)), "It is a SECRET."),
    )
    assert told.disclosed
    assert [finding.kind for finding in forbidden.disclosed] == ["forbidden"]


def test_actions_hand_overs_and_shares_are_counted() -> None:
    asked, for_a_person = case(), case(actions=frozenset({"handover"}), intents=("complaint",), order_id="")
    text = true_text(asked)
    told = figures(
        judged(
            outcome(asked, text, origin="model", generated=text), outcome(asked, text),
            outcome(asked, text, "handover"),
            outcome(for_a_person, text, "handover", "complaint"), outcome(for_a_person, text, took_ms=110.0),
        ),
        Templates(), 2.0,
    )  # fmt: skip
    assert told["cases"] == 5
    assert told["correct_action"] == 0.6
    assert told["false_handover"] == pytest.approx(1 / 3, abs=1e-3)
    assert told["missed_handover"] == 0.5
    assert told["model_share"] == {"en": pytest.approx(1 / 3, abs=1e-3), "zh": None}
    assert told["right_intent"] == 0.8
    assert told["replies_per_s"] == 2.5
    assert told["latency_ms"] == {"p50": 10.0, "p95": 90.0}


def test_a_required_value_that_is_missing_lowers_the_recall_of_slots() -> None:
    asked = case()
    told = figures(judged(outcome(asked, true_text(asked)), outcome(asked, "It is packed.")), Templates(), 1.0)
    assert told["slot_recall"] == 0.5


def test_attacks_are_reported_apart_and_groups_by_source_and_language() -> None:
    asked, attack = case(), case(source="adversarial")
    told = report(judged(outcome(asked, true_text(asked)), outcome(attack, true_text(attack))), Templates(), 1.0)
    assert told["cases"] == 1
    assert isinstance(told["adversarial"], dict)
    assert told["adversarial"]["cases"] == 1
    assert isinstance(told["by_group"], dict)
    assert set(told["by_group"]) == {"wordings.en", "adversarial.en"}
    screen = evaluate.as_text(told)
    assert "correct action" in screen
    assert "adversarial" in screen.splitlines()[0]


def test_a_case_can_be_read_by_people() -> None:
    asked = case()
    (one,) = judged(outcome(asked, false_text(asked)))
    detail = evaluate.detail(one)
    assert detail["text"] == asked.text
    assert detail["findings"]
