"""Results out: what the topics and the Redis cache carry for readers (docs/contract.md)."""

from typing import Literal, TypeAlias

from msgspec import Struct

Origin: TypeAlias = Literal["model", "fallback"]
ReasonKind: TypeAlias = Literal["repeat", "related", "popular"]


class Trigger(Struct, frozen=True, gc=False):
    """The newest event that the result answers."""

    source: str
    id: str


class OffsetRange(Struct, frozen=True, gc=False, rename={"first": "from", "last": "to"}):
    """Input offsets that a result answers, both ends included."""

    topic: str
    partition: int
    first: int
    last: int


class ModelVersion(Struct, frozen=True, gc=False):
    name: str
    version: str


class Reason(Struct, frozen=True, gc=False):
    """Why an item is shown. `evidence` holds item ids of the user's own history.

    `repeat`: the user keeps buying it. `related`: it belongs with the evidence. `popular`: many buy it.
    """

    kind: ReasonKind
    evidence: tuple[str, ...] = ()


class RecommendedItem(Struct, frozen=True, gc=False):
    item_id: str
    score: float
    reason: Reason


class RecommendationsData(Struct, frozen=True, kw_only=True):
    """The `data` of `retail.recommendations.v1`, and the value of `user:{…}:recommendations`."""

    recommendation_id: str
    user_id: str
    history_version: int
    event_time: str
    generated_at: str
    trigger: Trigger
    covers: tuple[OffsetRange, ...]
    model: ModelVersion
    origin: Origin
    items: tuple[RecommendedItem, ...]  # last: agents/results.py completes what was encoded without them


Action: TypeAlias = Literal["reply", "clarify", "handover"]
ReplyOrigin: TypeAlias = Literal["model", "template"]
CitationKind: TypeAlias = Literal["order", "stock", "policy", "recommendation"]


class Citation(Struct, frozen=True):
    """A fact that the reply rests on, as it was at `as_of`.

    `ref`: the id of an order, an item or a policy passage. `quote`: its words.
    """

    kind: CitationKind
    ref: str
    as_of: str
    quote: str


class Handover(Struct, frozen=True):
    """For the person who takes over. `summary`: what is known, without personal data."""

    reason: str
    summary: str


class ReplyData(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The `data` of `retail.reply.v1`, and the value of `user:{…}:reply:<conversation_id>`.

    `message_id`: the newest message that it answers; `supersedes`: earlier ones that got no reply of their own.
    """

    reply_id: str
    user_id: str
    conversation_id: str
    message_id: str
    supersedes: tuple[str, ...] = ()
    generated_at: str
    trigger: Trigger
    covers: tuple[OffsetRange, ...]
    action: Action
    text: str
    language: str
    intent: str
    confidence: float
    citations: tuple[Citation, ...]
    model: ModelVersion
    origin: ReplyOrigin
    handover: Handover | None = None


class SupportReply(Struct, frozen=True, kw_only=True, tag_field="type", tag="retail.reply.v1"):
    """The record on the `replies` topic, in structured mode."""

    specversion: Literal["1.0"]
    id: str
    source: str
    time: str
    datacontenttype: Literal["application/json"]
    subject: str
    data: ReplyData


class Recommendations(Struct, frozen=True, kw_only=True, tag_field="type", tag="retail.recommendations.v1"):
    """The record on the `recommendations` topic, in structured mode."""

    specversion: Literal["1.0"]
    id: str
    source: str
    time: str
    datacontenttype: Literal["application/json"]
    subject: str
    data: RecommendationsData
