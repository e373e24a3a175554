"""Serves a checkpoint: user states in, at most 64 scored and explained items per user out.

`collate` decodes and pads on the CPU, `forward` runs on the device, `split` words the answers. The item table is
computed once at loading. Unknown items of a history are skipped: a catalogue grows between trainings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import torch
from msgspec import Raw
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from model_core.recommender import checkpoint as checkpoints
from model_core.recommender.checkpoint import Checkpoint
from model_core.recommender.features import DAY_MS, EVENT_CODES, HALF_LIVES_DAYS, MAX_TOKENS, gap_bucket
from model_core.recommender.purchase_log import Float32s, Int64s
from model_core.runner import Batching, InvalidInput
from schemas.inference import MAX_CANDIDATES, RecommendRequest, RecommendResult, UserState, user_state_decoder
from schemas.results import Reason, ReasonKind, RecommendedItem

TOP = MAX_CANDIDATES
MAX_BATCH = {"cpu": 64, "cuda": 256}  # on a CPU a larger batch leaves the cache: 1.8 -> 2.8 ms per user
LENGTHS = (1, 16, 32, 64, 96, MAX_TOKENS)  # histories are padded to the next of these: few shapes to warm
HASH_SUFFIX = 17  # ":" and 16 hex digits at the end of a history member
NEAR = 0.1  # the least cosine similarity of an item and its evidence: unrelated ones have about 0
KINDS: tuple[ReasonKind, ...] = ("repeat", "related", "popular")
REPEAT, RELATED, POPULAR = range(3)


@dataclass(frozen=True, slots=True, eq=False)
class RecommendBatch:
    """B users, T tokens (right-padded with the start item), R counters."""

    item: Tensor  # (B, T)
    event: Tensor  # (B, T)
    gap: Tensor  # (B, T)
    last: Tensor  # (B,) position of the newest event
    now_gap: Tensor  # (B,)
    counter_user: Tensor  # (R,)
    counter_item: Tensor  # (R,)
    counters: Tensor  # (R, K), decayed to the moment of asking


@dataclass(frozen=True, slots=True, eq=False)
class RecommendOutput:
    """The best items of each user, best first, (B, 64), and what speaks for them."""

    item: Tensor
    score: Tensor
    kind: Tensor  # (B, 64) index into KINDS
    evidence: Tensor  # (B, 64, 2) for `related`: items of the user's own, the nearer first; -1 where there is none


class RecommenderRunner:
    """`model_core.runner.ModelRunner` for the recommender."""

    name = "recommender"

    def __init__(self, checkpoint: Checkpoint, device: str = "cpu") -> None:
        self.description = checkpoint.description
        self.version = checkpoint.version
        self.popular = checkpoint.description.popular
        self.device = torch.device(device)
        self.batching = Batching(MAX_BATCH.get(self.device.type, MAX_BATCH["cpu"]), LENGTHS)
        self._item_ids = checkpoint.description.item_ids
        self._start = len(self._item_ids)
        self._codes = {item_id: code for code, item_id in enumerate(self._item_ids)}
        self._model = checkpoint.model.to(self.device).eval()
        with torch.inference_mode():
            self._table = self._model.item_table()  # (N + 1, D)
            self._directions = F.normalize(self._table, dim=1)
            self._prior = self._model.prior()  # (N,)
            self._average_item, self._average_prior = self._table[:-1].mean(0), self._prior.mean()

    @classmethod
    def load(cls, folder: Path, device: str = "cpu") -> "RecommenderRunner":
        """Read a checkpoint onto a device.

        Raises `checkpoint.CheckpointError` when the folder does not hold one.
        """
        return cls(checkpoints.load(folder), device)

    def successor(self, folder: Path, sha256: str = "") -> "RecommenderRunner":
        """As `model_core.runner.Reloadable` says."""
        return RecommenderRunner(checkpoints.load(folder, sha256), str(self.device))

    def tokens(self, request: RecommendRequest) -> int:
        """The lines of the user's history, as the head of the packed state says."""
        return min(_history_lines(memoryview(request.state)), MAX_TOKENS)

    def collate(self, requests: Sequence[RecommendRequest]) -> RecommendBatch:
        """Decode and pad.

        Raises InvalidInput when a user's state is not what `schemas.inference.UserState` says.
        """
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
        return RecommendBatch(
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
            time_ms = np.array([int(float(time)) for time in times], np.int64)
        except (ValueError, OverflowError):
            raise InvalidInput("a history time is not a number of milliseconds") from None
        item, event = np.array(items, np.int64), np.array(events, np.int64)
        user = np.repeat(np.arange(len(histories)), [len(history) // 2 for history in histories])
        known = (item >= 0) & (event >= 0)
        return item[known], event[known], time_ms[known], np.bincount(user[known], minlength=len(histories))

    def _counters(self, states: Sequence[UserState], now_ms: Int64s) -> tuple[Int64s, Int64s, Float32s]:
        """User, item code and counters decayed to now (R, K) of the counted items that are known."""
        k = len(HALF_LIVES_DAYS)
        for state in states:
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

    @torch.inference_mode()
    def forward(self, batch: RecommendBatch) -> RecommendOutput:
        """Score the whole vocabulary and keep the best 64 of each user."""
        model, to = self._model, self.device
        item, counter_user, counter_item = batch.item.to(to), batch.counter_user.to(to), batch.counter_item.to(to)
        hidden = model.encode(self._table, item, batch.event.to(to), batch.gap.to(to))
        users = torch.arange(len(item), device=to)
        query = model.query(hidden[users, batch.last.to(to)], batch.now_gap.to(to))  # (B, D)
        logits = F.linear(query, self._table[:-1], self._prior)  # (B, N)
        repeats = model.repeats(query, counter_user, counter_item, batch.counters.to(to))  # (R,)
        logits.index_put_((counter_user, counter_item), repeats, accumulate=True)
        best, top = logits.topk(min(TOP, logits.shape[1]))  # (B, 64)
        # the user's own counters say more for an item than its affinity above that of an average item does
        affinity = (self._table[top] @ query[:, :, None])[:, :, 0] + self._prior[top]
        average = query @ self._average_item + self._average_prior
        repeat = best - affinity > (affinity - average[:, None]).clamp(min=0)
        evidence = self._related(top, item)
        kind = torch.where(repeat, REPEAT, torch.where(evidence[:, :, 0] >= 0, RELATED, POPULAR))
        evidence.masked_fill_(repeat[:, :, None], -1)
        score = (best - logits.logsumexp(1, keepdim=True)).exp()
        return RecommendOutput(item=top.cpu(), score=score.cpu(), kind=kind.cpu(), evidence=evidence.cpu())

    def _related(self, top: Tensor, item: Tensor) -> Tensor:
        """For items (B, 64) the one or two nearest among a user's events (B, T), (B, 64, 2); -1 where none is near."""
        similarity = self._directions[top] @ self._directions[item].transpose(1, 2)  # (B, 64, T)
        own = (top[:, :, None] == item[:, None, :]) | (item == self._start)[:, None, :]
        first_near, first_at = similarity.masked_fill_(own, -1).max(2)
        first = item.gather(1, first_at)
        similarity.masked_fill_(item[:, None, :] == first[:, :, None], -1)  # the second is another item
        second_near, second_at = similarity.max(2)
        second = item.gather(1, second_at)
        return torch.stack([first.where(first_near > NEAR, -1), second.where(second_near > NEAR, -1)], 2)

    def split(self, requests: Sequence[RecommendRequest], output: RecommendOutput) -> list[RecommendResult]:
        """One result per request, in their order."""
        rows = zip(
            requests,
            output.item.tolist(),
            output.score.double().numpy().round(6).tolist(),
            output.kind.tolist(),
            output.evidence.tolist(),
            strict=True,
        )
        return [
            RecommendResult.of(request.id, [self._candidate(*of) for of in zip(*columns, strict=True)])
            for request, *columns in rows
        ]

    def _candidate(self, code: int, score: float, kind: int, evidence: Sequence[int]) -> RecommendedItem:
        ids = self._item_ids
        of = (code,) if kind == REPEAT else evidence
        return RecommendedItem(ids[code], score, Reason(KINDS[kind], tuple([ids[n] for n in of if n >= 0])))

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


def _history_lines(state: memoryview) -> int:
    """Half the length of the first array in a msgpack array; 1 where it does not begin so, which `collate` will say."""
    head = state[1:6].tobytes()
    if head[:1] == b"\xdc":  # array 16
        return int.from_bytes(head[1:3], "big") // 2
    return (head[0] & 0x0F) // 2 if head and head[0] >> 4 == 0x9 else 1


def _decode(state: Raw) -> UserState:
    try:
        return user_state_decoder.decode(state)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the user's state cannot be read: {error}") from None
