"""Simulated support messages: what a customer writes about an order of theirs. Seeded; knows no clock and no network.

The wordings are those that models are trained on (`model_core.dialogues`); the held out ones are to measure with. Now
and then somebody names another customer's order, or writes what a person must answer.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from footfall.replay.orders import Orders
from model_core.dialogues import grammar
from schemas.events import OrderData

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")

CHINESE_SHARE = 0.3
ROUND = 10  # of so many messages one is for a person, and one about an order of somebody else
FOR_A_PERSON_AT, FOREIGN_AT = 2, 7
FOR_A_PERSON = ("handover.anger", "handover.legal")
ABOUT_ITEMS = frozenset({"stock", "price"})
SLOTS = frozenset({"order_id", "item"})  # what an order fills in
TRIES = 12  # to have the order or the item named, which many wordings leave out now and then
ASKED_ABOUT = 3  # orders of a customer: the newest
TABLES: Mapping[str, Mapping[str, int]] = {  # what is asked how often, by how far the order is
    "waiting": {"order_status": 4, "cancel_order": 2, "change_order": 2},
    "under way": {"order_status": 6, "cancel_order": 1, "change_order": 1},
    "over": {"return_item": 2, "missing_item": 2, "order_status": 2, "invoice": 1, "stock": 1, "price": 1},
    "refunded": {"refund_status": 4, "order_status": 1},
}
STATES = dict.fromkeys(("placed", "paid", "packed"), "waiting") | dict.fromkeys(
    ("shipped", "out_for_delivery"), "under way"
)


class Enquiry(Struct, frozen=True):
    """What a customer writes. `orders`: to be known before, the customer's own, and another that is named."""

    number: int
    user: str
    language: Language
    text: str
    orders: tuple[OrderData, ...]


class Enquiries:
    """What the customers of one run write. Making it reads the wordings, which takes half a second."""

    def __init__(self, orders: Orders, seed: int) -> None:
        self.orders = orders
        self._seed = seed
        wordings = {language: grammar.load(language) for language in LANGUAGES}
        tables = {*FOR_A_PERSON, *(table for chances in TABLES.values() for table in chances)}
        self._templates = {
            (language, table): _fitting(wordings[language].templates(table, "train"), table)
            for language in LANGUAGES for table in tables
        }  # fmt: skip

    def write(self, number: int, user: str, now_ms: int) -> Enquiry | None:
        """The run's message of this number, from this customer; None where they have bought nothing lately."""
        rng = random.Random(f"{self._seed}/enquiry/{number}/{user}")  # noqa: S311 - a simulation
        own = self.orders.of(user, now_ms)[:ASKED_ABOUT]
        if not own:
            return None
        language: Language = "zh" if rng.random() < CHINESE_SHARE else "en"
        about, foreign = rng.choice(own), None
        if number % ROUND == FOREIGN_AT:
            foreign = self.orders.of_somebody_else(user, now_ms, rng)
        if number % ROUND == FOR_A_PERSON_AT:
            table = rng.choice(FOR_A_PERSON)
        elif foreign is not None:
            table, about = "order_status", foreign
        else:
            chances = TABLES["refunded" if about.refund else STATES.get(about.status, "over")]
            (table,) = rng.choices(list(chances), weights=list(chances.values()))
        text = self._text(rng, language, table, about)
        return Enquiry(number, user, language, text, (*own, *([foreign] if foreign else ())))

    def _text(self, rng: random.Random, language: Language, table: str, order: OrderData) -> str:
        item = rng.choice(order.lines)
        values = {"order_id": order.order_id, "item": called(item.item_name or item.item_id)}
        slots = {name: lambda _, value=value: value for name, value in values.items()}
        text = ""
        for _ in range(TRIES):
            text = rng.choice(self._templates[language, table]).expand(rng, slots)
            if values[_slot(table)] in text:
                break
        return text


def _fitting(templates: Sequence[grammar.Template], table: str) -> list[grammar.Template]:
    """Those that an order can fill in, and that can name what it is about."""
    return [one for one in templates if _slot(table) in one.slots and one.slots <= SLOTS]


def _slot(table: str) -> str:
    return "item" if table in ABOUT_ITEMS else "order_id"


def called(title: str) -> str:
    """An item as a customer calls it: without what stands in brackets."""
    return title.split(" (", maxsplit=1)[0]
