"""From a message to its answer: what is wanted, what is known, what is to be said, and how. Each has a room of its own.

Knows no topic and no conversation's past but what it is given; asking it twice does no harm.
"""

import asyncio
import contextlib
import logging
import os
import unicodedata
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import cast

from msgspec import Struct
from redis.asyncio import Redis

from agents.asking import Model, ModelFailedError, connected
from agents.state.conversations import Standing
from agents.state.orders_store import KnownOrder, OrdersStore
from agents.support.endpoint import EndpointEngine
from agents.support.handover import danger
from agents.support.intents import chosen
from agents.support.language import detect
from agents.support.lookup import Lookup
from agents.support.planning import Asked, Known, Limits, Plan, plan
from agents.support.policies import FOLDER, Policies, PolicyError, read
from agents.support.redaction import redact
from agents.support.templates import Templates
from agents.support.writing import Engine, WorkerEngine, Writing, Written
from schemas.inference import EncodeRequest, EncodeResult, GenerateRequest
from schemas.settings import Settings, SettingsError

logger = logging.getLogger(__name__)

ENCODE_S = 5.0  # of one try; the encoder is asked until it answers
KEY_VARIABLE = "FOOTFALL_REPLY_KEY"
INVISIBLE = "Cf"  # Unicode's class of signs without a shape: they must not hide a word, or an address
ID_DIGITS = 6  # of a number that is an order's even where it is not called so; fewer may count something
UNSURE = ("out_of_scope", 0.0)


class Question(Struct, frozen=True):
    """A conversation's unanswered messages, as they came.

    `named`: what may be order numbers, and whether they are called so. `hint`: the language, if the channel knows it.
    """

    user: str
    texts: Sequence[str]
    named: Mapping[str, bool]
    standing: Standing
    hint: str | None = None


class Answer(Struct, frozen=True):
    """What was understood, decided and written."""

    asked: Asked
    plan: Plan
    written: Written


class Answering:
    """Answers messages, any number at a time."""

    def __init__(
        self, lookup: Lookup, encoder: Model, writing: Writing, policies: Policies, limits: Limits, currency: str
    ) -> None:
        self._lookup = lookup
        self._encoder = encoder
        self._writing = writing
        self._policies = policies
        self._limits = limits
        self._currency = currency

    async def answer(self, question: Question, now: datetime) -> Answer:
        """Waits for the encoder as long as none is there, and for a text of the model as long as its budget says."""
        orders = await self._lookup.orders(question.user, list(question.named))
        own = {one.order.order_id for one in orders}
        raw = "".join(sign for sign in "\n".join(question.texts) if unicodedata.category(sign) != INVISIBLE)
        text = redact(raw, keep=own & question.named.keys()).text
        named = tuple(name for name, called in question.named.items() if name in own or called or _is_id(name, text))
        asked, vector = await self._understand(text, question.hint, named)
        known = await self._look_up(question.user, asked, vector, orders)
        found = plan(asked, known, question.standing, now, self._currency, self._limits)
        return Answer(asked, found, await self._writing.write(found, asked))

    async def learn(self) -> None:
        """Learn what the passages are about, all at once: until then each is found by its words alone.

        Of those that are learned one by one, the first would be preferred to better ones that are not learned yet.
        """
        vectors: dict[tuple[str, str], bytes] = {}
        for (language, ref), text in self._policies.texts.items():
            try:
                result, _ = await self._encoder.ask((text,), ENCODE_S)
            except ModelFailedError as error:
                logger.warning("passage %s/%s is found by its words alone: %s", language, ref, error)
            else:
                vectors[language, ref] = cast("EncodeResult", result).vector
        for (language, ref), vector in vectors.items():
            self._policies.learn(language, ref, vector)

    async def _understand(self, text: str, hint: str | None, named: tuple[str, ...]) -> tuple[Asked, bytes]:
        """Language and intent. Waits for the encoder as long as none is there, but for what needs no encoder."""
        language = detect(text, hint)
        if language == "other" or danger(text) is not None:
            return Asked(text, "en" if language == "other" else language, *UNSURE, named), b""
        try:
            result, _ = await self._encoder.ask((text,), ENCODE_S)
        except ModelFailedError as error:
            logger.warning("a message could not be read by the encoder (%s): a person gets it", error)
            return Asked(text, language, *UNSURE, named), b""
        encoded = cast("EncodeResult", result)  # an encoder gives no other results
        return Asked(text, language, *chosen(encoded.intents), named), encoded.vector

    async def _look_up(self, user: str, asked: Asked, vector: bytes, orders: tuple[KnownOrder, ...]) -> Known:
        about_items = asked.intent in {"stock", "price"}
        return Known(
            orders,
            await self._lookup.item(user, asked.text, orders) if about_items else None,
            await self._lookup.advice(user) if asked.intent == "advice" else (),
            self._policies.best(asked.language, asked.text, vector, asked.intent),
        )


@contextlib.asynccontextmanager
async def answering(settings: Settings, redis: Redis) -> AsyncIterator[Answering]:
    """Answer as the settings say, with facts from this Redis. Raises SettingsError."""
    policies = _policies(settings)
    async with contextlib.AsyncExitStack() as stack:
        encoder = await stack.enter_async_context(connected(settings.workers, "encoder", EncodeRequest))
        engine = await _engine(settings, stack)
        result = Answering(
            Lookup(redis, OrdersStore(redis, settings)), encoder, Writing(Templates(), engine), policies,
            Limits(refund=settings.refund_limit), settings.currency,
        )
        learning = asyncio.create_task(result.learn())
        try:
            yield result
        finally:
            learning.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await learning


async def _engine(settings: Settings, stack: contextlib.AsyncExitStack) -> Engine | None:
    if settings.reply_engine == "worker":
        replier = await stack.enter_async_context(connected(settings.workers, "replier", GenerateRequest))
        return WorkerEngine(replier, settings.reply_budget_s)
    if settings.reply_engine == "endpoint":
        key = os.environ.get(KEY_VARIABLE, "")  # a secret: not among the settings, which are shown
        try:
            endpoint = EndpointEngine(settings.reply_url, settings.reply_model, key, settings.reply_budget_s)
        except ValueError as error:
            raise SettingsError(str(error)) from None
        return await stack.enter_async_context(endpoint)
    return None


def _is_id(name: str, redacted: str) -> bool:
    """Whether a number that nobody calls an order's is one: not where it may be personal data, and is gone."""
    return sum(map(str.isdigit, name)) >= ID_DIGITS and name in redacted


def _policies(settings: Settings) -> Policies:
    try:
        return Policies(read(Path(settings.policies).expanduser() if settings.policies else FOLDER))
    except (OSError, PolicyError) as error:
        raise SettingsError(f"FOOTFALL_POLICIES: {error}") from None
