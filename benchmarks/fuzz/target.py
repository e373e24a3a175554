"""What is run on every input: the product's own decoding, and what touches the content before it leaves the process.

A record on the customers' topics goes through `customer_decoders` and `EventBatch` (change, id and time of the event)
up to the bytes of Redis' arguments; one on the facts' topics through `Facts.handle`. What is poison goes through
`DeadLetters.send` up to the producer, and `footfall.dlq_reader` must find the source record in the letter. A message
goes through the worker's `_handle` and `Operations.answer`, or the agent's `_handle`. There is no broker, cache or
socket, and no model: what comes after them is not fuzzed.

Nothing is left behind: an input does the same whatever came before it. Raises what the product raises, which it
never may, and AssertionError where what would leave the process is not what was promised.
"""
# ruff: noqa: SLF001 - the product's own ways in, which have no public name

from collections.abc import Callable, Coroutine, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import hiredis
import msgspec
from aiokafka import ConsumerRecord

from agents.ack_window import Partition
from agents.applying import EventBatch
from agents.dead_letters import HEADER, MAX_COPY_BYTES, MAX_TRACE_CHARS, DeadLetters
from agents.decoding import Poison, customer_decoders
from agents.facts import Facts
from agents.state.changes import looked_at
from agents.state.facts_store import Fact
from agents.state.orders_store import OrderRecord, OrdersStore
from agents.transport.consumer import Chunk
from agents.worker_client import WorkerClient, _Link
from benchmarks.fuzz.inputs import Input, Route, unpack
from footfall.dlq_reader import Place, letter_of
from model_core.server import WorkerServer
from schemas import keys
from schemas.control import control_reply_decoder
from schemas.inference import Refused, ToAgent, to_agent_decoder, to_agent_encoder
from schemas.topics import CATALOG, CLICKSTREAM, INVENTORY, ORDERS, PURCHASES, SOURCES

PREFIX = "retail"
TOPICS = {
    Route.CLICKSTREAM: CLICKSTREAM.full_name(PREFIX), Route.PURCHASES: PURCHASES.full_name(PREFIX),
    Route.CATALOG: CATALOG.full_name(PREFIX), Route.INVENTORY: INVENTORY.full_name(PREFIX),
    Route.ORDERS: ORDERS.full_name(PREFIX),
}
MAX_REASON_BYTES = 2 * 4 * MAX_TRACE_CHARS + 1024  # message and trace in UTF-8, and the short ones
OF_ITS_OWN = ("it does not speak", "it sent what is not")

_encode = msgspec.msgpack.Encoder().encode


class Outcome(NamedTuple):
    """What became of an input. `refusal`: why it is no event, fact or message; empty where it is one."""

    route: Route
    refusal: str = ""


Target = Callable[[bytes], Outcome]


class _Producer:
    """Stands in for the publisher: looks at each dead letter as it would leave."""

    async def deliver(
        self, topic: str, key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes | None]]
    ) -> None:
        ours = headers[-6:]
        assert all(name.startswith(HEADER) for name, _ in ours), ours
        assert sum(len(name.encode()) + len(text or b"") for name, text in ours) <= MAX_REASON_BYTES, "reasons too long"
        assert len(value) <= MAX_COPY_BYTES
        source = topic.removesuffix(".dlq")
        letter = letter_of(ConsumerRecord(topic, 0, 0, 0, 0, key, value, None, 0, 0, headers), source)
        assert letter.source == Place(source, 0, 0), letter


class _Letters(DeadLetters):
    """Remembers why."""

    refusal = ""

    async def send(self, record: ConsumerRecord, poison: Poison) -> None:
        if isinstance(poison.error, MemoryError):
            raise poison.error  # not the record's fault
        await super().send(record, poison)
        self.refusal = f"{type(poison.error).__qualname__}: {poison.error}"


class _Store:
    """Stands in for the facts' store: makes the arguments of its calls."""

    async def write(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            for argument in (keys.item(fact.item_id), keys.stock(fact.item_id), fact.location):
                argument.encode()
            assert 0 <= fact.timestamp_ms < 1 << 63


class _OrdersStore(OrdersStore):
    """Makes the arguments of its calls, and sends none."""

    def __init__(self) -> None:
        self._user_ttl_s = 1

    async def write(self, records: Sequence[OrderRecord]) -> None:
        for record in records:
            hiredis.pack_command((*self._call(record), *chain.from_iterable(self._listing(record, b""))))


class _Window:
    """Stands in for the window of acknowledgements."""

    def done(self, partition: Partition, offset: int) -> None: ...


class _Wire:
    """Stands in for the worker's sockets: what it sends, the other side must be able to read."""

    def __init__(self) -> None:
        self.frames: list[bytes] | None = None
        self.refusal = ""

    def send(self, identity: bytes, message: ToAgent) -> bool:  # noqa: ARG002 - the sockets' signature
        to_agent_decoder.decode(to_agent_encoder.encode(message))
        if isinstance(message, Refused):
            self.refusal = message.reason
        return True

    def question(self) -> tuple[list[bytes], list[bytes]] | None:
        return ([b"asker"], self.frames) if self.frames is not None else None

    def answer(self, address: list[bytes], payload: bytes) -> None:  # noqa: ARG002 - the sockets' signature
        reply = control_reply_decoder.decode(payload)
        if isinstance(reply, Refused):
            self.refusal = reply.reason


class ProductTarget:
    """The product around one input."""

    def __init__(self) -> None:
        self._letters = _Letters(cast(Any, _Producer()), PREFIX, SOURCES)
        self._decoders = customer_decoders(PREFIX)
        self._facts = Facts(cast(Any, _Store()), cast(Any, _OrdersStore()), self._letters, PREFIX)
        self._wire = _Wire()
        self._server = WorkerServer(lambda: (), listen="inproc://fuzzed")
        self._server._sockets.close()
        self._server._sockets = self._server._operations._sockets = cast(Any, self._wire)
        self._server._epoch = "e1"  # of the examples

    def __call__(self, data: bytes) -> Outcome:
        one = unpack(data)
        match one.route:
            case Route.CLICKSTREAM | Route.PURCHASES:
                return Outcome(one.route, self._customer(one.record(TOPICS[one.route])))
            case Route.CATALOG | Route.INVENTORY | Route.ORDERS:
                return Outcome(one.route, self._fact(one.record(TOPICS[one.route])))
            case Route.DEAD_LETTERS:
                return Outcome(one.route, _letter(one))
            case Route.TO_WORKER | Route.CONTROL:
                return Outcome(one.route, self._worker(one))
            case Route.TO_AGENT:
                return Outcome(one.route, _agent(one.frames))

    def _customer(self, record: ConsumerRecord) -> str:
        event = self._decoders[record.topic](record)
        if isinstance(event, Poison):
            return self._refused(self._letters.send(record, event))
        batch = EventBatch()
        group = batch.add(event, record.timestamp)
        _encode((group.changes, group.ids, looked_at(group.newest), event.source, event.id))
        for text in (keys.user(group.user), group.session or "", event.data.visitor_id or ""):
            text.encode()
        return ""

    def _fact(self, record: ConsumerRecord) -> str:
        chunk = Chunk(Partition(record.topic, 0), (record,), cast(Any, _Window()))
        return self._refused(self._facts.handle((chunk,)))

    def _refused(self, work: Coroutine[Any, Any, None]) -> str:
        self._letters.refusal = ""
        _finish(work)
        return self._letters.refusal

    def _worker(self, one: Input) -> str:
        self._wire.refusal, self._wire.frames = "", one.frames or [b""]
        self._server._clients.clear()
        if one.route is Route.CONTROL:
            self._server._operations.answer()
        else:
            self._server._handle(b"fuzzer", one.frames)
        return self._wire.refusal


def _agent(frames: list[bytes]) -> str:
    client = WorkerClient(("ipc://fuzzed",), "recommender", on_replies=lambda *_: None)
    link = _Link(0, "ipc://fuzzed", cast(Any, None), cast(Any, None), 0.0)
    client._handle(link, frames)
    return link.refused if link.refused.startswith(OF_ITS_OWN) else ""  # else the worker said so: a good message


def _letter(one: Input) -> str:
    """Read it as a dead letter, and its value as an entry of the log of retries."""
    letter_of(one.record(f"{TOPICS[Route.PURCHASES]}.dlq"), TOPICS[Route.PURCHASES])
    try:
        Place.parse((one.value or b"").decode())
    except ValueError as error:
        return str(error).partition(":")[0]
    return ""


def _finish(work: Coroutine[Any, Any, None]) -> None:
    """Run what waits for nothing."""
    try:
        work.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits for something")
