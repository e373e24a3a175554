"""Messages between the agents and a worker, over ZeroMQ: two frames, `PROTOCOL` and one msgpack message.

A peer that speaks another protocol is answered with `Refused`; nothing else of it is decoded. The agent dials
(DEALER), the worker listens (ROUTER). Deadlines travel as the budget that is left, since hosts share no clock.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias

import msgspec
from msgspec import Raw, Struct

PROTOCOL = b"footfall/1"
MAX_CANDIDATES = 64
MAX_EVIDENCE = 3
NO_EVIDENCE = b"\xff" * MAX_EVIDENCE

ReasonKind: TypeAlias = Literal["repeat", "related", "popular"]
REASON_KINDS: tuple[ReasonKind, ...] = ("repeat", "related", "popular")


class UserState(Struct, frozen=True, array_like=True, gc=False):
    """What the model reads of one user, exactly as agents/state/apply.lua packs it.

    `history`: alternately member `<type>:<item_id>:<16 hex>` and its event time in ms, newest first.
    `counter_items`: items the user bought, N of them. `counter_values`: N x 3 little-endian float64:
    decayed count with half-life 30 d, with half-life 200 d, and the event time in ms that both are decayed to.
    `cart`: alternately item and event time in ms, negative once it was taken out or bought.
    """

    history: tuple[str, ...]
    counter_items: tuple[str, ...]
    counter_values: bytes
    cart: tuple[str, ...]


class RecommendRequest(Struct, frozen=True, array_like=True, gc=False):
    """One user to be scored as of `now_ms`. `state` is a packed `UserState`, forwarded without decoding."""

    id: int
    budget_ms: int
    now_ms: int
    state: Raw


class Candidate(Struct, frozen=True, gc=False):
    """One scored item. `kind` and `evidence` (at most 3 items of the user's own) as in `schemas.results.Reason`."""

    item_id: str
    score: float
    kind: ReasonKind
    evidence: tuple[str, ...] = ()


class RecommendResult(Struct, frozen=True, array_like=True, gc=False, tag="result"):
    """At most 64 candidates, best first, by column: a list of N structs costs the reader five times as much CPU.

    `scores`: N little-endian float64. `kinds`: N indices into `REASON_KINDS`. `evidence_of`: N x 3 indices into
    `item_ids` followed by `evidence`, 255 where a candidate has fewer. Write with `of`, read `candidates`.
    """

    id: int
    item_ids: tuple[str, ...]
    scores: bytes
    kinds: bytes
    evidence: tuple[str, ...]
    evidence_of: bytes

    @classmethod
    def of(cls, request_id: int, candidates: Sequence[Candidate]) -> "RecommendResult":
        """Pack candidates.

        Raises `ValueError` for more than 64 of them, an item twice, or more than 3 evidence items on one.
        """
        positions = {c.item_id: i for i, c in enumerate(candidates)}
        if not len(positions) == len(candidates) <= MAX_CANDIDATES:
            raise ValueError(f"{len(candidates)} candidates: give at most {MAX_CANDIDATES} distinct items")
        evidence_of = bytearray()
        for candidate in candidates:
            if len(candidate.evidence) > MAX_EVIDENCE:
                raise ValueError(f"{len(candidate.evidence)} evidence items on one candidate: keep {MAX_EVIDENCE}")
            evidence_of += bytes([positions.setdefault(item, len(positions)) for item in candidate.evidence])
            evidence_of += NO_EVIDENCE[len(candidate.evidence) :]
        if len(positions) > NO_EVIDENCE[0]:
            raise ValueError(f"{len(positions)} distinct items in one result: name fewer as evidence")
        return cls(
            request_id,
            tuple([c.item_id for c in candidates]),
            struct.pack(f"<{len(candidates)}d", *[c.score for c in candidates]),
            bytes([REASON_KINDS.index(c.kind) for c in candidates]),
            tuple(positions)[len(candidates) :],
            bytes(evidence_of),
        )

    @property
    def candidates(self) -> Iterator[Candidate]:
        """Best first, each made when it is asked for: take what you need and stop."""
        scores = struct.unpack(f"<{len(self.item_ids)}d", self.scores)
        items = self.item_ids + self.evidence
        triples = zip(*[iter(self.evidence_of)] * MAX_EVIDENCE, strict=True)
        for item_id, score, kind, triple in zip(self.item_ids, scores, self.kinds, triples, strict=True):
            shown = tuple([items[i] for i in triple if i < len(items)])
            yield Candidate(item_id, score, REASON_KINDS[kind], shown)


class Failure(Struct, frozen=True, array_like=True, gc=False, tag="failure"):
    """The model cannot answer this request, now or ever: `error` says why (no personal data)."""

    id: int
    error: str


class Shed(Struct, frozen=True, array_like=True, gc=False, tag="shed"):
    """The request was dropped before the model saw it, since its budget was spent. It may be sent again."""

    id: int


Reply: TypeAlias = RecommendResult | Failure | Shed


# agent -> worker
class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    client: str


class Submit(Struct, frozen=True, array_like=True, tag="submit"):
    """Requests for one model. `epoch` is the worker's, from `Ready`; requests of an older epoch are dropped."""

    epoch: str
    model: str
    requests: tuple[RecommendRequest, ...]


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    ids: tuple[int, ...]


class Ping(Struct, frozen=True, array_like=True, tag="ping"):
    n: int


ToWorker: TypeAlias = Hello | Submit | Cancel | Ping


# worker -> agent
class ModelInfo(Struct, frozen=True, array_like=True):
    """A model that the worker serves. `popular`: its fallback list, best first (at most 100 item ids)."""

    name: str
    version: str
    popular: tuple[str, ...]


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The models are loaded and warm. `max_in_flight` bounds what one client may have outstanding."""

    epoch: str
    models: tuple[ModelInfo, ...]
    max_in_flight: int


class Replies(Struct, frozen=True, array_like=True, tag="replies"):
    epoch: str
    replies: tuple[Reply, ...]


class Pong(Struct, frozen=True, array_like=True, tag="pong"):
    n: int


class Draining(Struct, frozen=True, array_like=True, tag="draining"):
    """The worker finishes what it has and leaves: send nothing more, submit the unanswered elsewhere."""

    epoch: str


class Goodbye(Struct, frozen=True, array_like=True, tag="goodbye"):
    """The last message of a worker that drained: whatever it has not answered it never will."""

    epoch: str


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    reason: str


ToAgent: TypeAlias = Ready | Replies | Pong | Draining | Goodbye | Refused


# control socket (REQ/REP): operations, not traffic
class StatsQuery(Struct, frozen=True, array_like=True, tag="stats"):
    pass


class WorkerStats(Struct, frozen=True, array_like=True, kw_only=True, tag="stats"):
    """Counts since the models were ready. `busy_share`: of that time, how much the device spent on batches.

    `ignored`: messages refused, and requests of an older epoch.
    """

    epoch: str
    models: tuple[ModelInfo, ...]
    device: str
    uptime_s: float
    batches: int
    requests: int
    failures: int
    shed: int
    ignored: int
    clients: int
    mean_batch_size: float
    queued: int
    busy_share: float


to_worker_encoder = msgspec.msgpack.Encoder()
to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
to_agent_encoder = msgspec.msgpack.Encoder()
to_agent_decoder: msgspec.msgpack.Decoder[ToAgent] = msgspec.msgpack.Decoder(ToAgent)
control_encoder = msgspec.msgpack.Encoder()
control_query_decoder = msgspec.msgpack.Decoder(StatsQuery)
control_reply_decoder: msgspec.msgpack.Decoder[WorkerStats | Refused] = msgspec.msgpack.Decoder(WorkerStats | Refused)
user_state_decoder = msgspec.msgpack.Decoder(UserState)
