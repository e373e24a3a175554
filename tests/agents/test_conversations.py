"""A message is answered once, whoever asks and however often; and the third turn is known as such."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from agents.state.changes import event_id
from agents.state.connection import connect
from agents.state.conversations import ConversationStore, FinalReply, Standing, Turn
from footfall.stack import Stack
from schemas import keys

pytestmark = pytest.mark.stack


@pytest.fixture
def store(redis: Redis, stack: Stack) -> ConversationStore:
    return ConversationStore(redis, stack.settings)


def message(user: str, number: int, *, consent: bool = True) -> Turn:
    return Turn(user, "c-1", event_id("app", str(number)), consent=consent)


def resolved(user: str, number: int) -> Turn:
    return Turn(user, "c-1", event_id("app", str(number)), "resolved")


def reply(user: str, sequence: int, text: str, order_id: str = "", handed_over: str = "") -> FinalReply:
    return FinalReply(user, "c-1", sequence, text.encode(), "order_status", order_id, handed_over)


async def test_a_redelivered_message_keeps_its_place_and_finds_its_reply(store: ConversationStore, prefix: str) -> None:
    first, second = await store.receive([message(prefix, 1), message(prefix, 2)])
    assert (first.sequence, second.sequence) == (1, 2)
    assert not first.is_answered
    assert await store.finish([reply(prefix, 2, "both", order_id="4411")]) == [None]
    again, newest = await store.receive([message(prefix, 1), message(prefix, 2)])
    assert again == Standing(1, 2, 1, "order_status", "4411", "", b"both")
    assert again.is_answered
    assert newest.is_answered


async def test_of_two_replies_to_one_message_the_first_stays_and_the_second_is_told(
    store: ConversationStore, prefix: str
) -> None:
    await store.receive([message(prefix, 1), message(prefix, 2)])
    assert await store.finish([reply(prefix, 2, "first")]) == [None]
    assert await store.finish([reply(prefix, 2, "second"), reply(prefix, 1, "late")]) == [b"first", b"first"]
    (standing,) = await store.receive([message(prefix, 2)])
    assert (standing.reply, standing.turns) == (b"first", 1)


async def test_what_was_answered_and_has_expired_is_not_answered_again(
    store: ConversationStore, redis: Redis, prefix: str
) -> None:
    await store.receive([message(prefix, 1)])
    await store.finish([reply(prefix, 1, "once")])
    await redis.delete(keys.reply(prefix, "c-1"))
    assert await store.finish([reply(prefix, 1, "twice")]) == [b""]
    (standing,) = await store.receive([message(prefix, 1)])
    assert standing.is_answered
    assert standing.reply is None


async def test_a_resolved_conversation_begins_anew_and_its_messages_stay_answered(
    store: ConversationStore, prefix: str
) -> None:
    await store.receive([message(prefix, 1)])
    await store.finish([reply(prefix, 1, "a person comes", handed_over="legal", order_id="4411")])
    (before, over, after) = await store.receive([message(prefix, 2), resolved(prefix, 3), message(prefix, 4)])
    assert (before.handed_over, before.turns) == ("legal", 1)
    assert (over.handed_over, over.turns, over.order_id) == ("", 0, "")
    assert (after.sequence, after.turns, after.handed_over) == (4, 0, "")
    (again,) = await store.receive([resolved(prefix, 3)])
    assert again.sequence == 3
    assert (await store.receive([message(prefix, 1)]))[0].is_answered


async def test_without_consent_nothing_outlives_the_session(
    store: ConversationStore, redis: Redis, stack: Stack, prefix: str
) -> None:
    await store.receive([message(prefix, 1, consent=False)])
    await store.finish([FinalReply(prefix, "c-1", 1, b"{}", "order_status", consent=False)])
    for key in (keys.conversation(prefix, "c-1"), keys.reply(prefix, "c-1")):
        assert 0 < await redis.ttl(key) <= stack.settings.session_ttl_s


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


class Twin:
    """The same in Python, event by event."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.answered = self.turns = 0
        self.reply: bytes | None = None

    def receive(self, number: int, *, is_end: bool) -> tuple[int, int, int, bytes | None]:
        if number not in self.seen:
            self.seen.append(number)
            self.turns = 0 if is_end else self.turns
        return self.seen.index(number) + 1, self.answered, self.turns, self.reply

    def finish(self, sequence: int, data: bytes) -> bytes | None:
        if sequence <= self.answered:
            return self.reply
        self.answered, self.turns, self.reply = sequence, self.turns + 1, data
        return None


STEPS = st.lists(st.tuples(st.sampled_from(["message", "resolved", "finish"]), st.integers(1, 6)), max_size=25)


def test_the_scripts_and_their_twin_agree_after_every_step(
    runner: asyncio.Runner, stack: Stack, prefix: str
) -> None:
    redis = connect(stack.settings.redis_url)
    store, names = ConversationStore(redis, stack.settings), iter(range(10**9))

    async def play(steps: list[tuple[str, int]]) -> None:
        twin, user = Twin(), f"{prefix}-{next(names)}"
        for step, (kind, number) in enumerate(steps):
            if kind == "finish":
                data = b"%d" % step
                assert await store.finish([reply(user, number, data.decode())]) == [twin.finish(number, data)]
            else:
                is_end = kind == "resolved"
                turn = resolved(user, number + 10) if is_end else message(user, number)
                expected = twin.receive(number + 10 if is_end else number, is_end=is_end)
                (standing,) = await store.receive([turn])
                assert (standing.sequence, standing.answered, standing.turns, standing.reply) == expected

    @settings(
        max_examples=40, deadline=None, derandomize=True, database=None, phases=(Phase.explicit, Phase.generate),
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(STEPS)
    def agree(steps: list[tuple[str, int]]) -> None:
        runner.run(play(steps))

    agree()
    runner.run(redis.aclose())
