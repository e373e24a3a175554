"""One agent process, real inside, whose every edge is a gate: it goes on only when it is told what the world answered.

So a process is a function of what it was told, in order: whoever explores schedules may ask again, and two that were
told different things are one case as soon as their portraits are equal. Knows no other process, and no Redis or Kafka.
"""

import asyncio
import contextlib
import itertools
import re
from collections.abc import AsyncGenerator, Callable, Collection, Hashable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import msgspec
from aiokafka import ConsumerRecord
from msgspec import Raw

from agents import recommend, results
from agents.ack_window import AckWindow, Partition
from agents.answers import Answers
from agents.coalescer import Coalescer, Held, Work
from agents.dead_letters import DeadLetters
from agents.fallback import Fallback
from agents.publisher import Headers, OnDelivered, Publisher
from agents.recommend import Recommend
from agents.state.store import Applied, Debt, StoredResult, UserChanges, UserStore
from agents.transport.consumer import Chunk
from agents.transport.intake import chunks
from schemas.inference import Failure, ModelInfo, RecommendResult, Reply
from schemas.results import Reason, RecommendedItem
from tests.interleavings.portrait import Portrait

TOPIC = "retail.recommendations.v1"
RESULT_ID = re.compile(results._process.encode() + rb"[0-9a-f]{12}")
CANDIDATES = (RecommendedItem("x", 0.5, Reason("related", ("y",))),)
TOO_LATE_S = recommend.BUDGET_S + 0.5

Step = tuple[Any, ...]  # the name of one of the methods under "what it may be told", and its arguments


class Call(NamedTuple):
    """What a process asks of Redis: `kind` is a method of `twins.Redis`; `each` are the arguments of one pipeline.

    `nth`: among equal calls that are open at once.
    """

    kind: str
    each: tuple[Any, ...]
    nth: int = 0


class Sent(NamedTuple):
    """A record that waits for Kafka."""

    topic: str
    value: bytes
    headers: tuple[tuple[str, bytes], ...]


class Outside(NamedTuple):
    """What the world sees of a process. `acked`: what it would commit now."""

    calls: tuple[Call, ...]
    requests: int
    sends: tuple[Sent, ...]
    acked: Mapping[Partition, int]
    failure: str
    asked_in_vain: bool
    may_repay: bool  # owes somebody, and has nothing else to do
    may_inherit: bool  # has not asked what the owner before it owed


class _Loop(asyncio.BaseEventLoop):
    """Turns until nothing moves, on a clock of its own. There are no sockets."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._selector = SimpleNamespace(select=lambda timeout_s: ())

    def time(self) -> float:
        return self.now_s

    def _process_events(self, events: Sequence[object]) -> None:
        pass

    def settle(self) -> None:
        while True:
            self.stop()  # after one turn
            self.run_forever()
            if not self._ready:  # type: ignore[attr-defined]
                return


class _Store:
    """`UserStore`'s methods; what they ask is open until it is answered."""

    def __init__(self, name: Callable[[bytes], bytes]) -> None:
        self.open: dict[Call, asyncio.Future[Any]] = {}
        self._name = name

    async def apply(self, batch: Sequence[UserChanges]) -> list[Applied]:
        users = [msgspec.structs.replace(one, changes=tuple(one.changes)) for one in batch]
        return await self._ask(Call("apply", tuple(users)))

    async def store_results(self, batch: Sequence[StoredResult]) -> list[bool]:
        named = [msgspec.structs.replace(one, data=self._name(one.data)) for one in batch]
        return await self._ask(Call("finish", tuple(named)))

    async def results_of(self, users: Sequence[str]) -> list[bytes | None]:
        return await self._ask(Call("read", tuple(users)))

    async def note_debts(self, debts: Mapping[str, Debt], over: Mapping[str, Partition]) -> None:
        forgotten = [(user, partition, None) for user, partition in over.items()]
        noted = [(user, debt.partition, debt) for user, debt in debts.items()]
        await self._ask(Call("note", (*forgotten, *noted)))

    async def debts_of(self, partitions: Collection[Partition]) -> dict[str, Debt]:
        return dict(itertools.chain(*await self._ask(Call("owed", tuple(sorted(partitions))))))

    async def _ask(self, call: Call) -> list[Any]:
        if not call.each:
            return []
        while call in self.open:
            call = call._replace(nth=call.nth + 1)
        answered = self.open[call] = asyncio.get_running_loop().create_future()
        return list(await answered)


class _Outbox:
    """`Publisher`'s methods; records wait in order until they are delivered."""

    def __init__(self, name: Callable[[bytes], bytes]) -> None:
        self.waiting: list[tuple[Sent, OnDelivered]] = []
        self._name = name

    async def send(
        self, topic: str, key: bytes | None, value: bytes | None, headers: Headers, on_delivered: OnDelivered
    ) -> None:
        self.waiting.append((Sent(topic, self._name(value or b""), tuple(headers)), on_delivered))

    deliver = Publisher.deliver


class _Worker:
    """Keeps requests until they are answered."""

    away_s, spare = 0.0, recommend.REPAY_USERS

    def __init__(self, on_submit: Callable[[int], None]) -> None:
        self.requests: list[int] = []
        self._on_submit = on_submit

    def submit(self, request_id: int, body: tuple[int, Raw], budget_ms: int) -> None:
        self.requests.append(request_id)
        self._on_submit(request_id)

    def cancel(self, ids: Sequence[int]) -> None:
        self.requests = [one for one in self.requests if one not in ids]


class _Watched(Coalescer):
    """Shows each work to someone before it is merged."""

    def __init__(self, look: Callable[[Work], None]) -> None:
        super().__init__()
        self._look = look

    def offer(self, work: Work) -> Work | None:
        self._look(work)
        return super().offer(work)


class Process:
    """The parts as agents/app.py wires them. `name` also begins the ids of its results."""

    make_answers: type[Answers] = Answers
    make_recommend: type[Recommend] = Recommend

    def __init__(self, name: str, log: Mapping[Partition, Sequence[ConsumerRecord]]) -> None:
        self._prefix, self._log = name, log
        self._names: dict[bytes, bytes] = {}
        self._loop = _Loop()
        self._store, self._outbox, self._worker = _Store(self._name), _Outbox(self._name), _Worker(self._submitted)
        self._queue = asyncio.Queue[Chunk]()
        self._windows = [AckWindow()]
        self._applied: Sequence[Applied] = ()  # by the latest answer
        self._adds_nothing: dict[tuple[int, Partition, int], bool] = {}  # by epoch and offset
        self._asked_in_vain, self._failure = False, ""
        publisher, store = cast("Publisher", self._outbox), cast("UserStore", self._store)
        dead_letters, self._fallback = DeadLetters(publisher, "retail", recommend.TOPICS), Fallback()
        self._answers = self.make_answers(
            store, publisher, dead_letters, self._fallback, TOPIC, on_done=lambda work: self._recommend.on_done(work),
            restart=lambda work: self._recommend.restart(work), wall_ms=lambda: 0,
        )
        self._recommend = self.make_recommend(
            store, self._worker, self._answers, dead_letters, self._fallback, "retail",
            window=lambda: self._windows[-1], clock=self._loop.time,
        )
        self._recommend.coalescer = _Watched(self._offered)
        self._recommend.on_model(ModelInfo("recommender", "v1", ("hit",)))
        running = (self._intake(), self._answers.run(), self._recommend.watch_deadlines(), self._recommend.repay())
        self._tasks = [self._loop.create_task(one) for one in running]
        self._loop.settle()

    async def _intake(self) -> None:
        stream = SimpleNamespace(channel=SimpleNamespace(queue=self._queue))
        async with contextlib.aclosing(cast("AsyncGenerator[list[Chunk], None]", chunks(stream))) as lists:
            async for taken in lists:
                await self._recommend.handle(taken)
                del taken  # else the portrait shows it

    def told(self, step: Step) -> None:
        """Go on until everything waits for the world again."""
        kind, *arguments = step
        try:
            getattr(self, kind)(*arguments)
            self._loop.settle()
            for task in self._tasks:
                if task.done():
                    task.result()
        except Exception as failure:  # noqa: BLE001 - the search tells of it, with the schedule
            self._failure = repr(failure)

    # -- what it may be told

    def assign(self, starts: Sequence[tuple[Partition, int]]) -> None:
        self._windows.append(AckWindow(dict(starts)))

    def take(self, partition: Partition, first: int, end: int) -> None:
        window = self._windows[-1]
        window.deliver(partition, range(first, end))
        self._queue.put_nowait(Chunk(partition, self._log[partition][first:end], window))

    def answer(self, call: Call, replies: Sequence[Any]) -> None:
        if call.kind == "apply":
            replies = self._applied = [
                msgspec.structs.replace(applied, state=Raw(applied.state)) for applied in replies
            ]
        self._store.open.pop(call).set_result(replies)

    def reply(self) -> None:
        self._replied(RecommendResult.of(self._worker.requests[0], CANDIDATES))

    def fail(self) -> None:
        self._replied(Failure(self._worker.requests[0], "too odd"))

    def wait_too_long(self) -> None:
        self._loop.now_s += TOO_LATE_S

    def pause(self) -> None:
        self._loop.now_s += recommend.REPAY_S

    def delivered(self) -> None:
        _, on_delivered = self._outbox.waiting.pop(0)
        on_delivered(None)

    def _replied(self, reply: Reply) -> None:
        del self._worker.requests[0]
        self._recommend.on_replies([reply], "v1")

    # -- what is seen of it

    def outside(self) -> Outside:
        return Outside(
            tuple(self._store.open), len(self._worker.requests), tuple([sent for sent, _ in self._outbox.waiting]),
            self._windows[-1].positions(), self._failure, self._asked_in_vain,
            may_repay=self._is_idle and bool(len(self._fallback)),
            may_inherit=self._is_idle and self._recommend._inherited_in is not self._windows[-1],
        )

    @property
    def _is_idle(self) -> bool:
        return not len(self._recommend.coalescer) and not self._store.open

    def portrait(self) -> Hashable:
        requests = self._worker.requests
        waiting = [(one in requests, work) for one, work in self._recommend._waiting.items()]
        by_hand = (
            self, self._recommend, *self._recommend._decoders.values(), self._queue, self._store, self._outbox,
            self._worker, self._answers._dead_letters,
        )
        return Portrait(by_hand, self._name).of((
            self._prefix, len(self._names), self._loop.now_s, self._failure, self._asked_in_vain,
            sorted(self._adds_nothing.items()), self._windows, self._recommend.coalescer, waiting, len(requests),
            self._recommend._held, self._recommend._repaying,
            self._recommend._inherited_in, self._answers, list(self._queue._queue),  # type: ignore[attr-defined]
            self._store.open, self._outbox.waiting, [task.get_coro() for task in self._tasks],
        ))

    def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._loop.settle()
        self._loop.close()

    def _name(self, data: bytes) -> bytes:
        """Call results by their number in this process, so that the same schedule gives the same bytes."""
        return RESULT_ID.sub(self._name_of, data)

    def _name_of(self, found: re.Match[bytes]) -> bytes:
        return self._names.setdefault(found[0], f"{self._prefix}{len(self._names)}".encode())

    def _offered(self, work: Work) -> None:
        for applied in self._applied:
            if applied.state is work.state:
                adds_nothing = applied.new_events == 0 and applied.version == applied.result_version
                for held in work.held:
                    self._adds_nothing[self._place(held)] = adds_nothing

    def _submitted(self, request_id: int) -> None:
        known = [self._adds_nothing[self._place(held)] for held in self._recommend._waiting[request_id].held]
        self._asked_in_vain |= bool(known) and all(known)

    def _place(self, held: Held) -> tuple[int, Partition, int]:
        return self._windows.index(held.window), held.partition, held.record.offset
