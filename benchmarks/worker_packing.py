"""The packing section of `benchmarks.worker`: histories padded to a bucket, as they are served, or packed into one row.

Padded: batches of one bucket each, as large as the worker takes them. Packed: a row of at most so many tokens holds one
history after the other; a mask keeps them apart, positions count anew for each. Measured are the encoder's layers, one
operation after the other. Ways take turns, round after round; the first round is discarded.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks import reports
from model_core.runner import Batching

ROWS = (128, 256, 512, 1024)  # tokens

Forward = Callable[[], Tensor]


def packing(encoder: Any, batching: Batching, lengths: Sequence[int], rounds: int) -> list[dict[str, Any]]:
    """Users per second of each way, and the share of its tokens that are padding. `lengths`: of the histories."""
    ways: dict[str, list[Forward]] = {"padded": list(_padded(encoder, batching, lengths))}
    ways |= {f"packed, {tokens}": list(_packed(encoder, lengths, tokens)) for tokens in ROWS}
    rates: dict[str, list[float]] = {way: [] for way in ways}
    with torch.inference_mode():
        for number in range(rounds + 1):
            for way, batches in ways.items():
                started_s = time.perf_counter()
                for forward in batches:
                    forward()
                if number:
                    rates[way].append(len(lengths) / (time.perf_counter() - started_s))
    padding = 1 - sum(lengths) / sum(batching.padded(length) for length in lengths)
    return [
        {"way": way, "users_per_s": reports.spread(measured), "padding_share": padding if way == "padded" else 0.0}
        for way, measured in rates.items()
    ]


def _padded(encoder: Any, batching: Batching, lengths: Sequence[int]) -> Iterable[Forward]:
    for bucket in batching.lengths:
        users = sum(batching.padded(length) == bucket for length in lengths)
        room = batching.room(bucket)
        for start in range(0, users, room):
            hidden = torch.randn(min(room, users - start), bucket, encoder.config.hidden_size)  # (B, T, D)
            yield partial(encode, encoder, hidden, torch.arange(bucket)[None], None)


def _packed(encoder: Any, lengths: Sequence[int], tokens: int) -> Iterable[Forward]:
    row: list[int] = []
    for length in lengths:
        if row and sum(row) + length > tokens:
            yield _row(encoder, row)
            row = []
        row.append(length)
    if row:
        yield _row(encoder, row)


def _row(encoder: Any, lengths: Sequence[int]) -> Forward:
    positions, mask = apart(lengths)
    hidden = torch.randn(1, sum(lengths), encoder.config.hidden_size)  # (1, T, D)
    return partial(encode, encoder, hidden, positions, mask)


def apart(lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Positions (1, T), and which states (1, 1, T, T) each may read: itself and those before it of its own history."""
    positions = torch.cat([torch.arange(length) for length in lengths])
    owner = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
    return positions[None], torch.tril(owner[:, None] == owner[None])[None, None]


def encode(encoder: Any, hidden: Tensor, positions: Tensor, mask: Tensor | None) -> Tensor:
    """Hidden states (B, T, D) of the encoder's layers."""
    rotations = encoder.rotary_emb(hidden, position_ids=positions)
    for layer in encoder.layers:
        hidden = layer(hidden, position_embeddings=rotations, attention_mask=mask)
    return hidden


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [f"{'histories':>14} {'users/s':>9} {'padding':>8}"]
    lines += [f"{row['way']:>14} {row['users_per_s']['median']:9,.0f} {row['padding_share']:8.0%}" for row in rows]
    return "\n".join(lines)
