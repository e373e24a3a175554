"""Conversations in Redis: which message is the how-manieth, and what was answered. Holds replies, never what was asked.

Every call may be repeated, by any process: a message that was answered is answered by the stored reply for ever, so no
second one is written, however long the first took and whoever owns the partition by then.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct
from redis.asyncio import Redis

from agents.state.scripts import Script
from schemas import keys
from schemas.settings import Settings

FOLDER = Path(__file__).parent


class Turn(Struct, frozen=True):
    """An event of a conversation. `seen_as`: its `changes.event_id`. Without consent it is kept for a session only."""

    user: str
    conversation_id: str
    seen_as: bytes
    kind: Literal["message", "resolved"] = "message"
    consent: bool = True


class Standing(Struct, frozen=True):
    """How far a conversation is. `turns`: replies since it was resolved; `intent` and `order_id`: of the last one."""

    sequence: int
    answered: int
    turns: int
    intent: str
    order_id: str
    handed_over: str
    reply: bytes | None

    @property
    def is_answered(self) -> bool:
        """Whether the latest reply answers this event: then `reply` is that one, unless it has expired."""
        return self.sequence <= self.answered


class FinalReply(Struct, frozen=True):
    """A reply to be stored: `data` is the JSON that readers get, `sequence` of the newest message that it answers."""

    user: str
    conversation_id: str
    sequence: int
    data: bytes
    intent: str
    order_id: str = ""
    handed_over: str = ""
    consent: bool = True


class ConversationStore:
    """All of Redis that belongs to conversations."""

    def __init__(self, redis: Redis, settings: Settings) -> None:
        self._ttl_s = {True: settings.user_ttl_s, False: settings.session_ttl_s}
        self._receive = Script(redis, FOLDER / "conversation.lua")
        self._finish = Script(redis, FOLDER / "reply.lua")

    async def receive(self, turns: Sequence[Turn]) -> list[Standing]:
        """Note events in order. One pipeline."""
        answers: list[list[Any]] = await self._receive.call_each([
            (2, *_keys(turn.user, turn.conversation_id), turn.seen_as, turn.kind, self._ttl_s[turn.consent])
            for turn in turns
        ]) if turns else []
        return [
            Standing(own, answered, count, intent.decode(), order_id.decode(), handed_over.decode(), reply)
            for own, answered, count, intent, order_id, handed_over, reply in answers
        ]

    async def finish(self, replies: Sequence[FinalReply]) -> list[bytes | None]:
        """Store each, unless its message was answered meanwhile: then that reply is returned, b"" if it has expired."""
        return await self._finish.call_each([
            (2, *_keys(reply.user, reply.conversation_id), reply.sequence, reply.data, self._ttl_s[reply.consent],
             reply.intent, reply.order_id, reply.handed_over)
            for reply in replies
        ]) if replies else []


def _keys(user: str, conversation_id: str) -> tuple[str, str]:
    return keys.conversation(user, conversation_id), keys.reply(user, conversation_id)
