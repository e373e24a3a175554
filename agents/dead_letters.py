"""Records that cannot be processed go to `<topic>.dlq`, with the reason in headers; only then are they acknowledged."""

from aiokafka import ConsumerRecord
from aiokafka.errors import MessageSizeTooLargeError

from agents.decoding import Poison
from agents.publisher import Publisher
from schemas.topics import Topic

HEADER = "__streams.errors."
MAX_COPY_BYTES = 1_000_000  # leaves room for key and headers in Kafka's default record limit of 1 MiB
MAX_TRACE_CHARS = 4096


class DeadLetters:
    """Writes dead letters; knows which topics' bytes may be copied."""

    def __init__(self, publisher: Publisher, prefix: str, sources: tuple[Topic, ...]) -> None:
        self._publisher = publisher
        self._copies = {source.full_name(prefix): source.copies_bytes for source in sources}
        self.count = 0

    async def send(self, record: ConsumerRecord, poison: Poison) -> None:
        """Deliver one dead letter; returns when Kafka has it."""
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
        headers = [*record.headers, *((HEADER + name, text.encode()) for name, text in reasons.items())]
        topic = f"{record.topic}.dlq"
        try:
            await self._publisher.deliver(topic, record.key, value, headers)
        except MessageSizeTooLargeError:  # the broker's limit is below ours
            await self._publisher.deliver(topic, record.key, b"", headers)
        self.count += 1
