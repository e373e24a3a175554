"""A text comes from the endpoint whole and in time, or not at all; an endpoint that is away is left alone."""

import asyncio
import gzip
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from aiohttp import web

from agents.log_repeats import Repeats
from agents.support import endpoint
from agents.support.endpoint import AT_A_TIME, MAX_ANSWER, PAUSE_S, TELL_AGAIN_S, EndpointEngine, Pauses
from agents.support.writing import MAX_TOKENS
from tests.agents.openai_server import TEXT, OpenAIServer, completion, fails, says, speaking

KEY = "sk-never-shown"
WORDS = "where is my order 4711"
MESSAGES = (("system", "You answer."), ("user", WORDS))
BUDGET_S = 20.0
BOUND_S = 5.0  # of a test that waits
SHORT_S = 0.05  # for those that are to be spent
WRITTEN = (TEXT, "served-model")


class Time:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture(autouse=True)
def fresh_log() -> None:
    (repeats,) = endpoint.failures.filters
    cast("Repeats", repeats)._spoke_s.clear()  # else a test would be silenced by the one before


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer().running() as server:
        yield server


def engine_of(url: str, time: Time, budget_s: float = BUDGET_S, **more: Any) -> EndpointEngine:
    return EndpointEngine(url, "our-model", more.pop("key", KEY), budget_s, clock=time, chance=lambda: 1.0, **more)


@pytest.fixture
async def engine(server: OpenAIServer, time: Time) -> AsyncIterator[EndpointEngine]:
    async with engine_of(server.url, time) as engine:
        yield engine


async def test_a_text_is_asked_for_as_the_servers_know_it(engine: EndpointEngine, server: OpenAIServer) -> None:
    assert await engine.generate(MESSAGES) == WRITTEN
    assert server.bodies == [{
        "model": "our-model",
        "messages": [{"role": "system", "content": "You answer."}, {"role": "user", "content": WORDS}],
        "max_tokens": MAX_TOKENS, "temperature": 0, "stream": False,
    }]
    (request,) = server.requests
    assert (request.method, request.path_qs) == ("POST", "/v1/chat/completions")
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("key", ["", " \n"])
async def test_without_a_key_no_header_is_sent(server: OpenAIServer, time: Time, key: str) -> None:
    async with engine_of(server.url, time, key=key) as engine:
        assert await engine.generate(MESSAGES) == WRITTEN
    assert "Authorization" not in server.requests[0].headers


@pytest.mark.parametrize("written", ["{}/", " {}\n"])
async def test_an_address_may_end_with_a_slash_or_a_lines_end(server: OpenAIServer, time: Time, written: str) -> None:
    async with engine_of(written.format(server.url), time) as engine:
        assert await engine.generate(MESSAGES) == WRITTEN
    assert server.requests[0].path_qs == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("named", "version"), [("served", "served"), (None, "our-model"), ("", "our-model"), ("x" * 500, "x" * 80)]
)
async def test_the_version_is_what_the_answer_calls_its_model(
    engine: EndpointEngine, server: OpenAIServer, named: str | None, version: str
) -> None:
    server.script = [says(model=named)]
    assert await engine.generate(MESSAGES) == (TEXT, version)


async def test_nothing_that_an_endpoint_sets_comes_back_to_it(server: OpenAIServer, time: Time) -> None:
    server.script = [lambda: web.json_response(completion(), headers={"Set-Cookie": "customer=1; Path=/"})]
    url = server.url.replace("127.0.0.1", "localhost")  # an address would get none in any case
    async with engine_of(url, time) as engine:
        assert [await engine.generate(MESSAGES) for _ in range(2)] == [WRITTEN] * 2
    assert "Cookie" not in server.requests[1].headers


CALL = {"id": "1", "type": "function", "function": {"name": "refund", "arguments": "{}"}}
UNUSABLE: dict[str, Callable[[], web.Response]] = {
    "cut": says(finish_reason="length"),
    "stopped by a filter": says(finish_reason="content_filter"),
    "of no known end": says(finish_reason=None),
    "empty": says(text=" \n"),
    "null": says(text=None),
    "a tool call": says(message={"tool_calls": [CALL]}),
    "a tool call that ended": says(message={"tool_calls": [CALL]}, finish_reason="tool_calls"),
    "without choices": says(choices=[]),
    "of another form": lambda: web.json_response(completion(choices="none")),
    "of a number": says(text=7),
    "no json": lambda: web.Response(text="<html>welcome to the proxy</html>"),
    "nothing": lambda: web.Response(),
    "no utf-8": lambda: web.Response(body=b'{"choices":[{"message":{"content":"\xff"},"finish_reason":"stop"}]}'),
    "too deep": lambda: web.Response(body=b'{"x":' + b"[" * 100_000),
    "oversized": says(text="x" * MAX_ANSWER),
    "endless": lambda: web.Response(body=b" " * 50 * MAX_ANSWER),
    "packed": lambda: web.Response(
        body=gzip.compress(json.dumps(completion()).encode()), headers={"Content-Encoding": "gzip"}
    ),
    "of no content": lambda: web.Response(status=204),
    "refused": fails(400),
    "too long for it": fails(413),
}


@pytest.mark.parametrize("kind", UNUSABLE)
async def test_what_is_no_whole_text_is_not_sent_and_the_next_message_asks_again(
    engine: EndpointEngine, server: OpenAIServer, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    server.script = [UNUSABLE[kind], says()]
    assert await engine.generate(MESSAGES) is None
    assert [record.levelname for record in caplog.records if record.name == endpoint.failures.name] == ["WARNING"]
    assert await engine.generate(MESSAGES) == WRITTEN


async def test_an_answer_of_just_the_largest_size_is_read(engine: EndpointEngine, server: OpenAIServer) -> None:
    rest = len(web.json_response(completion(text="")).body)  # type: ignore[arg-type]
    server.script = [says(text="x" * (MAX_ANSWER - rest)), says(text="x" * (MAX_ANSWER - rest + 1))]
    written = await engine.generate(MESSAGES)
    assert written is not None
    assert len(written[0]) == MAX_ANSWER - rest
    assert await engine.generate(MESSAGES) is None


@pytest.mark.parametrize("status", [429, 500, 502, 503])
async def test_an_endpoint_that_has_too_much_to_do_is_left_alone_for_a_while(
    engine: EndpointEngine, server: OpenAIServer, time: Time, status: int
) -> None:
    server.script = [fails(status), says()]
    assert await engine.generate(MESSAGES) is None
    time.now_s += PAUSE_S[0] - 0.001
    assert await engine.generate(MESSAGES) is None
    assert len(server.requests) == 1
    time.now_s += 0.001
    assert await engine.generate(MESSAGES) == WRITTEN


RAW = {
    "hangs up": b"",
    "speaks no http": b"220 mail.example ESMTP\r\n\r\n",
    "hangs up within an answer": b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"choices":[',
    "breaks a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n",
    "has an endless header": b"HTTP/1.1 200 OK\r\nX: " + b"y" * 1_000_000,
}


@pytest.mark.parametrize("kind", RAW)
async def test_a_connection_that_breaks_is_a_failure(time: Time, kind: str) -> None:
    async with speaking(RAW[kind]) as url, engine_of(url, time) as engine:
        assert await engine.generate(MESSAGES) is None
        assert engine._pauses.hold()


async def test_an_endpoint_that_is_not_running_is_asked_again_after_the_pause(
    server: OpenAIServer, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        async with engine_of(f"http://127.0.0.1:{port}/v1", time) as engine:
            assert await engine.generate(MESSAGES) is None
            assert "ClientConnectorError" in caplog.text
            assert "FOOTFALL_REPLY_URL" in caplog.text
            unused.close()
            async with OpenAIServer().running(port) as late:
                assert await engine.generate(MESSAGES) is None
                time.now_s += PAUSE_S[0]
                assert await engine.generate(MESSAGES) == WRITTEN
                assert len(late.requests) == 1


async def test_a_host_that_is_silent_does_not_take_the_whole_budget(
    time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)  # room for one that nobody accepts; the kernel does not answer the others
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        url = f"http://127.0.0.1:{full.getsockname()[1]}/v1"
        async with engine_of(url, time, connect_s=SHORT_S) as engine, asyncio.timeout(BOUND_S):
            assert await engine.generate(MESSAGES) is None
            assert engine._pauses.hold()
    assert "ConnectionTimeoutError" in caplog.text


async def test_when_the_budget_is_spent_the_request_ends_and_the_endpoint_is_left_alone(
    server: OpenAIServer, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    server.gate.clear()
    async with engine_of(server.url, time, SHORT_S) as engine, asyncio.timeout(BOUND_S):
        assert await engine.generate(MESSAGES) is None
        await server.aborted.wait()
        assert await engine.generate(MESSAGES) is None
    assert len(server.requests) == 1
    assert "within 0.05 s" in caplog.text
    assert "FOOTFALL_REPLY_BUDGET_S" in caplog.text


async def test_the_budget_is_for_the_last_byte_too(time: Time) -> None:
    begun = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"
    async with speaking(begun, hangs_up=False) as url, engine_of(url, time, SHORT_S) as engine:
        async with asyncio.timeout(BOUND_S):
            assert await engine.generate(MESSAGES) is None


async def test_who_is_cancelled_hangs_up_and_the_next_message_is_answered(
    engine: EndpointEngine, server: OpenAIServer
) -> None:
    server.gate.clear()
    superseded = asyncio.create_task(engine.generate(MESSAGES))
    await server.received.wait()
    superseded.cancel()
    with pytest.raises(asyncio.CancelledError):
        await superseded
    async with asyncio.timeout(BOUND_S):
        await server.aborted.wait()
    server.gate.set()
    assert await engine.generate(MESSAGES) == WRITTEN


async def test_one_that_tries_for_all_and_is_cancelled_lets_another_try(
    engine: EndpointEngine, server: OpenAIServer, time: Time
) -> None:
    server.script = [fails(503), says()]
    await engine.generate(MESSAGES)
    time.now_s += PAUSE_S[0]
    server.gate.clear()
    server.received.clear()
    trying = asyncio.create_task(engine.generate(MESSAGES))
    await server.received.wait()
    assert await engine.generate(MESSAGES) is None  # at once: the gate is shut
    trying.cancel()
    await asyncio.wait([trying])
    server.gate.set()
    assert await engine.generate(MESSAGES) == WRITTEN


async def test_only_so_many_are_asked_at_a_time_and_the_others_wait_for_room(
    engine: EndpointEngine, server: OpenAIServer
) -> None:
    server.gate.clear()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.generate(MESSAGES)) for _ in range(AT_A_TIME + 8)]
        while server.under_way < AT_A_TIME:
            await asyncio.sleep(0)
        server.gate.set()
        assert await asyncio.gather(*asked) == [WRITTEN] * (AT_A_TIME + 8)
    assert server.most_under_way == AT_A_TIME


async def test_who_waited_for_room_does_not_ask_an_endpoint_that_failed_meanwhile(
    engine: EndpointEngine, server: OpenAIServer
) -> None:
    server.script = [fails(503)]
    server.gate.clear()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.generate(MESSAGES)) for _ in range(AT_A_TIME + 8)]
        while server.under_way < AT_A_TIME:
            await asyncio.sleep(0)
        server.gate.set()
        assert await asyncio.gather(*asked) == [None] * (AT_A_TIME + 8)
    assert len(server.requests) == AT_A_TIME


async def test_nobody_waits_for_room_at_an_endpoint_that_is_left_alone(
    engine: EndpointEngine, server: OpenAIServer
) -> None:
    server.gate.clear()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.generate(MESSAGES)) for _ in range(AT_A_TIME)]
        while server.under_way < AT_A_TIME:
            await asyncio.sleep(0)
        engine._pauses.failed(begun(engine._pauses))
        assert await engine.generate(MESSAGES) is None
        server.gate.set()
        await asyncio.gather(*asked)


@pytest.mark.parametrize("answer", [says(), says(finish_reason="length"), fails(400), fails(401)])
async def test_any_answer_of_an_endpoint_that_is_there_lets_all_ask_again(
    engine: EndpointEngine, server: OpenAIServer, time: Time, answer: Callable[[], web.Response]
) -> None:
    server.script = [fails(503), answer, says()]
    await engine.generate(MESSAGES)
    time.now_s += PAUSE_S[0]
    await engine.generate(MESSAGES)
    server.gate.clear()
    async with asyncio.timeout(BOUND_S), asyncio.TaskGroup() as group:
        asked = [group.create_task(engine.generate(MESSAGES)) for _ in range(2)]
        while server.under_way < 2:
            await asyncio.sleep(0)
        server.gate.set()
        assert await asyncio.gather(*asked) == [WRITTEN] * 2


@pytest.mark.parametrize("named", ["3", "Thu, 26 Nov 2026 10:00:03 GMT"])
async def test_the_time_that_an_endpoint_asks_for_is_honoured(
    engine: EndpointEngine, server: OpenAIServer, time: Time, named: str
) -> None:
    server.script = [fails(429, Retry_After=named, Date="Thu, 26 Nov 2026 10:00:00 GMT"), says()]
    await engine.generate(MESSAGES)
    time.now_s += 2.999
    assert await engine.generate(MESSAGES) is None
    time.now_s += 0.001
    assert await engine.generate(MESSAGES) == WRITTEN


@pytest.mark.parametrize(
    ("named", "pause_s"),
    [("9" * 5000, 60.0), ("Thu, 26 Nov 9999 10:00:00 GMT", 60.0), ("0", 1.0), ("-5", 1.0), ("soon", 1.0), ("²", 1.0),
     ("nan", 1.0), ("Thu, 26 Nov 2026 10:00:00 -0000", 1.0), ("Thu, 26 Nov 2020 10:00:00 GMT", 1.0)],
)
async def test_the_time_that_an_endpoint_asks_for_is_bounded(
    engine: EndpointEngine, server: OpenAIServer, time: Time, named: str, pause_s: float
) -> None:
    server.script = [fails(429, Retry_After=named, Date="Thu, 26 Nov 2026 10:00:00 GMT"), says()]
    await engine.generate(MESSAGES)
    time.now_s += pause_s - 0.001
    assert await engine.generate(MESSAGES) is None
    time.now_s += 0.001
    assert await engine.generate(MESSAGES) == WRITTEN


@pytest.mark.parametrize(
    ("status", "setting"),
    [(401, "FOOTFALL_REPLY_KEY"), (403, "FOOTFALL_REPLY_KEY"), (404, "FOOTFALL_REPLY_MODEL"),
     (308, "FOOTFALL_REPLY_URL")],
)
async def test_a_wrong_setting_is_told_once_as_an_error_and_asked_about_again(
    engine: EndpointEngine, server: OpenAIServer, time: Time, caplog: pytest.LogCaptureFixture, status: int,
    setting: str,
) -> None:
    server.script = [fails(status)]
    for _ in range(5):
        assert await engine.generate(MESSAGES) is None
    (record,) = [record for record in caplog.records if record.name.startswith(endpoint.__name__)]
    assert record.levelname == "ERROR"
    assert setting in record.getMessage()
    assert str(status) in record.getMessage()
    assert len(server.requests) == 5
    time.now_s += TELL_AGAIN_S
    await engine.generate(MESSAGES)
    assert len([record for record in caplog.records if record.levelname == "ERROR"]) == 2


async def test_a_key_does_not_follow_a_redirection(
    engine: EndpointEngine, server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with OpenAIServer().running() as other:
        server.script = [fails(307, Location=f"{other.url}/chat/completions")]
        assert await engine.generate(MESSAGES) is None
        assert other.requests == []
    assert "FOOTFALL_REPLY_URL" in caplog.text


async def test_failures_do_not_flood_the_log(
    engine: EndpointEngine, server: OpenAIServer, time: Time, caplog: pytest.LogCaptureFixture
) -> None:
    server.script = [fails(503)]
    for _ in range(50):
        time.now_s += PAUSE_S[-1]
        await engine.generate(MESSAGES)
    assert len(server.requests) == 50
    assert len([record for record in caplog.records if record.name.startswith(endpoint.__name__)]) == 1


async def test_no_log_shows_the_key_or_what_was_written(
    server: OpenAIServer, time: Time, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(endpoint.failures, "filters", [])
    answers = [*UNUSABLE.values(), *(fails(status) for status in (301, 401, 403, 404, 429, 500))]
    for answer in answers:
        server.script = [answer]
        async with engine_of(server.url, time) as engine:
            await engine.generate(MESSAGES)
            assert KEY not in f"{engine!r}{engine}"
    for data in RAW.values():
        async with speaking(data) as url, engine_of(url, time) as engine:
            await engine.generate(MESSAGES)
    spoken = [record for record in caplog.records if record.name.startswith(endpoint.__name__)]
    assert len(spoken) == len(answers) + len(RAW)
    shown = "".join(f"{record.getMessage()}{record.__dict__}" for record in caplog.records)
    for secret in (KEY, WORDS, TEXT, "secret words", "welcome", "xxx"):
        assert secret not in shown


@pytest.mark.parametrize(
    "url",
    ["", "127.0.0.1:8000/v1", "ftp://127.0.0.1/v1", "unix:///run/vllm", "http://", "https:///v1", "http://host:port/v1",
     "http://host:99999", "http://user:hidden@127.0.0.1/v1", "http://:hidden@127.0.0.1/v1",
     "https://api.example/v1?key=hidden", "https://api.example/v1#hidden"],
)
def test_an_address_that_cannot_work_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match=r"FOOTFALL_REPLY_URL .*http://127\.0\.0\.1:8000/v1") as refused:
        EndpointEngine(url, "m", KEY, BUDGET_S)
    assert "hidden" not in str(refused.value)
    assert refused.value.__cause__ is None  # yarl's own would show it


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.8.8.8", "[::1]", "10.0.0.7", "192.168.1.2:8000", "172.17.0.1", "100.64.0.1", "[fd00::1]",
     "localhost:8000", "vllm", "vllm.models.svc", "gpu.local", "vllm.models.svc.cluster.local"],
)
def test_a_key_may_go_over_plain_http_within_a_private_network(host: str) -> None:
    EndpointEngine(f"http://{host}/v1", "m", KEY, BUDGET_S)


@pytest.mark.parametrize("host", ["api.example.com", "8.8.8.8", "[2001:4860:4860::8888]", "notlocal.example"])
def test_a_key_may_not_go_over_plain_http_to_anywhere_else(host: str) -> None:
    with pytest.raises(ValueError, match="use https://") as refused:
        EndpointEngine(f"http://{host}/v1", "m", KEY, BUDGET_S)
    assert KEY not in str(refused.value)
    EndpointEngine(f"https://{host}/v1", "m", KEY, BUDGET_S)
    EndpointEngine(f"http://{host}/v1", "m", "", BUDGET_S)


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "nul\0"])
def test_a_key_that_no_header_can_hold_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ValueError, match="FOOTFALL_REPLY_KEY") as refused:
        EndpointEngine("https://api.example/v1", "m", key, BUDGET_S)
    assert key not in str(refused.value)


def test_a_model_must_be_named() -> None:
    with pytest.raises(ValueError, match="FOOTFALL_REPLY_MODEL"):
        EndpointEngine("https://api.example/v1", "", KEY, BUDGET_S)


async def test_the_line_end_of_a_file_is_no_part_of_the_key(server: OpenAIServer, time: Time) -> None:
    async with engine_of(server.url, time, key=f"{KEY}\n") as engine:
        await engine.generate(MESSAGES)
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.fixture
def pauses(time: Time) -> Pauses:
    return Pauses(time, lambda: 1.0)


def begun(pauses: Pauses) -> float:
    began_s = pauses.begin()
    assert began_s is not None
    return began_s


def test_each_failure_in_a_row_makes_the_pause_longer_up_to_a_bound(pauses: Pauses, time: Time) -> None:
    seen = []
    for _ in range(len(PAUSE_S) + 2):
        seen.append(pauses.failed(begun(pauses)))
        time.now_s += seen[-1]
    assert seen == [*PAUSE_S, PAUSE_S[-1], PAUSE_S[-1]]
    pauses.answered(begun(pauses))
    assert pauses.failed(begun(pauses)) == PAUSE_S[0]


def test_those_that_fail_together_are_one_failure(pauses: Pauses, time: Time) -> None:
    together = [begun(pauses) for _ in range(AT_A_TIME)]
    assert [pauses.failed(began_s) for began_s in together] == [PAUSE_S[0]] * AT_A_TIME
    time.now_s += PAUSE_S[0]
    assert pauses.failed(begun(pauses)) == PAUSE_S[1]


def test_after_a_pause_one_tries_for_all(pauses: Pauses, time: Time) -> None:
    pauses.failed(begun(pauses))
    time.now_s += PAUSE_S[0]
    trying_s = begun(pauses)
    time.now_s += 10.0
    assert pauses.begin() is None
    pauses.answered(trying_s)
    pauses.left(trying_s)
    assert [pauses.begin(), pauses.begin()] == [time.now_s, time.now_s]


def test_an_answer_to_what_began_before_does_not_end_a_pause(pauses: Pauses, time: Time) -> None:
    slow_s, failing_s = begun(pauses), begun(pauses)
    pauses.failed(failing_s)
    pauses.answered(slow_s)
    pauses.left(slow_s)
    assert pauses.hold()
    time.now_s += PAUSE_S[0]
    begun(pauses)
    assert pauses.begin() is None  # still one for all


def test_what_began_before_a_pause_and_ends_after_it_lets_no_second_one_try(pauses: Pauses, time: Time) -> None:
    old_s, failing_s = begun(pauses), begun(pauses)
    pauses.failed(failing_s)
    time.now_s += PAUSE_S[0]
    begun(pauses)
    assert pauses.failed(old_s) == 0.0
    pauses.left(old_s)
    assert pauses.hold()


def test_one_slow_answer_among_others_is_no_failure(pauses: Pauses, time: Time) -> None:
    slow_s = begun(pauses)
    time.now_s += 1.0
    pauses.answered(begun(pauses))
    time.now_s += BUDGET_S
    pauses.late(slow_s)
    assert not pauses.hold()
    pauses.late(begun(pauses))
    assert pauses.hold()
