"""Serves a checkpoint: user states in, at most 64 scored and explained items per user out.

`collate` decodes and pads on the CPU, `forward` runs on the device, `split` words the answers. What happens in between
is `scoring`'s, how it runs there `serving`'s and `device`'s. Unknown items of a history are skipped: a catalogue grows
between trainings.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import Raw

from model_core.execution import Output
from model_core.recommender import checkpoint as checkpoints
from model_core.recommender.checkpoint import Checkpoint
from model_core.recommender.features import DAY_MS, EVENT_CODES, HALF_LIVES_DAYS, MAX_COUNTERS, MAX_TOKENS, gap_bucket
from model_core.recommender.index import IndexMissingError
from model_core.recommender.purchase_log import Float32s, Int64s
from model_core.recommender.scoring import Batch, Best
from model_core.recommender.serving import Precision, Retrieval, prepare
from model_core.recommender.wording import Wording
from model_core.runner import Batching, CheckpointError, InvalidInput
from schemas.inference import RecommendRequest, RecommendResult, UserState, history_lines, user_state_decoder

MAX_BATCH = {"cpu": 64, "cuda": 256}  # on a CPU a larger batch leaves the cache: 1.8 -> 2.8 ms per user
LENGTHS = (1, 16, 32, 64, 96, MAX_TOKENS)  # histories are padded to the next of these: few shapes to warm
GRAPH_USERS = (1, 4, 16, 64, 128, 256)  # on a GPU batches are padded to the next of these
MAX_TIME_MS = 2.0**53  # above that, the numbers of the cache are no whole ones
HASH_SUFFIX = 17  # ":" and 16 hex digits at the end of a history member


class RecommenderRunner:
    """`model_core.runner.ModelRunner` for the recommender. `notes`: how it is served here, for people."""

    name = "recommender"
    takes = RecommendRequest

    def __init__(
        self,
        checkpoint: Checkpoint,
        device: str = "cpu",
        *,
        retrieval: Retrieval = "auto",
        precision: Precision = "auto",
    ) -> None:
        """See `serving.prepare`, and what it raises."""
        self.description = checkpoint.description
        self.version = checkpoint.version
        self.popular = checkpoint.description.popular
        self.device = torch.device(device)
        self.batching = Batching(MAX_BATCH.get(self.device.type, MAX_BATCH["cpu"]), LENGTHS)
        self._item_ids = checkpoint.description.item_ids
        self._wording = Wording(self._item_ids)
        self._start = len(self._item_ids)
        self._codes = {item_id: code for code, item_id in enumerate(self._item_ids)}
        self._model = checkpoint.model
        serving = prepare(
            checkpoint.model, self.device, retrieval=retrieval, precision=precision,
            examples=(self._collated(requests) for requests in self.example_batches() if len(requests) > 1),
            buckets=(Batch.largest(users, length) for length in LENGTHS for users in GRAPH_USERS),
        )  # fmt: skip
        self._retrieval, self._precision = retrieval, precision
        self._execution, self.scorer = serving.execution, serving.scorer
        self.recall, self.notes = serving.recall, serving.notes

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", *, retrieval: Retrieval = "auto", precision: Precision = "auto"
    ) -> "RecommenderRunner":
        """Read a checkpoint onto a device.

        Raises `checkpoint.CheckpointError` when the folder does not hold one, and what `serving.prepare` raises.
        """
        return cls(checkpoints.load(folder), device, retrieval=retrieval, precision=precision)

    def successor(self, folder: Path, sha256: str = "") -> "RecommenderRunner":
        """As `model_core.runner.Reloadable` says."""
        checkpoint = checkpoints.load(folder, sha256)
        try:
            return RecommenderRunner(
                checkpoint, str(self.device), retrieval=self._retrieval, precision=self._precision
            )
        except IndexMissingError as error:  # as where its catalogue is larger
            raise CheckpointError(str(error)) from error

    def tokens(self, request: RecommendRequest) -> int:
        """The lines of the user's history, as the head of the packed state says."""
        return min(history_lines(request.state), MAX_TOKENS)

    def collate(self, requests: Sequence[RecommendRequest]) -> Batch:
        """Decode and pad.

        Raises InvalidInput when a user's state is not what `schemas.inference.UserState` says.
        """
        return self._execution.stage(self._collated(requests))

    def _collated(self, requests: Sequence[RecommendRequest]) -> Batch:
        states = [_decode(request.state) for request in requests]
        now_ms = np.array([request.now_ms for request in requests])
        item, event, time_ms, length = self._lines([state.history[: 2 * MAX_TOKENS] for state in states])
        width = next(width for width in LENGTHS if width >= length.max())
        filled = np.arange(width) < length[:, None]  # (B, T)
        padded = [np.full(filled.shape, value) for value in (self._start, EVENT_CODES["purchase"], 0)]
        for column, values in zip(padded, (item, event, time_ms), strict=True):
            column[filled] = values
        gap = gap_bucket(np.diff(padded[2], axis=1, prepend=padded[2][:, :1]))
        last = np.maximum(length - 1, 0)
        age_ms = np.where(length > 0, now_ms - padded[2][np.arange(len(last)), last], 0)
        counter_user, counter_item, counters = self._counters(states, now_ms)
        return Batch(
            item=torch.from_numpy(padded[0]),
            event=torch.from_numpy(padded[1]),
            gap=torch.from_numpy(np.where(filled, gap, 0)),
            last=torch.from_numpy(last),
            now_gap=torch.from_numpy(gap_bucket(age_ms)),
            counter_user=torch.from_numpy(counter_user),
            counter_item=torch.from_numpy(counter_item),
            counters=torch.from_numpy(counters),
        )

    def _lines(self, histories: Sequence[Sequence[str]]) -> tuple[Int64s, Int64s, Int64s, Int64s]:
        """Item code, event code and time of the known lines, oldest first, one user after the other; lines per user."""
        code, kind = self._codes.get, EVENT_CODES.get
        items: list[int] = []
        events: list[int] = []
        times: list[str] = []
        for history in histories:
            if len(history) % 2:
                raise InvalidInput("a history line is without a time")
            members = [member.partition(":") for member in history[-2::-2]]
            items += [code(rest[:-HASH_SUFFIX], -1) for _, _, rest in members]
            events += [kind(name, -1) for name, _, _ in members]
            times += history[::-2]
        try:
            time = np.array(list(map(float, times)))
        except ValueError:
            time = np.array([np.nan])
        if not (np.abs(time) < MAX_TIME_MS).all():
            raise InvalidInput("a history time is not a number of milliseconds")
        time_ms = time.astype(np.int64)
        item, event = np.array(items, np.int64), np.array(events, np.int64)
        user = np.repeat(np.arange(len(histories)), [len(history) // 2 for history in histories])
        known = (item >= 0) & (event >= 0)
        return item[known], event[known], time_ms[known], np.bincount(user[known], minlength=len(histories))

    def _counters(self, states: Sequence[UserState], now_ms: Int64s) -> tuple[Int64s, Int64s, Float32s]:
        """User, item code and counters decayed to now (R, K) of the counted items that are known."""
        k = len(HALF_LIVES_DAYS)
        for state in states:
            if len(state.counter_items) > MAX_COUNTERS:
                raise InvalidInput(f"{len(state.counter_items)} counters: agents keep at most {MAX_COUNTERS}")
            if len(state.counter_values) != 8 * (k + 1) * len(state.counter_items):
                raise InvalidInput(
                    f"{len(state.counter_items)} counters come with {len(state.counter_values)} bytes of values"
                )
        stored = np.frombuffer(b"".join([state.counter_values for state in states]), "<f8").reshape(-1, k + 1)
        if not np.isfinite(stored).all():
            raise InvalidInput("a counter is not a finite number")
        code = self._codes.get
        item = np.array([code(item, -1) for state in states for item in state.counter_items], np.int64)
        user = np.repeat(np.arange(len(states)), [len(state.counter_items) for state in states])
        stored, user, item = stored[item >= 0], user[item >= 0], item[item >= 0]
        days = np.maximum(now_ms[user, None] - stored[:, k:], 0) / DAY_MS
        # a refund may go below 0; nobody buys an item a million times
        decayed = stored[:, :k].clip(0, 1e6) * 0.5 ** (days / np.array(HALF_LIVES_DAYS))
        return user, item, decayed.astype(np.float32)

    def forward(self, batch: Batch) -> Output[Best]:
        """Score the whole vocabulary and keep the best 64 of each user."""
        return self._execution.run(batch)

    def split(self, requests: Sequence[RecommendRequest], output: Output[Best]) -> list[RecommendResult]:
        """One result per request, in their order."""
        return self._wording.results([request.id for request in requests], output.ready())

    def example_batches(self) -> Iterable[list[RecommendRequest]]:
        """Every padded length, with one user and with a full batch."""
        for length in LENGTHS:
            for users in (1, self.batching.room(length)):
                yield [self._example(number, length) for number in range(users)]

    def _example(self, number: int, length: int) -> RecommendRequest:
        item_ids = [self._item_ids[(number + n) % len(self._item_ids)] for n in range(length)]
        state = UserState(
            history=tuple(x for n, item in enumerate(item_ids) for x in (f"purchase:{item}:{n:016x}", str(DAY_MS - n))),
            counter_items=tuple(dict.fromkeys(item_ids)),
            counter_values=np.array([[1.0, 1.0, DAY_MS]] * len(set(item_ids)), "<f8").tobytes(),
            cart=(),
        )
        return RecommendRequest(id=number, budget_ms=1000, now_ms=2 * DAY_MS, state=Raw(msgspec.msgpack.encode(state)))


def _decode(state: Raw) -> UserState:
    try:
        return user_state_decoder.decode(state)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the user's state cannot be read: {error}") from None
