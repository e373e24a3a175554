"""Text from a server that speaks OpenAI's chat completions: vLLM, SGLang, llama.cpp's, or OpenAI. One of the engines.

Knows how to ask, when to leave an endpoint alone, and what of an answer is a text; not what may be sent to a customer.
What a message or an answer says, and the key, are in no log.
"""

import asyncio
import ipaddress
import logging
import math
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import Self

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from agents.backoff import wait_s
from agents.log_repeats import quieten
from agents.support.writing import MAX_TOKENS, Messages

logger = logging.getLogger(__name__)
failures = logging.getLogger(f"{__name__}.failures")  # of an endpoint that is away, every message is one
quieten((failures.name,))

AT_A_TIME = 32  # vLLM answers together what comes together; with more, the last would wait there beyond its budget
CONNECT_S = 3.0  # a host that is off does not refuse, it is silent: that need not take a message's whole budget
# below the 5 s of uvicorn (vLLM, SGLang) and cpp-httplib (llama.cpp): a connection that they close in the moment in
# which we use it again is an error, as a POST is not repeated
IDLE_S = 2.0
MAX_ANSWER = 262_144  # bytes: many times what `MAX_TOKENS` can take
MAX_VERSION = 80  # characters
PAUSE_S = (1.0, 2.0, 5.0, 15.0, 30.0)
MAX_RETRY_AFTER_S = 60.0
TELL_AGAIN_S = 600.0  # what is wrong in a setting stays wrong
LOCAL_NAMES = (".localhost", ".local", ".internal", ".svc")  # what no public name ends with
WRONG = {  # which setting is wrong, by HTTP status
    401: "the key is not accepted: set FOOTFALL_REPLY_KEY",
    403: "the key may not use this model: set FOOTFALL_REPLY_KEY or FOOTFALL_REPLY_MODEL",
    404: "it has no such model, or nothing at this path: set FOOTFALL_REPLY_MODEL to a name that its /models lists, and"
         " FOOTFALL_REPLY_URL to its address with the /v1 at the end",
}
MOVED = "it points to another address, and a key must not travel there unasked: set FOOTFALL_REPLY_URL to that address"


class ChatMessage(Struct, frozen=True):
    role: str
    content: str


class ChatRequest(Struct, frozen=True):
    """What is asked. Temperature 0: the same message is worded the same again."""

    model: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int = MAX_TOKENS
    temperature: int = 0
    stream: bool = False


class Said(Struct, frozen=True):
    content: str | None = None
    tool_calls: tuple[msgspec.Raw, ...] | None = None


class Choice(Struct, frozen=True):
    message: Said
    finish_reason: str | None = None


class ChatAnswer(Struct, frozen=True):
    """The part of an answer that is used."""

    choices: tuple[Choice, ...]
    model: str | None = None


class UnusableError(ValueError):
    """There is no text in this answer; the message says why, and nothing of the answer."""


class Pauses:
    """When to leave an endpoint alone: after a failure for a while; then one request tries it for all.

    Pure: clock and chance are given. A request is known by when it began: those that were under way together when the
    first of them failed are one failure, and none of them ends the pause.
    """

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        self._clock = clock
        self._chance = chance
        self._failures = 0  # in a row
        self._until_s = -math.inf
        self._answered_s = -math.inf
        self._trying = False

    def hold(self) -> bool:
        """Whether nothing is to be sent now."""
        return self._trying or self._clock() < self._until_s

    def begin(self) -> float | None:
        """When the request that is to be sent now began; None: do not send it."""
        if self.hold():
            return None
        self._trying = self._failures > 0
        return self._clock()

    def answered(self, began_s: float) -> None:
        """The endpoint is there."""
        self._answered_s = self._clock()
        if began_s >= self._until_s:
            self._failures, self._trying = 0, False

    def failed(self, began_s: float, retry_after_s: float = 0.0) -> float:
        """The endpoint is away, or has too much to do. Returns for how long it is left alone now."""
        now_s = self._clock()
        if began_s >= self._until_s:
            own_s = wait_s(PAUSE_S, self._failures, self._chance())
            self._until_s = now_s + max(own_s, min(retry_after_s, MAX_RETRY_AFTER_S))
            self._failures, self._trying = self._failures + 1, False
        return max(0.0, self._until_s - now_s)

    def late(self, began_s: float) -> None:
        """The budget of a request is spent: a failure, unless others were answered meanwhile, and only this is slow."""
        if self._answered_s < began_s:
            self.failed(began_s)

    def left(self, began_s: float) -> None:
        """A request has ended. Where it told nothing, as it was cancelled, another may try."""
        if began_s >= self._until_s:
            self._trying = False


class EndpointEngine:
    """An `Engine`; enter it before the first question. Templates answer where it has no text."""

    name = "endpoint"
    _session: aiohttp.ClientSession

    def __init__(
        self,
        base_url: str,
        model: str,
        key: str,
        budget_s: float,
        *,
        connect_s: float = CONNECT_S,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        """`key`: empty, and none is sent. `budget_s`: of one call, from the wait for room to the last byte.

        Raises ValueError, which says what to set, where these cannot work.
        """
        self._url = _completions_url(base_url, has_key=bool(key.strip()))
        if not model:
            raise ValueError("FOOTFALL_REPLY_MODEL is not set: give a name that the endpoint's /models lists")
        self._model = model
        # identity: a small answer that unpacks to a large one is no answer
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"} | _authorization(key)
        self._budget_s = budget_s
        self._connect_s = connect_s
        self._room = asyncio.Semaphore(AT_A_TIME)
        self._pauses = Pauses(clock, chance)
        self._clock = clock
        self._told_s: dict[str, float] = {}  # when, by what is wrong

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(keepalive_timeout=IDLE_S),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),  # nothing of one customer's request goes with the next one's
            auto_decompress=False,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def generate(self, messages: Messages) -> tuple[str, str] | None:
        """As `Engine` says: None where there is no whole text in time, and at once while the endpoint is left alone."""
        if self._pauses.hold():
            return None
        began_s: float | None = None
        try:
            async with asyncio.timeout(self._budget_s), self._room:
                began_s = self._pauses.begin()  # what waited for room may have to leave the endpoint alone now
                return None if began_s is None else await self._ask(messages, began_s)
        except TimeoutError:
            failures.warning(
                "no text from the endpoint within %g s: templates answer; see how much it has to do, or raise"
                " FOOTFALL_REPLY_BUDGET_S", self._budget_s,
            )
            if began_s is not None:
                self._pauses.late(began_s)
            return None
        finally:
            if began_s is not None:
                self._pauses.left(began_s)

    async def _ask(self, messages: Messages, began_s: float) -> tuple[str, str] | None:
        request = ChatRequest(self._model, tuple(ChatMessage(role, content) for role, content in messages))
        try:
            async with self._session.post(
                self._url, data=msgspec.json.encode(request), headers=self._headers, allow_redirects=False
            ) as response:
                if response.status != 200:
                    self._refused(response, began_s)
                    return None
                text, model = _text(await _read(response))
        except aiohttp.ClientError as error:
            self._away(type(error).__name__, began_s)
            return None
        except UnusableError as error:
            self._pauses.answered(began_s)
            failures.warning("%s: the template answers; if it goes on, choose another FOOTFALL_REPLY_MODEL", error)
            return None
        self._pauses.answered(began_s)
        return text, (model or self._model)[:MAX_VERSION]

    def _refused(self, response: aiohttp.ClientResponse, began_s: float) -> None:
        status = response.status
        if status == 429 or status >= 500:
            self._away(f"status {status}", began_s, _retry_after_s(response.headers))
            return
        self._pauses.answered(began_s)
        wrong = MOVED if 300 <= status < 400 else WRONG.get(status)
        if wrong is None:
            failures.warning(
                "the endpoint refused a request (status %d): the template answers; its own log says why (it must take"
                " `max_tokens` and `temperature`)", status,
            )
        elif self._clock() - self._told_s.get(wrong, -math.inf) >= TELL_AGAIN_S:
            self._told_s[wrong] = self._clock()
            logger.error("the endpoint words no reply (status %d): %s; until then templates answer", status, wrong)

    def _away(self, why: str, began_s: float, retry_after_s: float = 0.0) -> None:
        pause_s = self._pauses.failed(began_s, retry_after_s)
        failures.warning(
            "the endpoint is away or has too much to do (%s): templates answer for %.1f s; see that it runs at"
            " FOOTFALL_REPLY_URL", why, pause_s,
        )


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > MAX_ANSWER:
            raise UnusableError(f"an answer of the endpoint has more than {MAX_ANSWER} bytes")
    return bytes(body)


def _text(body: bytes) -> tuple[str, str | None]:
    """The text, and what the answer calls its model."""
    try:
        answer = msgspec.json.decode(body, type=ChatAnswer)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnusableError(f"an answer of the endpoint is no chat completion ({type(error).__name__})") from None
    if not answer.choices:
        raise UnusableError("an answer of the endpoint has no choices")
    choice = answer.choices[0]
    if choice.message.tool_calls:
        raise UnusableError("the endpoint's model calls tools, and was given none")
    if choice.finish_reason != "stop":
        raise UnusableError(f"the endpoint's model was stopped, by a filter or after {MAX_TOKENS} tokens")
    text = choice.message.content or ""
    if not text.strip():
        raise UnusableError("the endpoint's model wrote nothing")
    return text, answer.model


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """What the endpoint asks for, in seconds or as a date by its own clock; 0 where that cannot be read."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return (parsedate_to_datetime(text) - parsedate_to_datetime(headers.get("Date", ""))).total_seconds()
    except (ValueError, TypeError):
        return 0.0


def _authorization(key: str) -> dict[str, str]:
    key = key.strip()  # a file that it was read from ends with a line's end
    if not key.isascii() or not key.isprintable():
        raise ValueError("FOOTFALL_REPLY_KEY holds characters that no HTTP header may hold: set it again")
    return {"Authorization": f"Bearer {key}"} if key else {}


def _completions_url(base_url: str, *, has_key: bool) -> URL:
    """Where to post to. No message repeats the URL: who puts a key into it shall not find it in a log."""
    example = "for example http://127.0.0.1:8000/v1"
    try:
        url = URL(base_url)
    except ValueError:
        raise ValueError(f"FOOTFALL_REPLY_URL is no URL: set it to the endpoint's, {example}") from None
    if url.scheme not in {"http", "https"} or not url.host or " " in url.host:
        raise ValueError(f"FOOTFALL_REPLY_URL is not of the form http://HOST or https://HOST: set it, {example}")
    if url.user is not None or url.password is not None or url.query_string or url.fragment:
        raise ValueError(
            f"FOOTFALL_REPLY_URL may hold no user, password, '?' or '#': set the address alone, {example}, and the"
            " key as FOOTFALL_REPLY_KEY"
        )
    # Whoever is on the way could read the key, and use it. An error, as after the first request a warning is too late.
    # Without a key plain HTTP may pass: a server that asks for none is one's own, whatever its name.
    if has_key and url.scheme == "http" and not _is_near(url.host):
        raise ValueError(
            "FOOTFALL_REPLY_URL would send the key over a public network where all can read it: use https://, or unset"
            " FOOTFALL_REPLY_KEY if the endpoint needs none"
        )
    return url / "chat" / "completions"


def _is_near(host: str) -> bool:
    """Whether a host is this one or in a private network: by its address, or by a name that means nothing outside."""
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return "." not in host or host.endswith(LOCAL_NAMES)
