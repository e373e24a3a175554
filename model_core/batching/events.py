"""What a pipeline tells: who is answered, what was run for it, which model serves, and that it is over."""

from dataclasses import dataclass
from typing import TypeAlias

from model_core.batching.policy import Client
from schemas.inference import ModelInfo, Reply


@dataclass(frozen=True, slots=True)
class Loaded:
    """The models have answered every example batch."""

    models: tuple[ModelInfo, ...]
    max_batch: int


@dataclass(frozen=True, slots=True)
class Ran:
    """One batch's sizes and times. `tokens`: of its requests before padding to `length`. `wait_s`: of all of them."""

    model: str
    requests: int
    length: int
    tokens: int
    wait_s: float
    collate_s: float
    predicted_s: float  # what `forward_s` was expected to be
    forward_s: float
    reply_s: float


@dataclass(frozen=True, slots=True)
class Answered:
    """Replies to send, by which version of their model, and what was run for them, if anything was."""

    replies: tuple[tuple[Client, Reply], ...]
    version: str = ""
    ran: Ran | None = None


@dataclass(frozen=True, slots=True)
class Swapped:
    """From here on a model's batches are answered by another checkpoint; all before were by the previous one."""

    model: ModelInfo
    previous: str
    overlap: float
    took_s: float


@dataclass(frozen=True, slots=True)
class Kept:
    """A reload is over without effect; `reason` is for operations, without personal data."""

    model: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    """The pipeline is over: asked to (`error` None), or for a reason that the process should not survive."""

    error: BaseException | None


Event: TypeAlias = Loaded | Answered | Swapped | Kept | Stopped
