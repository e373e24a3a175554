"""Messages of a worker's control socket: operations, not traffic. Two frames, as in `schemas.inference`.

Operations ask (REQ), the worker answers (ROUTER); a reload is answered when it is over, and other questions meanwhile.
"""

from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct

from schemas.inference import ModelInfo, Refused

MIN_OVERLAP = 0.3  # see model_core.batching.canary


class StatsQuery(Struct, frozen=True, array_like=True, tag="stats"):
    pass


class Reload(Struct, frozen=True, array_like=True, kw_only=True, tag="reload"):
    """Serve the checkpoint in the folder `path`, a path on the worker's machine, in place of the one of `model`.

    `sha256`: of its weights, in hex, or how that begins (as the version does); empty: whatever is there.
    `min_overlap`: what share of the best items for recent requests the two must have in common, else the old one stays.
    """

    model: str
    path: str
    sha256: str = ""
    min_overlap: Annotated[float, Meta(ge=0, le=1)] = MIN_OVERLAP


ControlQuery: TypeAlias = StatsQuery | Reload


class Reloaded(Struct, frozen=True, array_like=True, kw_only=True, tag="reloaded"):
    """`version` answers from now on, not `previous`. `overlap`: see `Reload`. `took_s`: to read it and to try it."""

    model: str
    version: str
    previous: str
    overlap: float
    took_s: float


class ModelRuns(Struct, frozen=True, array_like=True, kw_only=True):
    """One model's batches since it was ready.

    Times are means: `wait_ms` per request, from its arrival until a batch was formed with it; the others per batch, of
    collating, the device, wording the answers.
    `batch_sizes`: how many batches had 1, 2, 3 to 4, 5 to 8, … requests. `padding_share`: of the tokens on the device,
    how many were padding. `cost_error`: mean of |predicted - took| / took of the device's times.
    """

    model: str
    batches: int
    requests: int
    mean_batch_size: float
    max_batch_size: int
    batch_sizes: tuple[int, ...]
    padding_share: float
    wait_ms: float
    collate_ms: float
    forward_ms: float
    reply_ms: float
    cost_error: float


class ShedCounts(Struct, frozen=True, array_like=True, kw_only=True):
    """`excess`: beyond what a client may have outstanding, or the worker queues. `late`: there was no time left."""

    excess: int = 0
    late: int = 0

    @property
    def total(self) -> int:
        return self.excess + self.late


class ReloadCounts(Struct, frozen=True, array_like=True, kw_only=True):
    """`rolled_back`: the old checkpoint went on serving, since the new one could not be read, or failed its trial."""

    ok: int = 0
    rolled_back: int = 0


class WorkerStats(Struct, frozen=True, array_like=True, kw_only=True, tag="stats"):
    """Counts since the models were ready.

    `busy_share`: of that time, how much the device spent on batches; `idle_share`: how much it waited for one.
    `cancelled`: requests that their client took back, or that left with it; `unwanted`: answers that came too late for
    that. `ignored`: messages refused, and requests of an older epoch.
    """

    epoch: str
    models: tuple[ModelInfo, ...]
    device: str
    uptime_s: float
    batches: int
    requests: int
    failures: int
    shed: ShedCounts = ShedCounts()
    cancelled: int = 0
    unwanted: int = 0
    ignored: int
    clients: int
    mean_batch_size: float
    queued: int
    busy_share: float
    idle_share: float = 0.0
    reloads: ReloadCounts = ReloadCounts()
    runs: tuple[ModelRuns, ...] = ()


ControlReply: TypeAlias = WorkerStats | Reloaded | Refused

control_encoder = msgspec.msgpack.Encoder()
control_query_decoder: msgspec.msgpack.Decoder[ControlQuery] = msgspec.msgpack.Decoder(ControlQuery)
control_reply_decoder: msgspec.msgpack.Decoder[ControlReply] = msgspec.msgpack.Decoder(ControlReply)
