"""A BERT with random weights and a vocabulary of letters, as a folder of the Hugging Face kind; a head for it."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel

from model_core.encoder.embedding import TextEncoder
from model_core.encoder.head import IDENTITY, OUT_OF_SCOPE, Description, Head, TrainedHead

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789?!.,'退款订单快递到哪了"
INTENTS = (OUT_OF_SCOPE, "order_status", "refund_request", "smalltalk")
DIMENSION = 512
WIDTH = 16


def encoder_folder(folder: Path, seed: int = 0, positions: int = 64) -> Path:
    """`positions`: how many tokens it can read."""
    folder.mkdir(parents=True)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*specials, *LETTERS, *(f"##{letter}" for letter in LETTERS)]
    (folder / "vocab.txt").write_text("\n".join(words), "utf-8")
    tokenizer = BertWordPieceTokenizer({word: number for number, word in enumerate(words)})
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {"tokenizer_class": "BertTokenizer", "model_max_length": positions, "pad_token": "[PAD]"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
    config = BertConfig(
        vocab_size=len(words), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=positions, initializer_range=0.5,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        BertModel(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def random_head(encoder: TextEncoder, seed: int = 0) -> TrainedHead:
    """Of as many intents as `INTENTS`, with weights that make a difference."""
    model = Head(len(INTENTS), encoder.width, DIMENSION)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=2.0, generator=generator)
    described = Description(
        intents=INTENTS, embedding_width=encoder.width, encoder=encoder.sha256[:IDENTITY], ngram_dimension=DIMENSION
    )
    return TrainedHead(model=model.requires_grad_(requires_grad=False), description=described)


def letters(texts: list[str]) -> NDArray[np.float32]:
    """Stands in for an encoder where there is a head to train: how often each letter occurs, in length 1."""
    counts = np.array([[1.0, *(text.lower().count(letter) for letter in LETTERS)] for text in texts])
    found: NDArray[np.float32] = (counts / np.linalg.norm(counts, axis=1, keepdims=True)).astype(np.float32)
    return found
