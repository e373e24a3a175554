"""Turns counters into the screen's view, once per refresh. Rates are of the last seconds."""

import asyncio
import contextlib
import time
from collections import Counter, deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple
from zoneinfo import ZoneInfo

from footfall.demo.customers import Customers
from footfall.demo.exchanges import SupportView
from footfall.demo.replies import Replies
from footfall.demo.screen import View
from footfall.demo.services import Services
from footfall.ledger import Latency, percentiles
from footfall.ledger_reader import LedgerReader
from footfall.replay.runner import Progress

if TYPE_CHECKING:
    from footfall.datasets import Dataset
    from schemas.control import WorkerStats

WINDOW_S = 5.0
CARDS_S = 0.4
ASK_S = 1.0
HISTORY = 120


class _Sample(NamedTuple):
    at_s: float
    sent: int
    results: int


async def pause(seconds: float, stopping: asyncio.Event) -> None:
    """Sleep, or return early when `stopping` is set."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await stopping.wait()


class Sampler:
    """`follow_customers` and `ask` ask the others; `view` puts together what is known, and costs no round trip."""

    def __init__(
        self, dataset: "Dataset", progress: Progress, reader: LedgerReader, services: Services, customers: Customers,
        replies: Replies, *, speed: float, wanted: int | None, started_s: float, phase: str,
    ) -> None:
        self._dataset = dataset
        self._zone = ZoneInfo(dataset.timezone)
        self._progress = progress
        self._reader = reader
        self._services = services
        self._customers = customers
        self._replies = replies
        self._speed = speed
        self._wanted = wanted
        self._started_s = started_s
        self.phase = phase
        self.note = ""  # about support, besides what is known of who answers
        self.first_result_s: float | None = None
        self._samples: deque[_Sample] = deque()
        self._latency_seen: Counter[int] = Counter()
        self._latencies: deque[Counter[int]] = deque(maxlen=int(WINDOW_S))
        self._p99: deque[float] = deque(maxlen=HISTORY)
        self._stats: list[WorkerStats] = []
        self._lag = 0
        # a flag and not a cancellation: Python 3.11's asyncio.wait_for, inside redis-py, may swallow one
        self.stopping = asyncio.Event()

    async def follow_customers(self) -> None:
        """Keep the cards fresh, until `stopping` is set."""
        while not self.stopping.is_set():
            await self._customers.refresh()
            await pause(CARDS_S, self.stopping)

    async def ask(self) -> None:
        """Ask the broker and the worker how they are, until `stopping` is set."""
        while not self.stopping.is_set():
            self._lag = await self._reader.read_commits()
            stats = await self._services.worker_stats()
            self._stats = ([*self._stats, stats] if stats else self._stats)[-int(WINDOW_S) :]
            self._take_latencies()
            await pause(ASK_S, self.stopping)

    def view(self) -> View:
        """What is known now."""
        ledger, now_s = self._reader.ledger, time.monotonic()
        if self.first_result_s is None and ledger.results:
            self.first_result_s = now_s
        self._samples.append(_Sample(now_s, self._progress.sent, ledger.results))
        while now_s - self._samples[0].at_s > WINDOW_S:
            self._samples.popleft()
        first = self._samples[0]
        seconds = max(now_s - first.at_s, 0.2)
        mean_batch, busy = self._worker()
        return View(
            dataset=self._dataset.name, provenance=self._dataset.provenance, phase=self.phase,
            simulated_at=self._simulated_at(), speed=self._speed, elapsed_s=now_s - self._started_s,
            sent=self._progress.sent, wanted=self._wanted,
            events_per_s=(self._progress.sent - first.sent) / seconds,
            results_per_s=(ledger.results - first.results) / seconds,
            latency=self._latency(), latency_history=tuple(self._p99), mean_batch_size=mean_batch, busy_share=busy,
            lag=self._lag, fallback_share=ledger.fallback_share, dead_letters=ledger.dead_letters,
            rates=self._progress.scores.rates(), cards=self._customers.cards,
            support=self._support(),
        )

    def _support(self) -> SupportView | None:
        replies, support = self._replies, self._services.support
        if not replies.messages and support.answers == "never":
            return None
        note = self.note or support.note
        return SupportView(replies.messages, replies.messages - replies.outstanding, note, replies.latest)

    def _take_latencies(self) -> None:
        now = Counter(self._reader.ledger.latency_counts)
        fresh = now - self._latency_seen
        self._latency_seen = now
        self._latencies.append(fresh)
        if fresh:
            self._p99.append(percentiles(fresh).p99)

    def _latency(self) -> Latency:
        recent: Counter[int] = Counter()
        for each in self._latencies:
            recent.update(each)
        return percentiles(recent)

    def _worker(self) -> tuple[float | None, float | None]:
        """Mean batch size and busy share of the last seconds, from differences of what the worker counts."""
        if not self._stats:
            return None, None
        first, last = self._stats[0], self._stats[-1]
        batches, seconds = last.batches - first.batches, last.uptime_s - first.uptime_s
        if batches <= 0 or seconds <= 0 or first.epoch != last.epoch:
            return (last.mean_batch_size or None), last.busy_share
        busy_s = last.busy_share * last.uptime_s - first.busy_share * first.uptime_s
        return (last.requests - first.requests) / batches, min(1.0, max(0.0, busy_s / seconds))

    def _simulated_at(self) -> datetime | None:
        now_ms = self._progress.now_ms
        return None if now_ms is None else datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(self._zone)
