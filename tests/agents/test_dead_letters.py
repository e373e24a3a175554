"""A dead letter arrives whatever its source record is like: what does not fit stays behind, the place never does."""

from typing import cast

import pytest
from aiokafka.errors import MessageSizeTooLargeError

from agents.dead_letters import HEADER, DeadLetters
from agents.decoding import Poison
from agents.publisher import Headers, Publisher
from schemas.topics import CLICKSTREAM, SUPPORT_MESSAGES
from tests.doubles import record

LIMIT_BYTES = 1_048_576  # Kafka's default


class Topic:
    """Takes records up to a size, as a broker does."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.records: list[tuple[bytes | None, bytes, dict[str, bytes]]] = []

    async def deliver(self, topic: str, key: bytes | None, value: bytes, headers: Headers) -> None:
        size = len(key or b"") + len(value) + sum(len(name.encode()) + len(content) for name, content in headers)
        if size > self._limit:
            raise MessageSizeTooLargeError
        self.records.append((key, value, dict(headers)))


async def sent(
    value: bytes, key: bytes = b"17", headers: Headers | None = None, limit: int = LIMIT_BYTES
) -> tuple[bytes | None, bytes, dict[str, bytes]]:
    topic = Topic(limit)
    letters = DeadLetters(cast("Publisher", topic), "retail", (CLICKSTREAM,))
    await letters.send(record(value, key=key, headers=headers or (), offset=9), Poison(ValueError("no")))
    (letter,) = topic.records
    assert letter[2][HEADER + "offset"] == b"9"
    assert letters.count == 1
    return letter


async def test_a_letter_has_the_bytes_the_key_and_the_headers_of_its_source() -> None:
    key, value, headers = await sent(b"nope", headers=[("trace", b"t")])
    assert (key, value, headers["trace"]) == (b"17", b"nope", b"t")


async def test_bytes_that_do_not_fit_are_left_out() -> None:
    key, value, headers = await sent(bytes(900_000), headers=[("trace", b"t")], limit=500_000)
    assert (key, value, headers["trace"]) == (b"17", b"", b"t")


async def test_headers_that_do_not_fit_together_with_ours_are_left_out() -> None:
    key, value, headers = await sent(b"nope", headers=[("trace", bytes(LIMIT_BYTES - 200))])
    assert (key, value) == (b"17", b"")
    assert "trace" not in headers


async def test_a_key_that_does_not_fit_together_with_our_headers_is_left_out() -> None:
    key, value, _ = await sent(b"nope", key=bytes(LIMIT_BYTES - 50))
    assert (key, value) == (None, b"")


async def test_a_topic_that_takes_no_letter_at_all_is_an_error() -> None:
    with pytest.raises(MessageSizeTooLargeError):
        await sent(b"nope", limit=10)


async def test_what_a_customer_wrote_is_not_copied() -> None:
    topic = Topic(LIMIT_BYTES)
    letters = DeadLetters(cast("Publisher", topic), "retail", (SUPPORT_MESSAGES,))
    source = record(b'{"text": "my card is 4111"}', topic=SUPPORT_MESSAGES.full_name("retail"), offset=9)
    await letters.send(source, Poison(ValueError("no")))
    ((_, value, headers),) = topic.records
    assert value == b""
    assert (headers[HEADER + "topic"], headers[HEADER + "offset"]) == (b"retail.support-messages.v1", b"9")
