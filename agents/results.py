"""Hop 7b: results as readers get them, and as the topic carries them. Pure, apart from the ids it is given."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from itertools import count
from secrets import token_hex

import msgspec
import orjson
from msgspec import Struct

from agents.ack_window import OffsetRun
from agents.coalescer import Work
from schemas.results import ModelVersion, OffsetRange, Origin, RecommendationsData

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


def new_id() -> str:
    """Of a result, unlike all others."""
    return f"{_process}{next(_serial):012x}"


class Result(Struct, frozen=True, gc=False):
    """`data` as JSON is the value that Redis holds; `record` is what the topic carries."""

    data: bytes
    record: bytes
    covers: tuple[OffsetRun, ...]


def make_result(
    work: Work,
    items: Sequence[bytes],
    covered: tuple[OffsetRun, ...],
    *,
    origin: Origin,
    model: tuple[str, str],
    now_ms: int,
    new_id: Callable[[], str] = new_id,
) -> Result:
    """Answer `work` with these items, each a `RecommendedItem` as JSON."""
    result_id, generated_at = new_id(), timestamp(now_ms)
    opening = _encode(RecommendationsData(
        recommendation_id=result_id,
        user_id=work.user,
        history_version=work.version,
        event_time=timestamp(work.event_time_ms),
        generated_at=generated_at,
        trigger=work.trigger,
        covers=tuple([OffsetRange(*run) for run in covered]),
        model=ModelVersion(*model),
        origin=origin,
        items=(),
    )).removesuffix(b"]}")
    data = b"".join((opening, b",".join(items), b"]}"))
    return Result(data, _record(result_id, work.user, generated_at, data), covered)


def record_of(data: bytes) -> bytes:
    """The record of a stored result, the same byte for byte as when it was made."""
    head = _decode_head(data)
    return _record(head.recommendation_id, head.user_id, head.generated_at, data)


def _record(result_id: str, user: str, time: str, data: bytes) -> bytes:
    return structured(result_id, SOURCE, TYPE, time, user, data)


def structured(result_id: str, source: str, event_type: str, time: str, user: str, data: bytes) -> bytes:
    """A CloudEvent in structured mode around `data`, which is JSON already."""
    envelope = orjson.dumps({
        "specversion": "1.0", "id": result_id, "source": source, "type": event_type,
        "time": time, "datacontenttype": "application/json", "subject": user,
    })
    return b"".join((envelope[:-1], b',"data":', data, b"}"))


class _Head(Struct):
    recommendation_id: str
    user_id: str
    generated_at: str


_decode_head = msgspec.json.Decoder(_Head).decode
decode_recommendations = msgspec.json.Decoder(RecommendationsData).decode
