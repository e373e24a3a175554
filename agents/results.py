"""Hop 7b: results as readers get them, and as the topic carries them. Pure, apart from the ids it is given."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from secrets import token_hex
from typing import Literal

import msgspec
import orjson

from agents.coalescer import Work, covers
from schemas.results import ModelVersion, OffsetRange, RecommendationsData, RecommendedItem

SOURCE = "footfall/recommend"
TYPE = "retail.recommendations.v1"
HEADERS = [("content-type", b"application/cloudevents+json; charset=UTF-8")]  # by which SDKs know structured mode

_encode = msgspec.json.Encoder().encode
_process = token_hex(10)  # drawn once: a call to the kernel for each result is 3 % of the agent's CPU
_serial = count()


def timestamp(time_ms: int) -> str:
    """RFC 3339 in UTC, to the millisecond."""
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{_second(seconds)}.{milliseconds:03d}Z"


@lru_cache(maxsize=1024)  # the times of neighbouring events share their second
def _second(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).isoformat()[:19]


def _new_id() -> str:
    return f"{_process}{next(_serial):012x}"


def recommendations_json(
    work: Work,
    items: Sequence[RecommendedItem],
    *,
    origin: Literal["model", "fallback"],
    model: tuple[str, str],
    now_ms: int,
    new_id: Callable[[], str] = _new_id,
) -> bytes:
    """The `data` of a result as JSON: the value that Redis holds."""
    return _encode(RecommendationsData(
        recommendation_id=new_id(),
        user_id=work.user,
        history_version=work.version,
        event_time=timestamp(work.event_time_ms),
        generated_at=timestamp(now_ms),
        trigger=work.trigger,
        covers=tuple([OffsetRange(*run) for run in covers(work.held)]),
        model=ModelVersion(*model),
        origin=origin,
        items=tuple(items),
    ))


class _Head(msgspec.Struct):
    recommendation_id: str
    user_id: str
    generated_at: str


_decode_head = msgspec.json.Decoder(_Head).decode
decode_recommendations = msgspec.json.Decoder(RecommendationsData).decode


def envelope(data: bytes) -> bytes:
    """The record of a result, made from its stored `data` alone: sent again, it is the same byte for byte."""
    head = _decode_head(data)
    opening = orjson.dumps({
        "specversion": "1.0", "id": head.recommendation_id, "source": SOURCE, "type": TYPE,
        "time": head.generated_at, "datacontenttype": "application/json", "subject": head.user_id,
    })
    return b"".join((opening[:-1], b',"data":', data, b"}"))
