"""From a plan to a text: the template's, or that of a model where a guard lets it pass. Knows which engine it is given.

What a model gets is the facts and what the customer wrote, as data: its task stands in the system message, and no text
of a customer is ever an instruction, chooses a fact or decides an action.
"""

import asyncio
import logging
from typing import Any, Protocol

from msgspec import Struct

from agents.asking import Model, ModelFailedError
from agents.support.guard import Grounds, refusal
from agents.support.planning import POLICY, Asked, Plan
from agents.support.templates import Templates
from schemas.inference import GenerateResult
from schemas.results import ReplyOrigin

logger = logging.getLogger(__name__)

MAX_TOKENS = 160
AROUND = ("policy.opening", "policy.closing")
BY_TEMPLATE = ("template", "-")
SYSTEM = {
    "en": "You answer for a shop's customer service, in English. State only what the facts say. Be brief and polite.",
    "zh": "你是商店的客服，用中文回复。只说明事实中的内容，简短礼貌。",
}
FACTS = {"en": "Facts", "zh": "事实"}
MESSAGE = {"en": "Customer's message", "zh": "顾客留言"}

Messages = tuple[tuple[str, str], ...]


class Written(Struct, frozen=True):
    """`refused`: the guard's rule, where a model's text was not sent; `generated`: that text, sent or not."""

    text: str
    origin: ReplyOrigin
    model: tuple[str, str]
    refused: str = ""
    generated: str = ""


class Engine(Protocol):
    """Whatever generates text."""

    name: str

    async def generate(self, messages: Messages) -> tuple[str, str] | None:
        """A text and the version of the model; None where there is none now. Raises nothing."""
        ...


class WorkerEngine:
    """The worker's model."""

    name = "replier"

    def __init__(self, model: Model, budget_s: float) -> None:
        self._model = model
        self._budget_s = budget_s

    async def generate(self, messages: Messages) -> tuple[str, str] | None:
        """As `Engine` says: None when the budget is spent, or the model refuses."""
        try:
            async with asyncio.timeout(self._budget_s):
                result, version = await self._model.ask((messages, MAX_TOKENS), self._budget_s)
        except (TimeoutError, ModelFailedError) as error:
            logger.warning("no text from the model (%s): the template answers", type(error).__name__)
            return None
        return (result.text, version) if isinstance(result, GenerateResult) and result.complete else None


class Writing:
    """Words replies. Without an engine every reply is a template."""

    def __init__(self, templates: Templates, engine: Engine | None) -> None:
        self._templates = templates
        self._engine = engine

    async def write(self, plan: Plan, asked: Asked) -> Written:
        """The reply to this message."""
        template = self.template(plan, asked.language)
        if self._engine is None or plan.action == "handover":  # what a person takes over is said in fixed words
            return Written(template, "template", BY_TEMPLATE)
        generated = await self._engine.generate(prompt(plan, asked, template))
        if generated is None:
            return Written(template, "template", BY_TEMPLATE)
        text, version = generated
        refused = refusal(text, self.grounds(plan, asked.language, template))
        if refused is not None:
            return Written(template, "template", BY_TEMPLATE, refused, text)
        return Written(text.strip(), "model", (self._engine.name, version), generated=text)

    def template(self, plan: Plan, language: str) -> str:
        """The true reply that needs no model."""
        if plan.situation != POLICY:
            return self._templates.text(language, plan.situation, plan.slots)
        parts = (
            self._templates.text(language, "policy.opening", {}), plan.citations[0].quote,
            self._templates.text(language, "policy.closing", {}),
        )
        return "\n\n".join(filter(None, parts))

    def grounds(self, plan: Plan, language: Any, template: str) -> Grounds:
        """What a model's wording of this plan may rest on."""
        quotes = [citation.quote for citation in plan.citations]
        if plan.situation == POLICY:
            around = [text for name in AROUND for text in self._templates.variants(language, name, {})]
            return Grounds(language, (template, *quotes, *around))
        variants = self._templates.variants(language, plan.situation, plan.slots)
        required = [plan.slots[slot] for slot in sorted(self._templates.required(language, plan.situation))]
        return Grounds(language, (*variants, *quotes), tuple(required))


def prompt(plan: Plan, asked: Asked, template: str) -> Messages:
    """What a model is told, for training and for serving alike.

    The facts are the template's own sentences: they are what may be said, in the customer's language.
    """
    language = asked.language
    facts = plan.citations[0].quote if plan.situation == POLICY else template
    return (
        ("system", SYSTEM[language]),
        ("user", f"{FACTS[language]}: {facts}\n\n{MESSAGE[language]}: {asked.text}"),
    )
