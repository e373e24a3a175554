"""A language model in memory, from a folder or by its Hugging Face id.

Any architecture that transformers itself has, causal or sequence-to-sequence. Weights and adapters are read from
safetensors only, and no code that comes with a model runs: chat templates do (`prompts`), in transformers' sandbox.
"""

import inspect
import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx
import torch
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError, safe_open
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer, GenerationConfig

from model_core.pretrained import first_line, quiet, sha256_of
from model_core.replier.prompts import Prompts
from model_core.runner import CheckpointError

Precision: TypeAlias = Literal["auto", "float32", "bfloat16"]

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
ADAPTER, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"
FILES = ("*.json", "*.txt", "*.jinja", "*.model", "model*.safetensors")  # of an id: no weights in other formats
UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack")
MAX_CONTEXT = 8192  # tokens, also where a model could take more: no reply needs them, and each holds memory
USUAL_CONTEXT = 2048  # where neither the model nor its tokenizer says one

log = logging.getLogger("footfall.worker")


@dataclass(frozen=True, slots=True, eq=False)
class LanguageModel:
    """A model with its tokenizer. `ends`: the tokens that end a reply; `context`: how many tokens it may see.

    `version`: the start of the SHA-256 of the weights' bytes, and of the adapter's, if any.
    """

    model: Any
    tokenizer: Any
    is_encoder_decoder: bool
    version: str
    device: torch.device
    prompts: Prompts
    ends: frozenset[int]
    pad: int
    start: int  # what a sequence-to-sequence model's reply begins with
    context: int

    def room(self, max_tokens: int) -> int:
        """How long a prompt may be, for so long a reply."""
        if max_tokens > self.context:
            return 0
        return self.context if self.is_encoder_decoder else self.context - max_tokens

    def text(self, tokens: Sequence[int]) -> str:
        """What these say."""
        decoded: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return decoded.strip()


def load(source: str | Path, device: str, adapter: Path | None = None, precision: Precision = "auto") -> LanguageModel:
    """Read a model onto a device: from a folder, or by its Hugging Face id, from the hub library's cache or its hub.

    `adapter`: a folder that peft saved a LoRA in; it is merged into the weights. `precision`: "auto" is bfloat16 where
    the device computes in it. Raises `CheckpointError`.
    """
    folder = _folder(source)
    weights = _weights(folder, source)
    files = [*weights, *(_adapter_files(adapter) if adapter else ())]
    version = sha256_of(files)[:12]
    place = torch.device(device)
    model, tokenizer = _read(folder, source, _dtype(precision, place))
    if adapter:
        model = _adapted(model, adapter)
    model = model.to(place).eval().requires_grad_(False)
    result = _described(model, tokenizer, version, place)
    log.info("replier: %s of %s, %s", type(model).__name__, source, str(model.dtype).removeprefix("torch."))
    return result


def _folder(source: str | Path) -> Path:
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(source, Path) or folder.is_absolute() or source.startswith((".", "~")):
        raise CheckpointError(f"{source} is no folder; give one that `save_pretrained` wrote, or a Hugging Face id")
    try:
        with quiet():
            return Path(snapshot_download(source, allow_patterns=list(FILES), ignore_patterns=["*/*"]))
    except HFValidationError as error:
        raise CheckpointError(f"{source!r} is neither a folder nor a Hugging Face id, as in owner/name") from error
    except HfHubHTTPError as error:
        raise CheckpointError(
            f"the hub does not give {source!r} ({type(error).__name__}): check the id, and HF_TOKEN where it is gated"
        ) from error
    except (OSError, httpx.HTTPError) as error:
        raise CheckpointError(
            f"there is no folder {source!r}, and as a Hugging Face id it is neither in the cache (HF_HOME) nor to be "
            f"had from the hub (HF_ENDPOINT, HF_HUB_OFFLINE): {first_line(error)}"
        ) from error


def _weights(folder: Path, source: str | Path) -> list[Path]:
    """The files of the weights, in the order of their names."""
    if (folder / ADAPTER_CONFIG).exists():  # transformers would go and read the model that it names
        raise CheckpointError(f"{source} holds an adapter: give the model it belongs to, and this as its adapter")
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if (folder / INDEX).is_file():
        try:
            names = sorted(set(json.loads((folder / INDEX).read_bytes())["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise CheckpointError(f"{folder / INDEX} cannot be read; copy the model again") from error
        missing = [name for name in names if not (folder / name).is_file()]
        if missing:
            raise CheckpointError(f"{source} is without {', '.join(missing)}: copy or download it in full")
        return [folder / name for name in names]
    others = sorted(path.name for path in folder.iterdir() if path.suffix in UNSAFE)
    if others:
        raise CheckpointError(
            f"{source} holds its weights as {others[0]}, a format that may run code when it is read. Only safetensors "
            "is: take a model that has it or, if you trust this one, load it with transformers and `save_pretrained` it"
        )
    raise CheckpointError(
        f"{source} holds no {WEIGHTS}; give a folder that `save_pretrained` wrote, or the id of a model in safetensors"
    )


def _adapter_files(adapter: Path) -> tuple[Path, Path]:
    for name in (ADAPTER_CONFIG, ADAPTER):
        if not (adapter / name).is_file():
            raise CheckpointError(f"{adapter} holds no {name}; give a folder that peft's `save_pretrained` wrote")
    return adapter / ADAPTER, adapter / ADAPTER_CONFIG  # in which, among others, the adapter's scale is


def _dtype(precision: Precision, device: torch.device) -> torch.dtype:
    if precision == "auto":
        return torch.bfloat16 if _computes_in_bfloat16(device) else torch.float32
    return {"float32": torch.float32, "bfloat16": torch.bfloat16}[precision]


def _computes_in_bfloat16(device: torch.device) -> bool:
    """Whether it has instructions for it; others are slower with it than with float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    told = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(told.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def _read(folder: Path, source: str | Path, dtype: torch.dtype) -> tuple[Any, Any]:
    given: dict[str, Any] = {"trust_remote_code": False, "local_files_only": True}
    try:
        config = AutoConfig.from_pretrained(folder, **given)
        auto: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, **given)
            model, told = auto.from_pretrained(
                folder, config=config, dtype=dtype, use_safetensors=True, output_loading_info=True, **given
            )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise CheckpointError(
            f"{source} is no model that transformers can generate text with: {first_line(error)}"
        ) from error
    if told["missing_keys"]:
        raise CheckpointError(
            f"{source} lacks {len(told['missing_keys'])} weights of a {type(model).__name__}, as "
            f"{min(told['missing_keys'])}: it was trained for something else, or not copied in full"
        )
    rows, tokens = model.get_input_embeddings().num_embeddings, max(tokenizer.get_vocab().values()) + 1
    if tokens > rows:  # and on a GPU a token that has no row ends the process
        raise CheckpointError(
            f"{source} has {rows} embeddings for {tokens} tokens: take the tokenizer that the model was trained with"
        )
    if "past_key_values" not in inspect.signature(model.forward).parameters:
        raise CheckpointError(
            f"{source} is a {type(model).__name__}, without a cache of keys and values; take a model with attention"
        )
    return model, tokenizer


def _adapted(model: Any, adapter: Path) -> Any:
    try:
        from peft import PeftModel, get_peft_model_state_dict  # noqa: PLC0415 - only who has an adapter needs it
    except ImportError as error:
        raise CheckpointError("an adapter needs peft: `pip install peft`") from error
    try:
        kind = json.loads((adapter / ADAPTER_CONFIG).read_bytes())["peft_type"]
        with safe_open(adapter / ADAPTER, "pt") as file:
            given = set(file.keys())
    except (ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(f"{adapter} is damaged ({first_line(error)}); copy it again") from error
    if kind != "LORA":
        raise CheckpointError(f"{adapter} is an adapter of type {kind}; only LORA can be merged into a model")
    of_another = f"{adapter} is an adapter of another model than {type(model).__name__} of this size"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # told below
            adapted = PeftModel.from_pretrained(model, str(adapter), torch_device="cpu")
        needed = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{of_another}: {first_line(error)}") from error
    wrong = needed - given | {name for name in given - needed if "lora_" in name}
    if wrong:
        raise CheckpointError(f"{of_another}: {min(wrong)} is in only one of the two")
    return adapted.merge_and_unload()


def _described(model: Any, tokenizer: Any, version: str, device: torch.device) -> LanguageModel:
    seq2seq: bool = model.config.is_encoder_decoder
    own = model.generation_config
    ends = {end for end in [*_several(own.eos_token_id), tokenizer.eos_token_id] if end is not None}
    if tokenizer.pad_token_id is None and tokenizer.eos_token_id is not None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.padding_side = "right" if seq2seq else "left"
    pad = tokenizer.pad_token_id
    pad = 0 if pad is None else pad  # it is masked anyway
    candidates = (own.decoder_start_token_id, getattr(model.config, "decoder_start_token_id", None), own.bos_token_id)
    start = next((each for each in candidates if each is not None), None)
    if seq2seq and start is None:
        raise CheckpointError("config.json does not say with what replies begin: set its decoder_start_token_id")
    # greedy and plain, whatever a model's authors like best
    config: Any = GenerationConfig
    model.generation_config = config(
        eos_token_id=sorted(ends) or None, pad_token_id=pad, decoder_start_token_id=start if seq2seq else None
    )
    prompts = Prompts(tokenizer, is_encoder_decoder=seq2seq)
    return LanguageModel(model, tokenizer, seq2seq, version, device, prompts, frozenset(ends), pad,
                         start or 0, _context(model, tokenizer))  # fmt: skip


def _context(model: Any, tokenizer: Any) -> int:
    config = model.config.get_text_config(decoder=True)
    names = ("max_position_embeddings", "n_positions", "seq_length")
    told = [length for name in names if isinstance(length := getattr(config, name, None), int) and length > 0]
    if 0 < tokenizer.model_max_length <= 1e9:  # above that it stands for "not known"
        told.append(tokenizer.model_max_length)
    return min([*told, MAX_CONTEXT]) if told else USUAL_CONTEXT


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
