"""What is said in a situation may be said, in any of its wordings; what is not, may not, however little it differs."""

import re
from collections.abc import Iterator, Mapping
from itertools import combinations

import pytest

from agents.support.guard import Grounds, refusal
from agents.support.language import Language
from agents.support.templates import Templates

TEMPLATES = Templates()
SLOTS: Mapping[str, str] = {
    "order_id": "4411", "placed_on": "2026-11-18", "shipped_on": "2026-11-20", "expected_on": "2026-11-25",
    "delivered_on": "2026-11-24", "carrier": "DHL", "tracking_id": "JD0142", "amount": "149.90 EUR",
    "updated_on": "2026-11-22", "item": "Espresso Machine EM-5", "price": "189.00 EUR", "on_hand": "3",
    "orders": "4411, 4419", "items": "Green Tea, Oat Milk, Rice Cakes",
}
LANGUAGES: tuple[Language, ...] = ("en", "zh")
SITUATIONS = sorted(name for name in TEMPLATES.situations if not name.startswith("policy."))


def slots_of(language: Language, situation: str) -> dict[str, str]:
    """Those that the situation has."""
    texts = TEMPLATES.variants(language, situation, {name: f"{{{name}}}" for name in SLOTS})
    return {name: SLOTS[name] for text in texts for name in re.findall(r"\{(\w+)\}", text)}


def grounds(language: Language, situation: str) -> Grounds:
    slots = slots_of(language, situation)
    required = tuple(slots[name] for name in sorted(TEMPLATES.required(language, situation)))
    return Grounds(language, tuple(TEMPLATES.variants(language, situation, slots)), required)


def texts(language: Language) -> Iterator[tuple[str, str]]:
    for situation in SITUATIONS:
        for text in TEMPLATES.variants(language, situation, slots_of(language, situation)):
            yield situation, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_wording_of_a_situation_may_be_said_there(language: Language) -> None:
    for situation, text in texts(language):
        assert refusal(text, grounds(language, situation)) is None, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_digit_may_be_another(language: Language) -> None:
    for situation, text in texts(language):
        allowed = grounds(language, situation)
        for digit in re.finditer(r"\d", text):
            other = f"{text[: digit.start()]}{(int(digit[0]) + 3) % 10}{text[digit.end() :]}"
            assert refusal(other, allowed) is not None, other


NEGATED: Mapping[Language, list[tuple[str, str]]] = {
    "en": [(" is ", " is not "), (" has been ", " has not been "), (" was ", " was not "), (" can ", " cannot "),
           (" not ", " "), (" cannot ", " can "), ("no longer", "now")],
    "zh": [("已", "未"), ("不能", "能"), ("尚未", "已"), ("还没有", "已经"), ("没有", "有"), ("可以", "不可以"),
           ("无法", "可以")],
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_denial_may_come_or_go(language: Language) -> None:
    tried = 0
    for situation, text in texts(language):
        allowed = grounds(language, situation)
        for said, otherwise in NEGATED[language]:
            if said in text:
                tried += 1
                assert refusal(text.replace(said, otherwise, 1), allowed) is not None, (text, said)
    assert tried > 400


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_two_values_may_change_places(language: Language) -> None:
    tried = 0
    for situation, text in texts(language):
        allowed = grounds(language, situation)
        values = [value for value in slots_of(language, situation).values() if value in text and value[0].isdigit()]
        for one, other in combinations(values, 2):
            swapped = text.replace(one, "\0").replace(other, one).replace("\0", other)
            tried += 1
            assert refusal(swapped, allowed) is not None, swapped
    assert tried > 100


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_true_of_another_situation_of_an_order_may_not_be_said(language: Language) -> None:
    topics = {"order_status", "change_order", "cancel_order", "refund_status", "stock"}
    facts = [name for name in SITUATIONS if name.split(".")[0] in topics]
    true_too = ("order_status.paid", "order_status.placed")  # an order that is paid was placed, and is not shipped
    said = [
        (situation, other, text)
        for situation in facts for other in facts if other != situation and (situation, other) != true_too
        for text in TEMPLATES.variants(language, other, slots_of(language, other))
        if refusal(text, grounds(language, situation)) is None
    ]
    assert said == []


@pytest.mark.parametrize(
    ("language", "situation", "text"),
    [
        ("en", "order_status.packed", "Your order 4411 is packed. You also get a voucher."),  # a promise
        ("en", "order_status.packed", "Your order 4411 with the iPhone is packed."),  # a product
        ("en", "order_status.packed", "Your order 4411 is not packed."),
        ("en", "order_status.packed", "Your order 4411 is packed. It has been handed to the carrier."),
        ("en", "order_status.packed", "It is packed."),  # which one?
        ("en", "order_status.packed", "您的订单4411已打包。"),
        ("en", "order_status.packed", "Your order 4411 is packed. It arrives in two days."),
        ("en", "order_status.delivered", "Your order 4411 was not delivered on 2026-11-24."),
        ("en", "refund_status.approved", "The refund of 149.90 EUR for your order 4411 was approved and paid today."),
        ("en", "cancel_order.too_late", "Your order 4411 can be cancelled."),
        ("en", "order_status.packed", "Your order 4411 is not packed, but it has not left us yet."),
        ("en", "order_status.packed", "word " * 200),
        ("en", "order_status.packed", "  "),
        ("zh", "order_status.packed", "您的订单4411已打包，另赠优惠券一张。"),
        ("zh", "order_status.packed", "您的订单4411已送达。"),
        ("zh", "order_status.packed", "Your order 4411 is packed."),
        ("zh", "cancel_order.too_late", "您的订单4411可以取消。"),
        ("zh", "order_status.shipped", "您的订单4411三天后送到。"),
    ],
)
def test_a_planted_error_is_refused(language: Language, situation: str, text: str) -> None:
    assert refusal(text, grounds(language, situation)) is not None


def test_of_a_policy_its_sentences_may_be_said_and_no_others() -> None:
    passage = "You can return an item within 30 days of delivery. Opened food cannot be returned."
    around = ("Thank you for your message.", "If anything is still unclear, please write to us.")
    allowed = Grounds("en", (passage, *around))
    assert refusal("Thank you for your message. Opened food cannot be returned.", allowed) is None
    assert refusal("You can return an item within 30 days of delivery.", allowed) is None
    for error in (
        "You can return an item within thirty-one days of delivery.", "Opened food can be returned.",
        "You cannot return an item within 30 days of delivery.", "You can return an item at any time.",
    ):
        assert refusal(error, allowed) is not None, error
