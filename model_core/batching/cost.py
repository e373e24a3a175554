"""How long a batch will take on this device: learned at warm-up, kept up to date by each batch. Pure: it is told times.

A model's time is taken as `a + b·n` for n requests padded to one length. Static shapes make that hold well: Clockwork
(Gujarati et al., OSDI 2020) rests on it. Least squares with exponential forgetting; no history is kept.
"""

import math
from collections.abc import Iterable

HALF_LIFE_BATCHES = 32  # a clock that throttles, or a neighbour that comes, is known after some seconds
SIGMAS = 3.0  # of what the estimate missed by lately: late once in hundreds, as long as batches are predictable
_KEPT = 0.5 ** (1 / HALF_LIFE_BATCHES)


class Line:
    """Seconds of a batch of n at one length."""

    def __init__(self) -> None:
        self._weight = self._n = self._nn = self._s = self._ns = 0.0  # sums: 1, n, n², seconds, n·seconds
        self._missed = 0.0  # mean square, s²

    @property
    def known(self) -> bool:
        return self._weight > 0

    def observe(self, n: int, seconds: float) -> None:
        """Note that a batch of n took so long."""
        if self.known:
            miss = seconds - self.mean_s(n)
            self._missed = _KEPT * self._missed + (1 - _KEPT) * miss * miss
        self._weight = _KEPT * self._weight + 1
        self._n = _KEPT * self._n + n
        self._nn = _KEPT * self._nn + n * n
        self._s = _KEPT * self._s + seconds
        self._ns = _KEPT * self._ns + n * seconds

    def mean_s(self, n: int) -> float:
        """Expected seconds of a batch of n, never negative; 0 while nothing is known."""
        if not self.known:
            return 0.0
        mean_n, mean_s = self._n / self._weight, self._s / self._weight
        spread = self._nn / self._weight - mean_n * mean_n
        slope = (self._ns / self._weight - mean_n * mean_s) / spread if spread > 1e-9 * self._nn else 0.0
        # a slope below 0, or a line that starts below 0, is noise: then a batch takes as long per request as they did
        if slope < 0 or mean_s - slope * mean_n < 0:
            return mean_s * n / mean_n if slope >= 0 else mean_s
        return mean_s + slope * (n - mean_n)

    def bound_s(self, n: int) -> float:
        """Seconds that a batch of n seldom exceeds."""
        return self.mean_s(n) + SIGMAS * math.sqrt(self._missed)


class CostModel:
    """One model's lines, by the length that a batch is padded to."""

    def __init__(self, lengths: Iterable[int]) -> None:
        self._lines = {length: Line() for length in lengths}

    def observe(self, length: int, n: int, seconds: float) -> None:
        """Note that a batch took so long."""
        self._lines[length].observe(n, seconds)

    def mean_s(self, length: int, n: int) -> float:
        """Expected seconds; 0 while nothing is known."""
        return self._nearest(length).mean_s(n)

    def bound_s(self, length: int, n: int) -> float:
        """Seconds that are seldom exceeded; 0 while nothing is known."""
        return self._nearest(length).bound_s(n)

    def _nearest(self, length: int) -> Line:
        """The line of this length, or of the nearest one above it, or below it, of which something is known."""
        line = self._lines[length]
        if line.known:
            return line
        above = [line for other, line in sorted(self._lines.items()) if line.known and other > length]
        below = [line for other, line in sorted(self._lines.items()) if line.known and other < length]
        return (above or below[-1:] or [line])[0]
