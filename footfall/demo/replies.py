"""The demo's support messages and their replies, side by side: for the screen and for the report. Pure."""

import math
from collections import Counter
from collections.abc import Callable, Sequence

import msgspec
from msgspec import Struct

from footfall.replay.enquiries import Enquiry
from schemas.results import SupportReply

LABEL = "simulated support messages"
KEPT = 3  # exchanges that a screen may show

_decode = msgspec.json.Decoder(SupportReply).decode


class Exchange(Struct, frozen=True):
    """A message and what came of it. `by`: model, template or handover; both it and `reply` are empty until then."""

    user: str
    language: str
    message: str
    reply: str = ""
    by: str = ""
    latency_ms: int = 0


class ReplyLatency(Struct, frozen=True):
    p50: float
    p95: float


class RepliesReport(Struct, frozen=True, kw_only=True):
    """What the report says of replies. `latency_ms`: from handing a message to the producer to the reply's record.

    `handovers` are among the `answered`; `model_share` is that of the others, null where there is none. `languages`:
    how many replies are in each. `note`: why there were no messages, or no replies.
    """

    label: str
    messages: int
    answered: int
    handovers: int
    model_share: float | None
    languages: dict[str, int]
    latency_ms: ReplyLatency
    note: str = ""


class Replies:
    """Tell it of every message when it is sent (`asked`), and of every record of replies (`answered`)."""

    def __init__(self, wall_ms: Callable[[], int]) -> None:
        self._wall_ms = wall_ms
        self._sent_ms: dict[str, int] = {}  # by conversation: each has one message
        self._exchanges: dict[str, Exchange] = {}

    @property
    def messages(self) -> int:
        return len(self._exchanges)

    @property
    def outstanding(self) -> int:
        return sum(not one.by for one in self._exchanges.values())

    @property
    def latest(self) -> tuple[Exchange, ...]:
        """The newest message that waits, then those that were answered last."""
        newest = list(reversed(self._exchanges.values()))
        waiting = [one for one in newest if not one.by][:1]
        return tuple([*waiting, *(one for one in newest if one.by)][:KEPT])

    def asked(self, enquiry: Enquiry, conversation_id: str) -> None:
        """A message is sent now."""
        self._sent_ms[conversation_id] = self._wall_ms()
        self._exchanges[conversation_id] = Exchange(enquiry.user, enquiry.language, enquiry.text)

    def answered(self, record: bytes, at_ms: int) -> None:
        """A record of the replies' topic; `at_ms` is its timestamp. Those of others, and those sent again, are none."""
        data = _decode(record).data
        asked = self._exchanges.get(data.conversation_id)
        if asked is None or asked.by:
            return
        del self._exchanges[data.conversation_id]  # what is answered now is the newest
        self._exchanges[data.conversation_id] = msgspec.structs.replace(
            asked, language=data.language, reply=data.text,
            by="handover" if data.action == "handover" else data.origin,
            latency_ms=max(0, at_ms - self._sent_ms[data.conversation_id]),
        )  # fmt: skip

    def report(self, note: str = "") -> RepliesReport:
        """All of them together."""
        done = [one for one in self._exchanges.values() if one.by]
        by = Counter(one.by for one in done)
        worded = by["model"] + by["template"]
        latencies = sorted(one.latency_ms for one in done)
        return RepliesReport(
            label=LABEL, messages=self.messages, answered=len(done), handovers=by["handover"],
            model_share=round(by["model"] / worded, 4) if worded else None,
            languages=dict(sorted(Counter(one.language for one in done).items())),
            latency_ms=ReplyLatency(_nearest_rank(latencies, 0.5), _nearest_rank(latencies, 0.95)), note=note,
        )  # fmt: skip


def _nearest_rank(ranked: Sequence[int], share: float) -> float:
    return float(ranked[math.ceil(share * len(ranked)) - 1]) if ranked else 0.0
