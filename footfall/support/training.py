"""What `footfall train encoder` and `footfall train replier` do: wordings in, a head or an adapter out."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

from footfall.progress import progress_of
from footfall.support import messages
from footfall.support.dialogues import Dialogues

PER_INTENT = 200  # messages of each intent and language
DEFAULT_MINUTES = 40.0


def train_encoder(out: Path, *, encoder: str = "", seed: int = 0, per_intent: int = PER_INTENT) -> str:
    """Train a head for a text encoder (a folder or an id; "" for the one that is a package). Returns its version.

    Raises `CheckpointError` for an encoder that cannot be read, `TrainingError` for wordings that are too few.
    """
    from model_core.encoder import head, training  # noqa: PLC0415 - torch
    from model_core.encoder.embedding import TextEncoder  # noqa: PLC0415
    from model_core.encoder.multilingual import Multilingual  # noqa: PLC0415

    text_encoder = TextEncoder.load(encoder or None, beside=Multilingual())
    options = training.TrainingOptions(seed=seed)
    with progress_of("encoder's head") as report:
        trained = training.train(
            messages.examples("train", per_intent, seed), text_encoder.embed, encoder=text_encoder.sha256,
            encoder_name=text_encoder.name, options=options,
            progress=lambda at: report(
                at.epoch / options.epochs, f"epoch {at.epoch}, loss {at.vector_loss:.3f} and {at.ngram_loss:.3f}"
            ),
        )  # fmt: skip
    head.save(trained, out)
    return head.load(out, text_encoder.sha256).version


def train_replier(
    out: Path, *, cache: Path, replier: str = "", minutes: float = DEFAULT_MINUTES, steps: int | None = None,
    seed: int = 0, device: str = "cpu",
) -> int:  # fmt: skip
    """Train an adapter for a language model (a folder or an id; "" for the one that is a package, made in `cache`).

    `steps` instead of `minutes` makes a run repeatable on one machine, however busy it is. Returns the number of
    dialogues. Raises `CheckpointError` for a model that cannot be read.
    """
    from model_core.replier import builtin, loading  # noqa: PLC0415 - torch
    from model_core.replier.training import Example, TrainingOptions, TrainingProgress, train  # noqa: PLC0415

    def made() -> Iterator[Example]:
        for dialogue in Dialogues().sample(Random(seed)):
            yield Example(dialogue.messages, dialogue.reply)

    seen = 0
    with progress_of("replier's adapter") as report:

        def told(at: TrainingProgress) -> None:
            nonlocal seen
            seen = at.examples
            report(at.done, f"step {at.step}, {at.examples} dialogues, loss {at.loss:.3f}")

        base = loading.load(replier or builtin.convert(cache / "models"), device)
        budget_s = None if steps else minutes * 60
        train(base, made(), out, options=TrainingOptions(seed=seed, steps=steps, budget_s=budget_s), progress=told)
    return seen
