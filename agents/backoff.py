"""How long to wait before the next attempt, when many processes have failed in the same moment.

Pure: the steps and the chance are given. Of each wait half is sure and half is by chance ("equal jitter" in
https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). There, "full jitter" is ahead where clients
lose to each other; ours wait for the same server, and each attempt sends whole batches again, so none follows at once.
"""

from collections.abc import Sequence


def wait_s(steps_s: Sequence[float], attempt: int, chance: float) -> float:
    """Seconds to wait after this attempt, counted from 0; the last step is for all that follow. `chance` in [0, 1)."""
    return spread_s(steps_s[min(attempt, len(steps_s) - 1)], chance)


def spread_s(longest_s: float, chance: float) -> float:
    """Between half of the time and all of it."""
    return longest_s * (0.5 + chance / 2)
