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

    `replier`: a folder or a Hugging Face id, or "" for the model that comes as a package; `adapter`: for it, of peft.
    `cache`: where what is made from a package is kept. `retrieval`: auto, exact or approximate; `precision`: auto,
    float32 or bfloat16; see `recommender.serving`.
    """

    device: str = "cpu"
    checkpoint: Path | None = None
    replier: str = ""
    adapter: Path | None = None
    cache: Path = Path("~/.cache/footfall")
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


def _replier(options: LoadOptions) -> AnyRunner:
    from model_core.replier import builtin, loading  # noqa: PLC0415 - as above
    from model_core.replier.runner import ReplierRunner  # noqa: PLC0415 - as above

    source = options.replier or builtin.convert(options.cache.expanduser() / "models")
    return ReplierRunner(loading.load(source, options.device, options.adapter, options.precision))


def _stub(options: LoadOptions) -> AnyRunner:
    from model_core.stub import StubRunner  # noqa: PLC0415 - not part of a worker that serves models

    return StubRunner(options.stub_name, options.stub_ms, options.stub_max_batch, options.stub_candidates)


LOADERS: dict[str, Callable[[LoadOptions], AnyRunner]] = {
    "recommender": _recommender, "replier": _replier, "stub": _stub,
}
