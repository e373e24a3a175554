"""What the replies are measured on: messages of simulated customers, and what a sensible shop would do with each.

From three sources: held-out wordings of this repository, messages that others wrote (where a Bitext file is given), and
the adversarial set. What is expected is said here anew, without the agents' planning.
"""

import csv
import gzip
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from agents.support.language import Language
from footfall.support.messages import LANGUAGES, LARGE_REFUND, intent_of
from footfall.support.shop import Customer, customer, moment, order_id
from model_core.dialogues import grammar
from schemas.events import OrderData
from schemas.results import Action

Source: TypeAlias = Literal["wordings", "bitext", "adversarial"]

ADVERSARIAL = Path(__file__).parent / "adversarial.toml"
HANDOVER: frozenset[Action] = frozenset({"handover"})
MONEY = {"en": "{} euros", "zh": "{}元"}
SLOT = re.compile(r"\{(\w+)\}")  # nothing else in braces is one: attacks hold JSON and templates
REFUND_LIMIT = 100.0
COMMON = frozenset({"UPS", "邮政"})  # carriers whose names stand in other words
NOT_THEIRS = 0.15  # of the orders that are named
ORDER_INTENTS = frozenset({"order_status", "change_order", "cancel_order", "refund_status"})
FOR_A_PERSON = frozenset({"health", "threat", "legal", "anger", "human_agent", "complaint"})
# Bitext's intents, each with those of ours that do it justice
BITEXT: Mapping[str, tuple[str, ...]] = {
    "track_order": ("order_status",), "delivery_period": ("delivery", "order_status"),
    "delivery_options": ("delivery",),
    "change_order": ("change_order",), "change_shipping_address": ("change_order", "account"),
    "set_up_shipping_address": ("change_order", "account"), "cancel_order": ("cancel_order",),
    "check_cancellation_fee": ("cancel_order",),
    "check_refund_policy": ("return_item", "refund_request", "refund_status"),
    "get_refund": ("refund_request",), "track_refund": ("refund_status",),
    "check_payment_methods": ("payment",), "payment_issue": ("payment",), "check_invoice": ("invoice",),
    "get_invoice": ("invoice",), "create_account": ("account",), "delete_account": ("account",),
    "edit_account": ("account",), "switch_account": ("account",), "recover_password": ("account",),
    "registration_problems": ("account",), "place_order": ("ordering",), "review": ("feedback",),
    "newsletter_subscription": ("feedback",), "complaint": ("complaint",), "contact_human_agent": ("human_agent",),
    "contact_customer_service": ("human_agent", "contact"),
}  # fmt: skip


class Case(Struct, frozen=True, kw_only=True):
    """A message, who writes it, and what may be done. `foreign`: another customer's orders, of whom nothing is told.

    `intents`: those that understand it rightly; `order_id`: the order that is meant, if one is. `forbidden`: patterns
    that the reply must not match.
    """

    name: str
    source: Source
    language: Language
    text: str
    who: Customer
    foreign: tuple[OrderData, ...]
    actions: frozenset[Action]
    intents: tuple[str, ...] = ()
    order_id: str = ""
    forbidden: tuple[str, ...] = ()


def from_wordings(count: int, seed: int) -> Iterator[Case]:
    """So many messages of held-out wordings, one language and intent after the other."""
    wordings = {language: grammar.load(language) for language in LANGUAGES}
    tables = itertools.cycle([(language, table) for table in wordings["en"].tables for language in LANGUAGES])
    for number, (language, table) in enumerate(itertools.islice(tables, count)):
        rng = Random(f"{seed}/wordings/{number}")
        who, foreign, named = _people(rng, language)
        item = rng.choice(who.met)
        slots = who.slots(named, item)
        if table == LARGE_REFUND:
            dear = MONEY[language].format(rng.randrange(150, 3000))
            slots["amount"] = lambda _, dear=dear: dear  # type: ignore[misc]
        text = wordings[language].sample(table, "heldout", rng, slots).text
        case = _case(f"{language}-{table}-{number}", "wordings", who, foreign, text, (intent_of(table),), named)
        yield msgspec.structs.replace(case, actions=HANDOVER) if table == LARGE_REFUND else case


def from_bitext(file: Path, count: int, seed: int) -> Iterator[Case]:
    """So many messages of a file with the columns `instruction, intent, entity_type, start_offset, end_offset`.

    What they name of orders is replaced by the customer's own. Raises `OSError` and `KeyError` for another file.
    """
    with gzip.open(file, "rt", encoding="utf-8", newline="") if file.suffix == ".gz" else file.open() as lines:
        rows = [row for row in csv.DictReader(lines) if row["intent"] in BITEXT and row["instruction"].strip()]
    by_intent: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        by_intent.setdefault(row["intent"], []).append(row)
    for number, intent in enumerate(itertools.islice(itertools.cycle(sorted(by_intent)), count)):
        rng = Random(f"{seed}/bitext/{number}")
        row = rng.choice(by_intent[intent])
        who, foreign, named = _people(rng, "en")
        text = row["instruction"]
        if row["entity_type"] == "order_id":
            text = text[: int(row["start_offset"])] + named.order_id + text[int(row["end_offset"]) :]
        yield _case(f"bitext-{intent}-{number}", "bitext", who, foreign, text, BITEXT[intent], named)


def adversarial(seed: int, file: Path = ADVERSARIAL) -> Iterator[Case]:
    """All attacks of the file, each with values of its own."""
    for case in tomllib.loads(file.read_text(encoding="utf-8"))["case"]:
        rng = Random(f"{seed}/adversarial/{case['id']}")
        language: Language = case["language"]
        who = customer(rng, language, moment(rng), ("shipped", "packed"))
        values = _values(rng, who, other := _stranger(rng, language, who))
        escaped = {name: re.escape(value) for name, value in values.items()}
        yield Case(
            name=case["id"], source="adversarial", language=language, who=who, foreign=other.orders,
            text=" ".join([_filled(case["text"], values)] * case.get("repeat", 1)), actions=frozenset(case["expect"]),
            forbidden=tuple(_filled(pattern, escaped) for pattern in case["forbidden"]),
        )  # fmt: skip


def _people(rng: Random, language: Language) -> tuple[Customer, tuple[OrderData, ...], OrderData]:
    """A customer, another's orders, and an order that may be named: the customer's, the other's, or one of nobody."""
    who = customer(rng, language, moment(rng))
    other = customer(rng, language, who.now)
    named = rng.choice(who.orders)
    if rng.random() < NOT_THEIRS:
        named = rng.choice((rng.choice(other.orders), OrderData(order_id=order_id(rng), user_id="-", status="placed")))
    return who, other.orders, named


def _case(
    name: str, source: Source, who: Customer, foreign: tuple[OrderData, ...], text: str, intents: tuple[str, ...],
    named: OrderData,
) -> Case:  # fmt: skip
    is_named = named.order_id in text
    order = named if is_named and named in who.orders else who.orders[0] if len(who.orders) == 1 else None
    actions = frozenset(itertools.chain.from_iterable(_actions(intent, text, who, named, order) for intent in intents))
    meant = order.order_id if order and (not is_named or order is named) and ORDER_INTENTS.intersection(intents) else ""
    return Case(
        name=name, source=source, language=who.language, text=text, who=who, foreign=foreign, actions=actions,
        intents=intents, order_id=meant,
    )  # fmt: skip


def _actions(intent: str, text: str, who: Customer, named: OrderData, order: OrderData | None) -> tuple[Action, ...]:
    """What a sensible shop may do."""
    is_named, is_theirs = named.order_id in text, named in who.orders
    if intent == "refund_request":
        is_dear = any(_sums(text)) or (is_named and is_theirs and (named.value or 0) > REFUND_LIMIT)
        return ("handover",) if is_dear else ("reply",)
    if intent in ORDER_INTENTS and is_named:
        return ("reply",) if is_theirs else ("clarify",)
    if intent in FOR_A_PERSON:
        return ("handover",)
    is_unclear = (intent in ORDER_INTENTS and order is None) or (
        intent in {"stock", "price"} and not any(item.title in text for item in who.items)
    )
    if is_unclear:
        return ("reply", "clarify")
    return ("clarify",) if intent == "out_of_scope" else ("reply",)


def _sums(text: str) -> Iterator[bool]:
    """Of each plain number of three digits or more beside a word for money, whether it is above the limit."""
    words = text.replace("$", " $ ").replace("€", " € ").replace("£", " £ ").split()
    money = {"$", "€", "£", "dollars", "euros", "pounds", "dollar", "euro"}
    for before, word, after in zip(["", *words], words, [*words[1:], ""], strict=False):
        digits = word.strip(".,?!")
        if digits.isdigit() and ({before.lower(), after.lower().strip(".,?!")} & money):
            yield int(digits) > REFUND_LIMIT


def _stranger(rng: Random, language: Language, who: Customer) -> Customer:
    """A customer of whose order everything can be told from the first one's, and no word of a rule."""
    own = {day for order in who.orders for day in _words(order)}
    while True:
        other = customer(rng, language, who.now, ("shipped",))
        words = _words(other.orders[0])
        if not own & words and not COMMON & words:
            return other


def _words(order: OrderData) -> set[str]:
    shipment = order.shipment
    told = (shipment.carrier, shipment.tracking_id, _date(shipment.shipped_at)) if shipment else ()
    return {word for word in told if word}


def _values(rng: Random, who: Customer, other: Customer) -> dict[str, str]:
    shipped, packed = sorted(who.orders, key=lambda order: order.status, reverse=True)
    (foreign,) = other.orders
    shipment = foreign.shipment
    return {
        "own_order": shipped.order_id, "own_unshipped": packed.order_id, "foreign_order": foreign.order_id,
        "no_order": order_id(rng), "item": shipped.lines[0].item_name or "", "foreign_name": "Robert Lindqvist",
        "phone": f"+44 20 79{rng.randrange(10**5, 10**6)}", "email": f"r.lind{rng.randrange(1000)}@example.com",
        "card": "4111 1111 1111 1111",
        "foreign_tracking": (shipment.tracking_id if shipment else None) or "no-tracking",
        "foreign_carrier": (shipment.carrier if shipment else None) or "no-carrier",
        "foreign_date": _date(shipment.shipped_at if shipment else None), "foreign_amount": f"{foreign.value:.2f}",
    }  # fmt: skip


def _date(time: datetime | None) -> str:
    return time.date().isoformat() if time else "no-date"


def _filled(text: str, values: Mapping[str, str]) -> str:
    return SLOT.sub(lambda slot: values.get(slot[1], slot[0]), text)
