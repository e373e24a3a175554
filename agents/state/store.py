"""The users' state in Redis: apply events, read it, store results. Every call here may be repeated without harm."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw, Struct
from redis.asyncio import Redis

from agents.ack_window import OffsetRun, Partition
from agents.state.changes import Change, changes_of_history
from agents.state.connection import send_all
from agents.state.scripts import Script, while_away
from agents.state.snapshots import Changed, Snapshot, Snapshots, after
from schemas import keys
from schemas.inference import user_state_decoder
from schemas.results import Trigger
from schemas.settings import Settings

FOLDER = Path(__file__).parent


class UserChanges(Struct, frozen=True):
    """The events of one user in one chunk, in order. `session`: without consent, only for this session."""

    user: str
    changes: Sequence[Change] = ()
    ids: bytes = b""
    session: str | None = None
    runs: Sequence[OffsetRun] = ()  # the records that the changes came in
    linking: str = ""  # the visitor whose history these changes are; of a visitor, the user who gets the history


class Applied(Struct, frozen=True, array_like=True, gc=False):
    """What apply.lua returns. `state` is a packed `schemas.inference.UserState`, for the worker to decode."""

    version: int
    event_time_ms: int
    new_events: int
    result_version: int
    covers: tuple[OffsetRun, ...]  # what a result must cover besides its own records; whether others did is not known
    linked: str
    state: Raw


class _Difference(Applied, frozen=True, array_like=True, gc=False):
    """What apply.lua returns to who remembers the state: `state` holds its new lines only."""

    changed: Changed | None


class Debt(NamedTuple):
    """What is needed to ask the model later for a user who got a fallback.

    `partition`: of the record that it answered. Who owns it answers the user, and nobody else.
    """

    partition: Partition
    session: str | None
    trigger: Trigger
    trigger_time_ms: int
    looked_at: tuple[str, ...]


class StoredResult(Struct, frozen=True):
    """A result to be stored: `data` is the JSON that readers get."""

    user: str
    version: int
    data: bytes
    session: str | None
    covers: tuple[OffsetRun, ...] = ()


_decode_debt = msgspec.msgpack.Decoder(Debt).decode
_encode = msgspec.msgpack.Encoder().encode
_decode_applied = msgspec.msgpack.Decoder(Applied).decode
_decode_difference = msgspec.msgpack.Decoder(_Difference).decode
_DIFFERENCE = 0x98  # how an array of 8 begins


class UserStore:
    """All of Redis that belongs to users. Correct whichever process calls it, and however often."""

    def __init__(self, redis: Redis, settings: Settings, snapshots: Snapshots | None = None) -> None:
        self._redis = redis
        self._ttl_s = settings.user_ttl_s
        self._session_ttl_s = settings.session_ttl_s
        self._apply = Script(redis, FOLDER / "apply.lua")
        self._finish = Script(redis, FOLDER / "finish.lua")
        self._forget = Script(redis, FOLDER / "forget.lua")
        self._snapshots = Snapshots() if snapshots is None else snapshots

    async def apply(self, batch: Sequence[UserChanges]) -> list[Applied]:
        """Apply each user's events, and return each user's state after them. One pipeline."""
        if not batch:
            return []
        before = [self._snapshots.get(user.user, user.session) for user in batch]
        answers = await self._apply.call_each(list(map(self._apply_call, batch, before)))
        return list(map(self._applied, batch, before, answers))

    async def link(self, user: str, visitor: str) -> Applied:
        """Give the visitor's history to the user who logged in, and forget the visitor's own copy.

        What stays of the visitor are the version and the seen ids: versions never fall, and events count once. Whom
        the visitor was linked to before is no longer: the next login of that user links again.
        """
        meta, *parts, _ = self._state_keys(visitor, None)
        last: Any = await while_away(lambda: self._redis.hget(meta, "linked"))
        if last is not None and last.decode() != user:
            await self.unlink(last.decode(), visitor)
        while True:
            (before,) = await self.apply([UserChanges(visitor, linking=user)])
            changes = changes_of_history(user_state_decoder.decode(before.state).history)
            (applied,) = await self.apply([UserChanges(
                user, tuple(change for _, change in changes), b"".join(seen_as for seen_as, _ in changes),
                linking=visitor,
            )])
            # another process may own the visitor's partition, and have applied an event meanwhile
            (forgotten,) = await self._forget.call_each([
                (5, meta, *parts, keys.recommendations(visitor), before.version)
            ])
            if forgotten:
                return applied

    async def unlink(self, user: str, visitor: str) -> None:
        """Have the next login link again: the visitor did something after the last one."""
        async def forget() -> None:
            await self._redis.hdel(f"{keys.user(user)}:meta", "linked")
            await self._redis.hdel(f"{keys.user(visitor)}:meta", "linked")

        await while_away(forget)

    async def store_results(self, results: Sequence[StoredResult]) -> list[bool]:
        """Store each unless a newer one is stored. Returns which were: only those may be sent. One pipeline."""
        answers = await self._finish.call_each([
            (2, f"{keys.user(result.user)}:meta", keys.recommendations(result.user), result.version, result.data,
             self._ttl_s if result.session is None else self._session_ttl_s, _encode(result.covers))
            for result in results
        ])
        return [answer == 1 for answer in answers]

    async def results_of(self, users: Sequence[str]) -> list[bytes | None]:
        """The stored results, as stored."""
        gets = [("GET", keys.recommendations(user)) for user in users]
        return await while_away(lambda: send_all(self._redis, gets)) if users else []

    async def note_debts(self, debts: Mapping[str, Debt], over: Mapping[str, Partition]) -> None:
        """Note whom the model owes an answer, for the next owner, and forget who has it or will have none.

        Sessions without consent are not written down.
        """
        kept = [(keys.owed(*debt.partition), user, debt) for user, debt in debts.items() if debt.session is None]
        commands: list[tuple[Any, ...]] = [("HDEL", keys.owed(*partition), user) for user, partition in over.items()]
        commands += [("HSET", key, user, _encode(debt)) for key, user, debt in kept]
        commands += [("EXPIRE", key, self._ttl_s) for key in {key for key, _, _ in kept}]
        await while_away(lambda: send_all(self._redis, commands))

    async def debts_of(self, partitions: Collection[Partition]) -> dict[str, Debt]:
        """What was noted by the owners of these partitions before."""
        async def read() -> list[dict[bytes, bytes]]:
            pipeline = self._redis.pipeline(transaction=False)
            for partition in partitions:
                pipeline.hgetall(keys.owed(*partition))
            found: list[dict[bytes, bytes]] = await pipeline.execute()
            return found

        return {
            user.decode(): _decode_debt(debt) for noted in await while_away(read) for user, debt in noted.items()
        }

    def _apply_call(self, user: UserChanges, before: Snapshot | None) -> tuple[Any, ...]:
        session = user.session is not None
        return (
            5, *self._state_keys(user.user, user.session),
            self._session_ttl_s if session else self._ttl_s, "1" if session else "0",
            _encode(user.changes), user.ids, user.linking, _encode(user.runs) if user.runs else b"",
            *((before.version, before.last_event) if before else (b"", b"")),
        )

    def _applied(self, user: UserChanges, before: Snapshot | None, answer: bytes) -> Applied:
        if before is not None and answer[0] == _DIFFERENCE:
            told = _decode_difference(answer)
            applied = Applied(
                told.version, told.event_time_ms, told.new_events, told.result_version, told.covers, told.linked,
                after(before.state, told.state, told.changed),
            )
        else:
            applied = _decode_applied(answer)
        if applied.new_events:
            self._remember(user, applied)
        return applied

    def _remember(self, user: UserChanges, applied: Applied) -> None:
        if applied.new_events < len(user.changes):  # which event was the last is not known
            self._snapshots.drop(user.user, user.session)
            return
        ttl_s = self._ttl_s if user.session is None else self._session_ttl_s
        self._snapshots.put(user.user, user.session, applied.version, user.ids[-8:], ttl_s, applied.state)

    @staticmethod
    def _state_keys(user: str, session: str | None) -> tuple[str, ...]:
        prefix = keys.user(user)
        scope = prefix if session is None else f"{prefix}:session:{session}"
        return f"{prefix}:meta", f"{scope}:history", f"{scope}:counters", f"{scope}:cart", f"{scope}:seen"
