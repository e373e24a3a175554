"""Customers' messages from the wordings in the repository, with what they want: what an encoder's head learns from."""

from collections.abc import Iterator, Sequence
from itertools import islice
from random import Random

from agents.support.language import Language
from footfall.support.shop import Customer, customer, moment
from model_core.dialogues import grammar
from model_core.dialogues.grammar import Split
from model_core.encoder.training import Example

LANGUAGES: tuple[Language, ...] = ("en", "zh")
TRIES = 20  # for each message: short templates have few
LARGE_REFUND = "handover.large_refund"
CROWD = 100  # customers, who give the values for slots


def intent_of(table: str) -> str:
    """The intent that a table of wordings stands for: those for a person are named after the reason.

    A large refund is a refund: how much it is, a rule reads, for no model does.
    """
    return "refund_request" if table == LARGE_REFUND else table.removeprefix("handover.")


def examples(split: Split, per_intent: int, seed: int = 0) -> list[Example]:
    """So many different messages of each intent and language, or as many as there are; templates take turns."""
    found: list[Example] = []
    for language in LANGUAGES:
        wordings = grammar.load(language)
        rng = Random(f"{seed}/{language}")
        crowd = [customer(rng, language, moment(rng)) for _ in range(CROWD)]
        for table in wordings.tables:
            rng = Random(f"{seed}/{language}/{table}/{split}")
            drawn = islice(_drawn(wordings, table, split, crowd, rng), TRIES * per_intent)
            different = {example.text: example for example in drawn}
            found += islice(different.values(), per_intent)
    return found


def _drawn(
    wordings: grammar.Wordings, table: str, split: Split, crowd: Sequence[Customer], rng: Random
) -> Iterator[Example]:
    templates = wordings.templates(table, split)
    while True:
        for at, template in enumerate(templates):
            who = rng.choice(crowd)
            item = rng.choice(who.items) if rng.random() < 0.3 else None  # most say "the kettle"
            text = template.expand(rng, who.slots(rng.choice(who.orders), item))
            yield Example(text, intent_of(table), who.language, f"{who.language}/{table}/{split}/{at}")
