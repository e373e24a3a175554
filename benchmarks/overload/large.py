"""A recommender of the shipped vocabulary that costs a device about eight times as much; its weights are random."""

from pathlib import Path

import msgspec
import torch
from torch import nn

from model_core.recommender import checkpoint as checkpoints
from model_core.recommender.checkpoint import Checkpoint
from model_core.recommender.model import ModelConfig, RecommenderModel

WIDTH, LAYERS, HEADS = 256, 4, 4  # 64 and 2 in the shipped one


def make_large(shipped: Path, folder: Path, seed: int) -> Path:
    """Save it as a checkpoint of its own in `folder`, which is returned."""
    torch.manual_seed(seed)
    small = checkpoints.load(shipped)
    config = ModelConfig(items=small.description.config.items, d=WIDTH, layers=LAYERS, heads=HEADS)
    model = RecommenderModel(config, small.model.words, small.model.log_popularity)
    nn.init.normal_(model.query_out.weight, std=0.02)  # zero before training: no item would be better than another
    description = msgspec.structs.replace(
        small.description, config=config, trained_until="never", steps=0, options={}, metrics={}
    )
    checkpoints.save(Checkpoint(model.eval(), description), folder)
    return folder
