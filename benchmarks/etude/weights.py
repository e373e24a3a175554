"""A recommender of random weights: as fast as a trained one of its size, and as good as none."""

import torch
from torch import Tensor, nn

from model_core.recommender.checkpoint import Checkpoint, Description
from model_core.recommender.features import HALF_LIVES_DAYS
from model_core.recommender.model import ModelConfig, RecommenderModel
from model_core.recommender.purchase_log import Float32s

LENGTH = 0.76  # of an item's vector in the shipped model, so that scores are spread as they are there


class RandomModel(RecommenderModel):
    """Has its item table from the start, where a trained model adds embeddings up: one copy of it instead of two.

    Vectors have no structure that an index could use, which trained ones have: its recall is a lower bound.
    """

    table: Tensor

    def __init__(self, config: ModelConfig, log_popularity: Tensor) -> None:
        one = ModelConfig(items=1, d=config.d, layers=config.layers, heads=config.heads)
        super().__init__(one, torch.zeros(1, 1), log_popularity)
        self.config = config
        self.bias = nn.Parameter(torch.zeros(config.items))
        self.habit = nn.Parameter(torch.zeros(config.items, len(HALF_LIVES_DAYS)))
        self.register_buffer("table", torch.empty(config.items + 1, config.d).normal_(std=LENGTH * config.d**-0.5))

    def item_table(self) -> Tensor:
        return self.table


def random_checkpoint(log_popularity: Float32s, seed: int) -> Checkpoint:
    """Of the shipped model's size, over as many items as there are popularities; their ids are their numbers."""
    torch.manual_seed(seed)
    items = len(log_popularity)
    config = ModelConfig(items=items)
    best = log_popularity.argsort()[::-1][:100]
    description = Description(
        config=config, item_ids=tuple(map(str, range(items))), popular=tuple(map(str, best.tolist())),
        trained_until="never", data_fingerprint="", data_lines=0, steps=0, options={}, weights_sha256=f"random-{seed}",
    )  # fmt: skip
    return Checkpoint(RandomModel(config, torch.from_numpy(log_popularity)).eval(), description)
