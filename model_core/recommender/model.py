"""The network: decoder blocks of `transformers` over a user's events, plus repeat counters on the logits.

    logits = q·Eᵀ + bias + trend·log-popularity
             + Σ_k softplus(gate_k(q) + habit_k(item)) · log1p(tau_k · c_k(user, item))

E, the item table, is an id embedding plus the mean embedding of the item's hashed words, so that items share strength.
q is the last hidden state, told how long ago the last event was; c_k are the user's decayed purchase counters. The
objective is SASRec's (Kang and McAuley, ICDM 2018) with a sampled softmax; the counters follow the finding that repeats
decide grocery baskets (Li et al., TOIS 2023). Positions are rotary and the mask causal, so that a key/value cache stays
possible: nothing before q depends on the time of asking.
"""

import torch
from msgspec import Struct
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name
from transformers import LlamaConfig, LlamaModel

from model_core.recommender.features import EVENT_TYPES, GAP_BUCKETS, HALF_LIVES_DAYS, TEXT_BUCKETS


class ModelConfig(Struct, frozen=True, kw_only=True):
    """Sizes. `items` is the vocabulary; code `items` stands for the start of an empty history."""

    items: int
    d: int = 64
    layers: int = 2
    heads: int = 2
    dropout: float = 0.1


class RecommenderModel(nn.Module):
    """See the module. B users or decisions, T tokens, N items, D width, K counters per item."""

    words: Tensor
    log_popularity: Tensor

    def __init__(self, config: ModelConfig, words: Tensor, log_popularity: Tensor) -> None:
        """`words`: text buckets (N, W). `log_popularity`: of the last 28 days before serving (N,)."""
        super().__init__()
        d, k = config.d, len(HALF_LIVES_DAYS)
        self.config = config
        self.register_buffer("words", words.long(), persistent=False)
        self.register_buffer("log_popularity", log_popularity.float(), persistent=False)
        self.item = nn.Embedding(config.items, d)
        self.text = nn.EmbeddingBag(TEXT_BUCKETS + 1, d, mode="mean", padding_idx=TEXT_BUCKETS)
        self.start = nn.Parameter(torch.zeros(d))
        self.event = nn.Embedding(len(EVENT_TYPES), d)
        self.gap = nn.Embedding(GAP_BUCKETS, d)
        self.drop = nn.Dropout(config.dropout)
        # attention dropout would leave the fused attention (0.16 -> 0.62 s per step on a CPU)
        self.encoder = LlamaModel(
            LlamaConfig(
                vocab_size=1,  # the events come as embeddings
                bos_token_id=None,
                eos_token_id=None,
                hidden_size=d,
                intermediate_size=2 * d,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                max_position_embeddings=512,
                attention_dropout=0.0,
            )
        )
        self.now = nn.Embedding(GAP_BUCKETS, d)
        self.query_in, self.query_out = nn.Linear(d, d), nn.Linear(d, d)
        self.bias = nn.Parameter(torch.zeros(config.items))
        self.trend = nn.Parameter(torch.ones(()))
        self.gate = nn.Linear(d, k)
        self.habit = nn.Parameter(torch.zeros(config.items, k))
        self.log_tau = nn.Parameter(torch.ones(k))
        for table in (self.item, self.text, self.event, self.gap, self.now):
            nn.init.normal_(table.weight, std=0.02)
        with torch.no_grad():
            self.text.weight[TEXT_BUCKETS] = 0
        for zeroed in (self.query_out, self.gate):
            nn.init.zeros_(zeroed.weight)
        nn.init.zeros_(self.query_out.bias)
        nn.init.ones_(self.gate.bias)

    def item_table(self) -> Tensor:
        """The embedding of every item, and of the start after them, (N + 1, D)."""
        text: Tensor = self.text(self.words)
        return torch.cat([self.item.weight + text, self.start[None]])

    def encode(self, table: Tensor, item: Tensor, event: Tensor, gap: Tensor) -> Tensor:
        """Hidden states (B, T, D) of events given as codes (B, T); padding is on the right and is not masked.

        A state reads itself and what is left of it, so that padding cannot reach a state of a real event.
        """
        hidden: Tensor = F.embedding(item, table) + self.event(event) + self.gap(gap)
        hidden = self.drop(hidden).to(self.encoder.dtype)
        # what `LlamaModel.forward` does without mask and cache; traced, it would build a mask, 8 % of 128 tokens
        positions = torch.arange(item.shape[1], device=item.device)[None]
        rotations = self.encoder.rotary_emb(hidden, position_ids=positions)
        for layer in self.encoder.layers:
            hidden = layer(hidden, position_embeddings=rotations)
        hidden = self.encoder.norm(hidden)
        return hidden.to(table.dtype)

    def query(self, hidden: Tensor, now_gap: Tensor) -> Tensor:
        """What the user is taken to want, (B, D): the state of the last event, and its age as a bucket (B,)."""
        query: Tensor = self.drop(hidden + self.query_out(F.silu(self.query_in(hidden) + self.now(now_gap))))
        return query

    def prior(self) -> Tensor:
        """What speaks for an item whoever asks, as of serving, (N,)."""
        return self.bias + self.trend * self.log_popularity

    def repeats(self, query: Tensor, row: Tensor, item: Tensor, counters: Tensor) -> Tensor:
        """What the counters add, (R,), for R pairs of a row of `query` and an item with counters (R, K)."""
        gates = F.softplus(self.gate(query)[row] + self.habit[item])
        return (gates * torch.log1p(counters * self.log_tau.exp())).sum(-1)
