"""Serves an encoder with its head: texts in; a vector and the intents of each out, the likeliest first.

`collate` tokenises, hashes and pads on the CPU, `forward` runs encoder and head on the device.
"""

from collections.abc import Iterable, Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from model_core.encoder import head as heads
from model_core.encoder.embedding import TextEncoder
from model_core.encoder.features import MAX_CHARS, bags, chinese
from model_core.encoder.head import TrainedHead
from model_core.encoder.multilingual import Multilingual
from model_core.execution import Eager, Output
from model_core.runner import Batching, CheckpointError, InvalidInput, Service
from schemas.inference import EncodeRequest, EncodeResult

LENGTHS = (16, 32, 64, 128, 256)  # tokens that texts are padded to the next of
MAX_BATCH = {"cpu": 32, "cuda": 256}
MAX_PADDED = {"cpu": 512, "cuda": 32_768}  # tokens in a batch: on a CPU more take as long each, and somebody waits
LETTERS = 4  # of Latin script in a token, about
EXAMPLE = "Where is my order 4711? I placed it two weeks ago and nothing has arrived yet. "


class Batch(NamedTuple):
    """Texts of one padded length."""

    tokens: Tensor  # (B, T)
    filled: Tensor  # (B, T)
    others: Tensor  # (B, 0 or more) the part of the vectors from the encoder beside
    gram: Tensor  # as in `features.Bags`
    weight: Tensor
    start: Tensor
    chinese: Tensor  # (B,) how much of each text is


class Understood(NamedTuple):
    """What the device found out."""

    vector: Tensor  # (B, width)
    intent: Tensor  # (B, intents)
    probability: Tensor  # (B, intents), descending


class EncoderRunner:
    """`model_core.runner.ModelRunner` for texts. `notes`: what it is, for people."""

    name = "encoder"
    takes = EncodeRequest
    popular: tuple[str, ...] = ()

    def __init__(self, encoder: TextEncoder, head: TrainedHead) -> None:
        """Raises `CheckpointError` where the head does not fit the encoder."""
        description = head.description
        if description.embedding_width != encoder.width:
            raise CheckpointError(
                f"the head reads vectors of {description.embedding_width} numbers, the encoder makes {encoder.width}"
            )
        self.version = head.version
        self.description = description
        device = encoder.device.type
        lengths = [length for length in LENGTHS if length < encoder.max_tokens]
        self.batching = Batching(
            MAX_BATCH.get(device, MAX_BATCH["cpu"]), (*lengths, encoder.max_tokens),
            MAX_PADDED.get(device, MAX_PADDED["cpu"]), Service.EAGER,
        )  # fmt: skip
        self.notes = f"{len(description.intents)} intents, {encoder.name} of {encoder.width} numbers"
        self._encoder = encoder
        self._head = TrainedHead(head.model.to(encoder.device).eval().requires_grad_(False), description)
        self._execution = Eager(self._understand, encoder.device)

    @classmethod
    def load(
        cls, folder: Path, device: str = "cpu", *, encoder: str | Path | None = None,
        beside: Multilingual | None = None,
    ) -> "EncoderRunner":  # fmt: skip
        """Read a head and its encoder (a folder or an id; None for the one that comes as a package) onto a device.

        Raises `CheckpointError` when one of them cannot be read, or they do not belong together.
        """
        text_encoder = TextEncoder.load(encoder, device, beside)
        return cls(text_encoder, heads.load(folder, text_encoder.sha256))

    def successor(self, folder: Path, sha256: str = "") -> "EncoderRunner":
        """As `model_core.runner.Reloadable` says: another head for the same encoder, which both share."""
        return EncoderRunner(self._encoder, heads.load(folder, self._encoder.sha256, sha256))

    def tokens(self, request: EncodeRequest) -> int:
        """About as many as the tokenizer will find: one for each Chinese character, and for a few other letters."""
        text = request.text[:MAX_CHARS]
        wide = 0 if text.isascii() else (len(text.encode()) - len(text)) // 2  # Chinese has 3 bytes a character
        return min(2 + wide + -(-(len(text) - wide) // LETTERS), self._encoder.max_tokens)

    def collate(self, requests: Sequence[EncodeRequest]) -> Batch:
        """Tokenise, hash and pad.

        Raises InvalidInput when there is nothing in a text.
        """
        texts = [request.text for request in requests]
        if not all(text[:MAX_CHARS].strip() for text in texts):
            raise InvalidInput("the text is empty")
        tokens = self._encoder.tokenise(texts)
        padded = self._encoder.padded(tokens, self.batching.padded(max(map(len, tokens))))
        hashed = bags(texts, self.description.ngram_dimension)
        return Batch(*padded, self._encoder.others(texts), *map(torch.from_numpy, (*hashed, chinese(texts))))

    def forward(self, batch: Batch) -> Output[Understood]:
        """Encode, and weigh the intents."""
        return self._execution.run(batch)

    def split(self, requests: Sequence[EncodeRequest], output: Output[Understood]) -> list[EncodeResult]:
        """One result per request, in their order."""
        found = output.ready()
        vectors = found.vector.numpy().astype("<f4")
        intents = self.description.intents
        return [
            EncodeResult(
                request.id, vector.tobytes(),
                tuple((intents[code], chance) for code, chance in zip(codes, chances, strict=True)),
            )
            for request, vector, codes, chances in zip(
                requests, vectors, found.intent.tolist(), found.probability.tolist(), strict=True
            )
        ]  # fmt: skip

    def example_batches(self) -> Iterable[list[EncodeRequest]]:
        """Every padded length, with one text and with a full batch."""
        for length in self.batching.lengths:
            text = self._example(length)
            for texts in (1, self.batching.room(length)):
                yield [EncodeRequest(number, 1000, text) for number in range(texts)]

    def _example(self, length: int) -> str:
        """A text as long as it may be to be padded to this length, by its tokens and by their estimate."""
        words = (EXAMPLE * (1 + length // 8)).split()

        def fits(text: str) -> bool:
            estimate = self.tokens(EncodeRequest(0, 0, text))
            return max(estimate, len(self._encoder.tokenise([text])[0])) <= length

        texts = (" ".join(words[:n]) for n in range(1, len(words) + 1))
        return ("?", *takewhile(fits, texts))[-1]

    def _understand(self, batch: Batch) -> Understood:
        vector = self._encoder.vectors(batch.tokens, batch.filled, batch.others)
        probability = self._head.probabilities(vector, *batch[3:])
        best = probability.sort(descending=True)
        return Understood(vector, best.indices, best.values)
