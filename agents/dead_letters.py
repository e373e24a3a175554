"""Records that cannot be processed go to `<topic>.dlq`, with the reason in headers; only then are they acknowledged."""

from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError

from agents.decoding import Poison
from agents.publisher import Publisher
from schemas.topics import Topic

HEADER = "__streams.errors."
MAX_COPY_BYTES = 1_000_000  # leaves room for key and headers in Kafka's default record limit of 1 MiB
MAX_KEY_BYTES = 4096  # of a record that fits only without its headers
MAX_TRACE_CHARS = 4096


class DeadLetters:
    """Writes dead letters; knows which topics' bytes may be copied."""

    def __init__(self, publisher: Publisher, prefix: str, sources: tuple[Topic, ...]) -> None:
        self._publisher = publisher
        self._copies = {source.full_name(prefix): source.copies_bytes for source in sources}
        self.count = 0

    async def send(self, record: ConsumerRecord, poison: Poison) -> None:
        """Deliver one dead letter; returns when Kafka has it.

        What does not fit is left out: bytes, then headers and an overlong key; our headers say where the source is.
        Raises MessageSizeTooLargeError when not even those fit.
        """
        value = record.value or b""
        if len(value) > MAX_COPY_BYTES or not self._copies[record.topic]:
            value = b""  # the headers say where the source record is
        reasons = {
            "exception": type(poison.error).__qualname__,
            "message": str(poison.error)[:MAX_TRACE_CHARS],
            "stacktrace": poison.stacktrace[:MAX_TRACE_CHARS],
            "topic": record.topic,
            "partition": str(record.partition),
            "offset": str(record.offset),
        }
        ours = [(HEADER + name, text.encode()) for name, text in reasons.items()]
        headers = [*record.headers, *ours]
        short_key = record.key if len(record.key or b"") <= MAX_KEY_BYTES else None
        for key, copy, attached in ((record.key, value, headers), (record.key, b"", headers), (short_key, b"", ours)):
            try:
                await self._publisher.deliver(f"{record.topic}.dlq", key, copy, attached)
            except MessageSizeTooLargeError as error:
                too_large = error  # with our headers, or since the broker's limit is below ours
            else:
                self.count += 1
                return
        raise too_large
