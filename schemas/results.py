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


class Recommendations(Struct, frozen=True, kw_only=True, tag_field="type", tag="retail.recommendations.v1"):
    """The record on the `recommendations` topic, in structured mode."""

    specversion: Literal["1.0"]
    id: str
    source: str
    time: str
    datacontenttype: Literal["application/json"]
    subject: str
    data: RecommendationsData
