"""Language models of a few thousand random weights, saved as real ones are, with a tokenizer that knows all bytes."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers as untyped_transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from model_core.replier.loading import LanguageModel
from schemas.inference import GenerateRequest

transformers: Any = untyped_transformers  # some of its classes are not typed

KINDS = ("llama", "qwen3", "bloom", "t5")
TEMPLATED = ("llama", "qwen3", "mistral")
SPECIAL = ["<pad>", "</s>", "<|im_start|>", "<|im_end|>"]
PAD, END, TURN, TURN_END = range(4)
VOCABULARY, EMBEDDINGS = 320, 328  # models are often saved with a few more
CONTEXT = 256
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LINES = ["Where is my order? It has not arrived.", "Your order was sent on Monday.", "我的订单在哪里？", "Thank you."]

_SIZES: dict[str, Any] = {
    "vocab_size": EMBEDDINGS, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "pad_token_id": PAD,
}  # fmt: skip
_LLAMA: dict[str, Any] = _SIZES | {
    "intermediate_size": 64, "num_key_value_heads": 2, "max_position_embeddings": CONTEXT, "bos_token_id": TURN,
}  # fmt: skip


def tokenizer(kind: str) -> Any:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY, special_tokens=SPECIAL, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    bpe.train_from_iterator(LINES, trainer)
    if kind in ("t5", "bart"):
        bpe.post_processor = processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", END)])
    ends = {"eos_token": "<|im_end|>"} if kind in TEMPLATED else {"eos_token": "</s>", "pad_token": "<pad>"}
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_object=bpe, additional_special_tokens=SPECIAL[2:], model_max_length=CONTEXT, **ends
    )
    if kind in TEMPLATED:
        wrapped.chat_template = CHATML
    return wrapped


def model(kind: str, **changes: Any) -> Any:
    torch.manual_seed(5)
    made: Any
    match kind:
        case "llama":
            made = transformers.LlamaForCausalLM(transformers.LlamaConfig(**_LLAMA | {"eos_token_id": 3} | changes))
        case "qwen3":
            sizes = _LLAMA | {"eos_token_id": [TURN_END, END], "head_dim": 8, "tie_word_embeddings": True}
            made = transformers.Qwen3ForCausalLM(transformers.Qwen3Config(**sizes | changes))
        case "mistral":  # whose cache has a window
            sizes = _LLAMA | {"eos_token_id": TURN_END, "sliding_window": 8}
            made = transformers.MistralForCausalLM(transformers.MistralConfig(**sizes | changes))
        case "bloom":
            made = transformers.BloomForCausalLM(
                transformers.BloomConfig(**_SIZES | {"eos_token_id": END, "bos_token_id": TURN} | changes)
            )
        case "t5":
            sizes = {"vocab_size": EMBEDDINGS, "d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4}
            ids = {"pad_token_id": PAD, "eos_token_id": END, "decoder_start_token_id": PAD}
            made = transformers.T5ForConditionalGeneration(transformers.T5Config(**sizes | ids | changes))
        case _:
            raise ValueError(kind)
    with torch.no_grad():  # as they are made, all tokens are nearly as likely, and the same one comes for ever
        for weight in made.parameters():
            if weight.ndim > 1:
                weight.normal_(0, {"t5": 0.5, "bloom": 1.0}.get(kind, 0.3))
    return made.eval()


def save(kind: str, folder: Path, **changes: Any) -> Path:
    model(kind, **changes).save_pretrained(folder)
    tokenizer(kind).save_pretrained(folder)
    return folder


def save_adapter(base: Any, folder: Path, targets: Sequence[str], rank: int = 4) -> Any:
    """Random LoRA weights for a model. Returns the model as peft runs it, not merged."""
    import peft

    torch.manual_seed(6)
    config: Any = peft.LoraConfig(r=rank, lora_alpha=8, target_modules=list(targets), init_lora_weights=False)
    adapted = peft.get_peft_model(base, config)
    with torch.no_grad():
        for name, weight in adapted.named_parameters():
            if "lora_" in name:
                weight.normal_(0, 0.3)
    adapted.save_pretrained(str(folder))
    return adapted.eval()


def hub_cache(home: Path, repo: str, folder: Path) -> None:
    """Put a folder where the hub library keeps what it downloaded of `repo`."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    place = home / "hub" / f"models--{repo.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(commit)
    (place / "snapshots").mkdir()
    (place / "snapshots" / commit).symlink_to(folder, target_is_directory=True)


def edit_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def ask(number: int, *contents: str, max_tokens: int = 12) -> GenerateRequest:
    """A request whose messages are of the system, if there are two, and of the user."""
    roles = ("system", "user")[-len(contents) :]
    return GenerateRequest(number, 1000, tuple(zip(roles, contents, strict=True)), max_tokens)


class Spelled(LanguageModel):
    """Answers in the numbers of its tokens: random bytes seldom are text, and no two replies would differ in that."""

    def text(self, tokens: Sequence[int]) -> str:
        return " ".join(map(str, tokens))


def spelled(loaded: LanguageModel, **changes: Any) -> Spelled:
    fields = {field.name: getattr(loaded, field.name) for field in dataclasses.fields(loaded)}
    return Spelled(**fields | changes)
