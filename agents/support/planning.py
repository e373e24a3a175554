"""What is to be answered: the action, the situation and the facts. Pure: everything was looked up before.

A plan is complete without a model: its template is a true reply. A model may word it otherwise (`agents.support.guard`
says whether that may be sent).
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import cast

from msgspec import Struct

from agents.results import timestamp
from agents.state.conversations import Standing
from agents.state.orders_store import KnownOrder
from agents.support import about_orders
from agents.support.about_orders import money
from agents.support.handover import Reason, amounts, danger
from agents.support.intents import FOR_A_PERSON
from agents.support.language import Language
from agents.support.policies import Passage
from schemas.results import Action, Citation, CitationKind

WITHOUT_FACTS: Mapping[str, tuple[Action, str]] = {
    "smalltalk": ("reply", "smalltalk.any"), "out_of_scope": ("clarify", "out_of_scope.any"),
}
SHOWN_ORDERS = 5  # to choose from
THIRD_TURN = 2  # replies before it
POLICY = "policy"


class Limits(Struct, frozen=True):
    """`refund`: a request for more is a person's. `confidence`: of the intent; below it a person reads the message."""

    refund: float = 100.0
    confidence: float = 0.2


class Asked(Struct, frozen=True):
    """What a customer wants, as far as it was understood. `text`: redacted, of all messages that are not answered yet.

    `order_ids`: that are named in it, or by the channel.
    """

    text: str
    language: Language
    intent: str
    confidence: float
    order_ids: tuple[str, ...] = ()


class Item(Struct, frozen=True):
    """An item of the catalogue. `on_hand`: everywhere; None where no stock level is known."""

    item_id: str
    title: str
    price: float | None
    on_hand: float | None
    as_of_ms: int


class Known(Struct, frozen=True):
    """What the shop knows. `orders`: the customer's own, newest first, those that were named among them.

    `item`: the one that is meant, if that is clear. `advice`: what is recommended to the customer, best first.
    """

    orders: tuple[KnownOrder, ...] = ()
    item: Item | None = None
    advice: tuple[Item, ...] = ()
    passage: Passage | None = None


class Plan(Struct, frozen=True):
    """`situation`: of `templates`, or `POLICY`, where the passage is quoted. `order_id`: that it is about."""

    action: Action
    situation: str
    slots: Mapping[str, str] = {}
    citations: tuple[Citation, ...] = ()
    order_id: str = ""
    handover: Reason | None = None


def plan(asked: Asked, known: Known, standing: Standing, now: datetime, currency: str, limits: Limits) -> Plan:
    """The one plan for this message. `currency`: of prices, where an order does not name its own."""
    for reason in _handovers(asked, known, standing, limits):
        return _to_a_person(reason, asked, known)
    if asked.intent in WITHOUT_FACTS:
        return Plan(*WITHOUT_FACTS[asked.intent])
    if asked.intent in about_orders.INTENTS:
        found = _about_order(asked, known, standing, now, currency)
    elif asked.intent == "advice":
        found = _advice(known.advice)
    elif asked.intent in {"stock", "price"}:
        found = _about_item(asked.intent, known.item, currency)
    else:
        found = None
    if found is not None:
        return found
    if known.passage is not None:
        return Plan("reply", POLICY, {}, (_policy(known.passage),))
    return _to_a_person("no_facts", asked, known)


def _handovers(asked: Asked, known: Known, standing: Standing, limits: Limits) -> Iterator[Reason]:
    """Why a person must take over, the gravest reason first."""
    grave = danger(asked.text)
    if grave is not None:
        yield grave
    if standing.handed_over:  # a person has it, until it is resolved
        yield cast("Reason", standing.handed_over)
    if asked.intent in FOR_A_PERSON:
        yield cast("Reason", asked.intent)
    if asked.confidence < limits.confidence:
        yield "low_confidence"
    if standing.turns >= THIRD_TURN and asked.intent != "smalltalk":
        yield "third_turn"
    if asked.intent == "refund_request" and _refund(asked, known) > limits.refund:
        yield "large_refund"


def _to_a_person(reason: Reason, asked: Asked, known: Known) -> Plan:
    named = tuple(about_orders.citation(one) for one in known.orders if one.order.order_id in asked.order_ids)
    return Plan("handover", f"handover.{reason}", {}, named, handover=reason)


def _refund(asked: Asked, known: Known) -> float:
    """How much is asked for: what is named, else what the named order cost."""
    named = [one.order.value or 0.0 for one in known.orders if one.order.order_id in asked.order_ids]
    return max(amounts(asked.text) or named or [0.0])


def _about_order(asked: Asked, known: Known, standing: Standing, now: datetime, currency: str) -> Plan | None:
    fitting = about_orders.candidates(asked.intent, known.orders, asked.order_ids, standing.order_id)
    if len(fitting) == 1:
        order = fitting[0].order
        situation, slots = about_orders.situation(asked.intent, order, now, currency)
        return Plan("reply", situation, slots, (about_orders.citation(fitting[0]),), order.order_id)
    if fitting:
        shown = fitting[:SHOWN_ORDERS]
        orders = {"orders": ", ".join(one.order.order_id for one in shown)}
        return Plan("clarify", "order.which", orders, tuple(map(about_orders.citation, shown)))
    if asked.order_ids:  # not the customer's, or not there: nobody learns which
        return Plan("clarify", "order.unknown", {"order_id": asked.order_ids[0]})
    return Plan("clarify", "order.none") if asked.intent == "order_status" or known.passage is None else None


def _about_item(intent: str, item: Item | None, currency: str) -> Plan | None:
    """None where the shop does not know."""
    if item is None:
        return Plan("clarify", f"{intent}.unknown")
    told = item.on_hand if intent == "stock" else item.price
    if told is None:
        return None
    text = f"{told:g}" if intent == "stock" else money(told, currency)
    situation = "price.known" if intent == "price" else "stock.available" if told > 0 else "stock.gone"
    slots = {"item": item.title, "price" if intent == "price" else "on_hand": text}
    return Plan("reply", situation, slots, (_fact("stock", item, text),))


def _advice(items: Sequence[Item]) -> Plan:
    if not items:
        return Plan("clarify", "advice.none")
    slots = {"items": ", ".join(item.title for item in items)}
    return Plan("reply", "advice.items", slots, tuple(_fact("recommendation", item) for item in items))


def _fact(kind: CitationKind, item: Item, told: str = "") -> Citation:
    return Citation(kind, item.item_id, timestamp(item.as_of_ms), f"{item.title}, {told}" if told else item.title)


def _policy(passage: Passage) -> Citation:
    return Citation("policy", passage.ref, timestamp(int(passage.as_of_s * 1000)), passage.text)
