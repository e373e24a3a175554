"""Grounded dialogues that a language model learns to answer from: what it is told, and what is true to say to that.

Made from the simulated shop, the customers' training wordings and support's training wordings. Everything goes through
the agents' own planning and prompt, so a model learns on exactly what it is served.
"""

from collections.abc import Iterator
from random import Random

from msgspec import Struct

from agents.state.conversations import Standing
from agents.state.orders_store import KnownOrder
from agents.support.guard import SENTENCE, refusal
from agents.support.language import Language
from agents.support.lookup import order_ids
from agents.support.planning import POLICY, Asked, Known, Limits, Plan, plan
from agents.support.policies import Passage, Policies, read, terms
from agents.support.templates import LANGUAGES, Templates
from agents.support.writing import Messages, Writing, prompt
from footfall.support.shop import CURRENCY, Customer, customer, moment
from model_core.dialogues import grammar

FIRST = Standing(sequence=1, answered=0, turns=0, intent="", order_id="", handed_over="", reply=None)
# how often each is asked: as many times as it has situations, about
WEIGHTS = {
    "order_status": 9, "refund_status": 6, "cancel_order": 4, "change_order": 3, "stock": 3, "price": 2, "advice": 2,
    "smalltalk": 1, "out_of_scope": 1, "delivery": 2, "return_item": 2, "refund_request": 2, "faulty_item": 2,
    "missing_item": 2, "payment": 2, "invoice": 1, "account": 2, "ordering": 1, "feedback": 1,
}  # fmt: skip
VAGUE = 0.15  # of messages about an item: which one it is remains unclear
SENTENCES = 2  # of a passage in an answer: a customer reads no page
POLICY_CHARS = {"en": 300, "zh": 80}  # of them: a reply has at most `writing.MAX_TOKENS`


class Dialogue(Struct, frozen=True):
    """A message as the model sees it, and an answer to it. `situation`: of `planning.Plan`."""

    language: Language
    situation: str
    messages: Messages
    reply: str


class Dialogues:
    """Makes them, one after the other."""

    def __init__(self) -> None:
        self._wordings = {language: grammar.load(language) for language in LANGUAGES}
        self._templates = Templates()
        self._writing = Writing(self._templates, None)
        self._policies = Policies(read())

    def sample(self, rng: Random) -> Iterator[Dialogue]:
        """Endlessly, one language after the other."""
        while True:
            for language in ("en", "zh"):
                found = None
                while found is None:
                    found = self._one(rng, language)
                yield found

    def _one(self, rng: Random, language: Language) -> Dialogue | None:
        """None for a message that is a person's."""
        (intent,) = rng.choices(list(WEIGHTS), weights=list(WEIGHTS.values()))
        who = customer(rng, language, moment(rng))
        order, item = rng.choice(who.orders), rng.choice(who.items)
        text = self._wordings[language].sample(intent, "train", rng, who.slots(order, item)).text
        asked = Asked(text, language, intent, 1.0, tuple(order_ids(text)))
        known = Known(
            _known(who, has_account=order.order_id in asked.order_ids or rng.random() < 0.8),
            item if rng.random() >= VAGUE else None,
            who.recommended[: rng.randrange(1, 4)] if rng.random() >= VAGUE else (),
            self._policies.best(language, text, b"", intent),
        )
        found = plan(asked, known, FIRST, who.now, CURRENCY, Limits(refund=1e9))
        if found.action == "handover":
            return None
        template = self._writing.template(found, language)
        reply = self._reply(rng, asked, found, known.passage)
        if refusal(reply, self._writing.grounds(found, language, template)) is not None:
            return None  # what may not be sent must not be learned either
        return Dialogue(language, found.situation, prompt(found, asked, template), reply)

    def _reply(self, rng: Random, asked: Asked, found: Plan, passage: Passage | None) -> str:
        if found.situation != POLICY or passage is None:
            return rng.choice(self._templates.variants(asked.language, found.situation, found.slots))
        opening, closing = (
            rng.choice(self._templates.variants(asked.language, name, {}))
            for name in ("policy.opening", "policy.closing")
        )
        space = " " if asked.language == "en" else ""
        return space.join(filter(None, (opening, *fitting(passage, asked), closing)))


def fitting(passage: Passage, asked: Asked) -> list[str]:
    """The sentences of a passage that answer a question best, by the words that they share, in the passage's order."""
    sentences = [one.strip() for one in SENTENCE.findall(passage.text) if one.strip()]
    said = set(terms(asked.text))
    shared = [len(said.intersection(terms(sentence))) for sentence in sentences]
    best: list[int] = []
    for at in sorted(range(len(sentences)), key=lambda at: (-shared[at], at)):
        chars = sum(len(sentences[one]) for one in (*best, at))
        if len(best) < SENTENCES and (not best or chars <= POLICY_CHARS[asked.language]):
            best.append(at)
    return [sentences[at] for at in sorted(best)]


def _known(who: Customer, *, has_account: bool) -> tuple[KnownOrder, ...]:
    """Now and then a customer has no orders, or writes from another account."""
    return tuple(KnownOrder(order, int(who.now.timestamp() * 1000)) for order in who.orders) if has_account else ()


