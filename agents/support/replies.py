"""Replies as readers get them, and as the topic carries them. Pure, apart from the ids and the time it is given."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from agents.ack_window import OffsetRun
from agents.results import structured, timestamp
from agents.support.planning import Asked, Plan
from agents.support.writing import Written
from schemas.results import Handover, ModelVersion, OffsetRange, ReplyData, Trigger

SOURCE = "footfall/reply"
TYPE = "retail.reply.v1"

_encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(ReplyData).decode


class Addressed(Struct, frozen=True):
    """Whom a reply is for. `message_ids`: that it answers, the newest last."""

    user: str
    conversation_id: str
    message_ids: Sequence[str]
    trigger: Trigger
    covers: Sequence[OffsetRun]


def make_reply(to: Addressed, asked: Asked, plan: Plan, written: Written, reply_id: str, now_ms: int) -> bytes:
    """The reply's data, as JSON."""
    *earlier, newest = to.message_ids
    return _encode(ReplyData(
        reply_id=reply_id,
        user_id=to.user,
        conversation_id=to.conversation_id,
        message_id=newest,
        supersedes=tuple(earlier),
        generated_at=timestamp(now_ms),
        trigger=to.trigger,
        covers=tuple(OffsetRange(*run) for run in to.covers),
        action=plan.action,
        text=written.text,
        language=asked.language,
        intent=asked.intent,
        confidence=round(asked.confidence, 4),
        citations=plan.citations,
        model=ModelVersion(*written.model),
        origin=written.origin,
        handover=Handover(plan.handover, _summary(asked, plan, len(to.message_ids))) if plan.handover else None,
    ))


def record_of(data: bytes) -> bytes:
    """The record of a reply, the same byte for byte whenever it is made."""
    reply = decode(data)
    return structured(reply.reply_id, SOURCE, TYPE, reply.generated_at, reply.user_id, data)


def _summary(asked: Asked, plan: Plan, messages: int) -> str:
    """What the person who takes over should know first; the message itself is on the topic, with its customer."""
    parts = [
        f"{messages} message{'s' if messages > 1 else ''} in {asked.language}",
        f"about {asked.intent} ({asked.confidence:.0%} sure)",
        *(citation.quote for citation in plan.citations),
    ]
    return "; ".join(parts)
