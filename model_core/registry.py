"""The models that a worker can serve, by name. Each is imported only when it is asked for."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from model_core.runner import AnyRunner
from schemas.inference import MAX_CANDIDATES

STUB_MAX_BATCH = 64  # unless the worker is given another limit
DEMO_CHECKPOINT = Path(__file__).parent / "recommender" / "checkpoints" / "completejourney"
INTENTS = Path(__file__).parent / "encoder" / "checkpoints" / "intents"  # a head of the encoder that is a package
ADAPTER = Path(__file__).parent / "replier" / "checkpoints" / "smollm2-support"  # of the replier that is a package


@dataclass(frozen=True)
class LoadOptions:
    """`checkpoint`: a directory; None for the one that ships with the package. `stub_*`: see `model_core.stub`.

    `encoder`: a folder or a Hugging Face id, or "" for the model that comes as a package; `head`: trained on it.
    `replier`: likewise; `adapter`: for it, of peft. Without them the two that ship with the package.
    `cache`: where what is made from a package is kept. `retrieval`: auto, exact or approximate; `precision`: auto,
    float32 or bfloat16; see `recommender.serving`.
    """

    device: str = "cpu"
    checkpoint: Path | None = None
    encoder: str = ""
    head: Path | None = None
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


def _encoder(options: LoadOptions) -> AnyRunner:
    from model_core.encoder.multilingual import Multilingual  # noqa: PLC0415 - torch, only where it is served
    from model_core.encoder.runner import EncoderRunner  # noqa: PLC0415 - as above

    return EncoderRunner.load(
        options.head or INTENTS, options.device, encoder=options.encoder or None, beside=Multilingual()
    )


def _replier(options: LoadOptions) -> AnyRunner:
    from model_core.replier import builtin, loading  # noqa: PLC0415 - as above
    from model_core.replier.runner import ReplierRunner  # noqa: PLC0415 - as above

    if options.replier:
        return ReplierRunner(loading.load(options.replier, options.device, options.adapter, options.precision))
    source = builtin.convert(options.cache.expanduser() / "models")
    return ReplierRunner(loading.load(source, options.device, options.adapter or ADAPTER, options.precision))


def _stub(options: LoadOptions) -> AnyRunner:
    from model_core.stub import StubRunner  # noqa: PLC0415 - not part of a worker that serves models

    return StubRunner(options.stub_name, options.stub_ms, options.stub_max_batch, options.stub_candidates)


LOADERS: dict[str, Callable[[LoadOptions], AnyRunner]] = {
    "recommender": _recommender, "encoder": _encoder, "replier": _replier, "stub": _stub,
}
