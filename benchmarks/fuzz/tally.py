"""What one fuzzing process has seen, and the sum of several. Knows no fuzzer."""

import re
from collections import Counter
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from benchmarks.fuzz.target import Outcome

MAX_REASONS = 10_000  # kept apart; a reason is a text of the product's, which names types and places, not content
MAX_REASON_CHARS = 160

# what differs between two inputs that are refused for the same reason
_VARIABLE = re.compile(r"""(?:\[(?:\.\.\.|\d+)\])+|(?<!\w)(['"]).*\1(?!\w)|0x[0-9a-fA-F]+|\d+""", re.DOTALL)


class Finding(Struct, frozen=True):
    """A fault, how often it was seen, and the smallest input that had it; "" where there is none."""

    kind: str
    place: str
    detail: str
    count: int
    file: str


class Extreme(Struct, frozen=True, order=True):
    """The largest figure, and the input that had it."""

    value: float = 0.0
    input_bytes: int = 0
    route: str = ""


class Tally(Struct):
    """Counts of inputs. `accepted` and `refused` by route; of what is refused, `reasons` behind the route."""

    inputs: int = 0
    accepted: dict[str, int] = {}
    refused: dict[str, int] = {}
    reasons: dict[str, int] = {}
    slowest_us: Extreme = Extreme()
    measured: int = 0  # inputs of which `largest_bytes` knows
    largest_bytes: Extreme = Extreme()
    max_rss_mb: float = 0.0
    findings: dict[str, Finding] = {}

    def add(self, outcome: Outcome | None) -> str:
        """Count one input; returns the reason where it was refused. None: it raised."""
        self.inputs += 1
        if outcome is None:
            return ""
        counts = self.refused if outcome.refusal else self.accepted
        counts[outcome.route] = counts.get(outcome.route, 0) + 1
        if not outcome.refusal:
            return ""
        reason = f"{outcome.route} {reason_of(outcome.refusal)}"
        if reason in self.reasons or len(self.reasons) < MAX_REASONS:
            self.reasons[reason] = self.reasons.get(reason, 0) + 1
        return reason


def reason_of(refusal: str) -> str:
    """A refusal without what is the input's own."""
    return _VARIABLE.sub("#", refusal)[:MAX_REASON_CHARS]


def total(tallies: Sequence[Tally]) -> Tally:
    """All of them together."""
    findings: dict[str, Finding] = {}
    for name, found in (entry for tally in tallies for entry in tally.findings.items()):
        known = findings.get(name)
        findings[name] = found if known is None else replace(known, count=known.count + found.count)
    return Tally(
        inputs=sum(tally.inputs for tally in tallies),
        accepted=_sum([tally.accepted for tally in tallies]),
        refused=_sum([tally.refused for tally in tallies]),
        reasons=_sum([tally.reasons for tally in tallies]),
        slowest_us=max(tally.slowest_us for tally in tallies),
        measured=sum(tally.measured for tally in tallies),
        largest_bytes=max(tally.largest_bytes for tally in tallies),
        max_rss_mb=max(tally.max_rss_mb for tally in tallies),
        findings=findings,
    )


def _sum(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    return dict(sum(map(Counter, counts), Counter[str]()))
