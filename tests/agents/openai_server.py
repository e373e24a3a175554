"""A server of chat completions on a port of this host, which answers as a test says. Speaks real HTTP."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

TEXT = "Your order is on its way."


def completion(text: str | None = TEXT, finish_reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    """An answer as vLLM gives it, with what nobody here asks for."""
    message = {"role": "assistant", "content": text, "tool_calls": [], "refusal": None} | more.pop("message", {})
    return {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1_795_428_000, "model": "served-model",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish_reason}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 6, "total_tokens": 26}, **more,
    }


def says(**arguments: Any) -> Callable[[], web.Response]:
    return lambda: web.json_response(completion(**arguments))


def fails(status: int, **headers: str) -> Callable[[], web.Response]:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda: web.json_response({"error": {"message": "secret words"}}, status=status, headers=named)


class OpenAIServer:
    """Gives the next answer of its script, the last for ever; each when its gate is open."""

    def __init__(self) -> None:
        self.script: list[Callable[[], web.StreamResponse]] = [says()]
        self.requests: list[web.BaseRequest] = []
        self.bodies: list[Any] = []
        self.gate, self.received, self.aborted = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.gate.set()
        self.under_way = self.most_under_way = 0
        self.url = ""

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.bodies.append(json.loads(await request.read()))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self.received.set()
        try:
            await self.gate.wait()
            return (self.script.pop(0) if len(self.script) > 1 else self.script[0])()
        except asyncio.CancelledError:  # the client closed the connection
            self.aborted.set()
            raise
        finally:
            self.under_way -= 1

    @asynccontextmanager
    async def running(self, port: int = 0) -> AsyncIterator["OpenAIServer"]:
        runner = web.ServerRunner(web.Server(self.handle, handler_cancellation=True), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
            yield self
        finally:
            self.gate.set()
            await runner.cleanup()


@asynccontextmanager
async def speaking(data: bytes, *, hangs_up: bool = True) -> AsyncIterator[str]:
    """The URL of a server that sends these bytes, whatever they are, and then hangs up, or waits for the client to."""
    connections: list[asyncio.Task[None]] = []

    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(data)
            await writer.drain()
            if not hangs_up:
                await reader.read()
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(asyncio.create_task(speak(reader, writer)))

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        await asyncio.gather(*connections)
