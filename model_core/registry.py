"""The models that a worker can serve, by name. Each is imported only when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_core.runner import AnyRunner
from schemas.inference import MAX_CANDIDATES

STUB_MAX_BATCH = 64  # unless the worker is given another limit
DEMO_CHECKPOINT = Path(__file__).parent / "recommender" / "checkpoints" / "completejourney"


@dataclass(frozen=True)
class LoadOptions:
    """`checkpoint`: a directory; None for the one that ships with the package. `stub_*`: see `model_core.stub`.

    `retrieval`: auto, exact or approximate; `precision`: auto, float32 or bfloat16; see `recommender.serving`.
    """

    device: str = "cpu"
    checkpoint: Path | None = None
    stub_ms: float = 0.0
    stub_name: str = "stub"
    stub_max_batch: int = STUB_MAX_BATCH
    stub_candidates: int = MAX_CANDIDATES
    retrieval: Literal["auto", "exact", "approximate"] = "auto"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"


def _recommender(options: LoadOptions) -> AnyRunner:
    from model_core.recommender.runner import RecommenderRunner  # noqa: PLC0415 - torch, only where it is served

    return RecommenderRunner.load(
        options.checkpoint or DEMO_CHECKPOINT, options.device, retrieval=options.retrieval, precision=options.precision
    )


def _stub(options: LoadOptions) -> AnyRunner:
    from model_core.stub import StubRunner  # noqa: PLC0415 - not part of a worker that serves models

    return StubRunner(options.stub_name, options.stub_ms, options.stub_max_batch, options.stub_candidates)


LOADERS: dict[str, Callable[[LoadOptions], AnyRunner]] = {"recommender": _recommender, "stub": _stub}
