"""Generates replies step by step, for requests that come and go at any time.

Requests that come in together become a *group*: their prompts are run through the model at once, and their cache is
theirs. A step either takes in who waits, as many as `PREFILL` tokens allow, so that nobody who shares the device waits
for all of them; or it writes one more token for one group, the groups in turn.

Two groups become one where their caches allow that (`_Causal.joinable`), and where it is cheaper to carry the padding
than to run another step. Otherwise requests that come one by one would each be a group, and stay one: while the device
is busy a place is free only when somebody has finished, so under load the groups do not grow by themselves (SmolLM2
on one core: 0.6 replies a second from groups of one, 2.2 from groups that join). Where caches cannot be put together
(sliding windows, recurrent states, sequence-to-sequence) each group keeps its own, which may be any that the
architecture has, and there are at most `GROUPS`: who comes then waits, and begins together.

Who is finished or dropped leaves the cache at once, and the columns that only they needed. Decoding is greedy: the same
requests in the same steps get the same replies. In float32 who shares a step makes no difference either; in bfloat16
it may, since sums of other shapes are rounded otherwise, and two tokens are often nearly as good.
"""

import inspect
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from model_core.replier.loading import LanguageModel
from model_core.runner import Batching, InvalidInput, Service
from schemas.inference import GenerateRequest, GenerateResult

MAX_BATCH = {"cpu": 16, "cuda": 64}
PREFILL = {"cpu": 256, "cuda": 16384}  # tokens of prompts in one step, with their padding; a longer prompt goes alone
GROUPS = 2  # more would be smaller, and a step costs nearly the same for one as for many
TRAFFIC = 3  # times that a step moves a cache: attention reads it, and it is copied to grow
# What a step costs besides the reading of the weights, in bytes that could be moved meanwhile: on a GPU, its launches.
STEP_BYTES = {"cpu": 0, "cuda": 2**31}
ALIBI = ("bloom",)  # takes no positions: distances follow from the mask


@dataclass(slots=True, eq=False)
class Row:
    """A request under way: its prompt, and what was written so far."""

    request: GenerateRequest
    prompt: list[int]
    written: list[int] = field(default_factory=list)

    def result(self, model: LanguageModel, *, complete: bool) -> GenerateResult:
        return GenerateResult(self.request.id, model.text(self.written), len(self.written), complete)


class ReplierRunner:
    """`model_core.runner.GeneratingRunner` for any `LanguageModel`. `notes`: how it is served here, for people."""

    name = "replier"
    takes = GenerateRequest
    popular: tuple[str, ...] = ()

    def __init__(self, model: LanguageModel) -> None:
        kind = model.device.type
        self.version = model.version
        # one queue for all lengths, so that nobody is overtaken: no batch is padded to a length of a list
        self.batching = Batching(MAX_BATCH.get(kind, MAX_BATCH["cpu"]), service=Service.CONTINUOUS)
        self._model = model
        self._prefill = PREFILL.get(kind, PREFILL["cpu"])
        parameters = list(model.model.parameters())
        self._step_bytes = sum(each.nbytes for each in parameters) + STEP_BYTES.get(kind, 0)
        self._waiting: deque[Row] = deque()
        self._groups: deque[_Group] = deque()  # in the order of their turns
        millions = sum(each.numel() for each in parameters) / 1e6
        numbers = str(model.model.dtype).removeprefix("torch.")
        self.notes = f"{type(model.model).__name__}, {millions:,.0f} million parameters, {numbers}"

    def tokens(self, request: GenerateRequest) -> int:
        """An estimate, without a tokenizer: four bytes a token, and a few for each message."""
        return sum(8 + len(content.encode(errors="replace")) // 4 for _, content in request.messages)

    def collate(self, requests: Sequence[GenerateRequest]) -> list[Row]:
        """Tokenize. Raises `InvalidInput` where a prompt, or a reply, would be too long for the model."""
        return [Row(request, self._encoded(request)) for request in requests]

    def _encoded(self, request: GenerateRequest) -> list[int]:
        if request.max_tokens < 1:
            raise InvalidInput(f"max_tokens is {request.max_tokens}: a reply has at least 1")
        prompt, room = self._model.prompts.encode(request.messages), self._model.room(request.max_tokens)
        if not 0 < len(prompt) <= room:
            raise InvalidInput(
                f"the prompt has {len(prompt)} tokens: beside a reply of {request.max_tokens} the model takes {room}"
            )
        return prompt

    @torch.inference_mode()
    def step(self, batch: list[Row] | None) -> list[tuple[GenerateRequest, GenerateResult]]:
        """Take a batch in, and the first of those who wait into the model; or write a token for the next group."""
        if not batch:
            rows = self._next_rows()
            return self._begin(rows) if rows else self._go_on()
        first = not self._waiting
        self._waiting += batch
        rows = self._next_rows()
        if not first or not rows:  # what may be run now is for others: if that failed, these would be said to have
            return []
        try:
            return self._begin(rows)
        except Exception:
            self._waiting.clear()
            raise

    @torch.inference_mode()
    def drop(self, requests: Sequence[GenerateRequest]) -> None:
        """As `model_core.runner.GeneratingRunner` says."""
        gone = {id(request) for request in requests}
        self._waiting = deque(row for row in self._waiting if id(row.request) not in gone)
        for group in list(self._groups):
            self._keep(group, [at for at, row in enumerate(group.rows) if id(row.request) not in gone])

    def example_batches(self) -> Iterable[list[GenerateRequest]]:
        """One request alone, and a few together."""
        text = "Where is my order 4411? It was to arrive on Monday, and the tracking page has not changed since. " * 3
        for size in (1, 4):
            lengths = [min(100 + 50 * at, self._model.context // 4) for at in range(size)]
            yield [GenerateRequest(at, 10_000, (("user", text[:n]),), 4) for at, n in enumerate(lengths)]

    def _next_rows(self) -> list[Row]:
        """Who of those that wait would begin together now."""
        rows: list[Row] = []
        longest = 0
        for row in self._waiting:
            longest = max(longest, len(row.prompt))
            if rows and (len(rows) + 1) * longest > self._prefill:
                break
            rows.append(row)
        if len(self._groups) < GROUPS or any(self._joinable(group, len(rows), longest) for group in self._groups):
            return rows
        return []

    def _joinable(self, group: "_Group", rows: int, width: int) -> bool:
        """Whether so many more may join a group, and move the padding for less than a step of their own would cost."""
        if not group.joinable():
            return False
        own = len(group.rows)
        columns = (own + rows) * max(width, group.mask.shape[1])
        padding = columns - own * group.mask.shape[1] - rows * width
        return bool(TRAFFIC * padding * group.column_bytes() <= self._step_bytes)

    def _begin(self, rows: list[Row]) -> list[tuple[GenerateRequest, GenerateResult]]:
        """Run the prompts of these, who waited longest."""
        group = (_Seq2Seq if self._model.is_encoder_decoder else _Causal)(self._model, rows)
        finished = self._take(group, group.begin())
        others = (other for other in self._groups if self._joinable(other, len(group.rows), group.mask.shape[1]))
        if group.rows:
            other = next(others, None)
            if other is None:
                self._groups.append(group)
            else:
                other.join(group)
        for _ in rows:
            self._waiting.popleft()
        return finished

    def _go_on(self) -> list[tuple[GenerateRequest, GenerateResult]]:
        if not self._groups:
            return []
        group = self._groups[0]
        self._groups.rotate(-1)
        return self._take(group, group.next())

    def _take(self, group: "_Group", tokens: list[int]) -> list[tuple[GenerateRequest, GenerateResult]]:
        """Note what was written. Returns who is finished by that, and no longer in the group."""
        finished, left = [], []
        for at, (row, token) in enumerate(zip(group.rows, tokens, strict=True)):
            ended = token in self._model.ends
            if not ended:
                row.written.append(token)
            if ended or len(row.written) == row.request.max_tokens:
                finished.append((row.request, row.result(self._model, complete=ended)))
            else:
                left.append(at)
        self._keep(group, left)
        return finished

    def _keep(self, group: "_Group", rows: list[int]) -> None:
        if not rows and group in self._groups:
            self._groups.remove(group)
        if rows and len(rows) < len(group.rows):
            group.keep(rows)
        group.rows = [group.rows[at] for at in rows]


class _Group(ABC):
    """Requests that take their steps together. Each method that runs the model returns a token for each."""

    def __init__(self, model: LanguageModel, rows: list[Row]) -> None:
        self.model, self.rows = model, rows
        self.cache: Any = None
        self.mask = torch.empty(0)  # where the prompts are, and of a decoder what it wrote (rows, columns)
        self.last = torch.empty(0)  # the newest tokens (rows, 1)

    @abstractmethod
    def begin(self) -> list[int]: ...

    @abstractmethod
    def next(self) -> list[int]: ...

    def keep(self, rows: list[int]) -> None:
        """Forget all but these, in the cache; `rows` are the runner's."""
        kept = torch.tensor(rows, device=self.model.device)
        self.cache.reorder_cache(kept)
        self.mask, self.last = self.mask[kept], self.last[kept]

    def joinable(self) -> bool:
        """Whether another group of this model may join at all."""
        return False

    def column_bytes(self) -> int:
        """Of one row's cache, for each of its tokens."""
        raise NotImplementedError

    def join(self, other: "_Group") -> None:
        raise NotImplementedError

    def _padded(self, *, left: bool) -> tuple[Tensor, Tensor]:
        """The prompts, and where they are (rows, longest)."""
        prompts = [row.prompt for row in self.rows]
        length = max(map(len, prompts))
        pads = [[self.model.pad] * (length - len(prompt)) for prompt in prompts]
        ids = [pad + prompt if left else prompt + pad for pad, prompt in zip(pads, prompts, strict=True)]
        filled = [[0] * len(pad) + [1] * len(prompt) for pad, prompt in zip(pads, prompts, strict=True)]
        mask = torch.tensor(filled if left else [each[::-1] for each in filled])
        return torch.tensor(ids).to(self.model.device), mask.to(self.model.device)

    def _best(self, logits: Tensor) -> list[int]:
        self.last = logits[:, -1].float().argmax(dim=-1, keepdim=True)
        tokens: list[int] = self.last[:, 0].tolist()
        return tokens


class _Causal(_Group):
    """A decoder's. All rows end in the same column, and `mask` says where each begins."""

    def begin(self) -> list[int]:
        ids, self.mask = self._padded(left=True)
        known = inspect.signature(self.model.model.forward).parameters
        self._positions = "position_ids" in known
        self._options = {"logits_to_keep": 1} if "logits_to_keep" in known else {}
        return self._run(ids)

    def next(self) -> list[int]:
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)
        return self._run(self.last)

    def _run(self, ids: Tensor) -> list[int]:
        options: dict[str, Any] = dict(self._options)
        if self._positions:
            positions = self.mask.cumsum(dim=1) - 1
            options["position_ids"] = positions[:, -ids.shape[1] :].clamp(min=0)
        output = self.model.model(
            input_ids=ids, attention_mask=self.mask, past_key_values=self.cache, use_cache=True, **options
        )
        self.cache = output.past_key_values
        return self._best(output.logits)

    def keep(self, rows: list[int]) -> None:
        super().keep(rows)
        if self.joinable():
            # of the newest tokens there is no column yet
            width = max(len(row.prompt) + len(row.written) - 1 for row in (self.rows[at] for at in rows))
            self.mask = self.mask[:, -width:]
            for layer in self.cache.layers:
                layer.keys, layer.values = layer.keys[:, :, -width:], layer.values[:, :, -width:]

    def joinable(self) -> bool:
        """Where a row's cache has a column for each token, and distances are not those of columns."""
        return (
            isinstance(self.cache, DynamicCache)
            and all(type(layer) is DynamicLayer for layer in self.cache.layers)
            and (self._positions or self.model.model.config.model_type in ALIBI)
        )

    def column_bytes(self) -> int:
        return sum(each[0, :, 0].nbytes for layer in self.cache.layers for each in (layer.keys, layer.values))

    def join(self, other: _Group) -> None:
        width = max(self.mask.shape[1], other.mask.shape[1])
        layers = [
            [_joined(ours, theirs, width) for ours, theirs in ((mine.keys, its.keys), (mine.values, its.values))]
            for mine, its in zip(self.cache.layers, other.cache.layers, strict=True)
        ]
        masks = [torch.nn.functional.pad(each, (width - each.shape[1], 0)) for each in (self.mask, other.mask)]
        # all that could fail is done
        for layer, (keys, values) in zip(self.cache.layers, layers, strict=True):
            layer.keys, layer.values = keys, values
        self.mask = torch.cat(masks)
        self.last = torch.cat([self.last, other.last])
        self.rows = self.rows + other.rows


class _Seq2Seq(_Group):
    """An encoder's and a decoder's. Replies begin in the same column, so groups stay apart."""

    def begin(self) -> list[int]:
        ids, self.mask = self._padded(left=False)
        begun = torch.full((len(ids), 1), self.model.start, device=self.model.device)
        output = self.model.model(input_ids=ids, attention_mask=self.mask, decoder_input_ids=begun, use_cache=True)
        self.seen, self.cache = output.encoder_last_hidden_state, output.past_key_values
        return self._best(output.logits)

    def next(self) -> list[int]:
        output = self.model.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=self.seen), attention_mask=self.mask,
            decoder_input_ids=self.last, past_key_values=self.cache, use_cache=True,
        )  # fmt: skip
        return self._best(output.logits)

    def keep(self, rows: list[int]) -> None:
        super().keep(rows)
        self.seen = self.seen[rows]


def _joined(ours: Tensor, theirs: Tensor, width: int) -> Tensor:
    """One below the other (rows, heads, columns, d), ending in the same column."""
    return torch.cat([torch.nn.functional.pad(each, (0, 0, width - each.shape[2], 0)) for each in (ours, theirs)])
