"""Hop 2: bytes to an event, or to `Poison`. Never raises, whatever the bytes are."""

import traceback
from typing import Any, Generic, TypeVar

import msgspec
from aiokafka import ConsumerRecord

from schemas import events
from schemas.topics import CLICKSTREAM, PURCHASES

Event = TypeVar("Event", bound=events.Envelope)

MAX_RECORD_BYTES = 262_144  # a click is 1 kB and a big basket 100 kB; more is a mistake, not an event
MAX_CLOCK_AHEAD_MS = 300_000
CLOUDEVENTS_HEADER = "ce_"


class RecordError(ValueError):
    """The record as a whole cannot be an event."""


class Poison:
    """A record that is not an event, and why. Goes to the dead letters."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def stacktrace(self) -> str:
        return "".join(traceback.format_exception(self.error, limit=8))


class EventDecoder(Generic[Event]):
    """Decodes the records of one topic into the event types that it may hold."""

    def __init__(self, event_types: Any) -> None:
        self._event_types = event_types
        self._decode = msgspec.json.Decoder(event_types).decode

    def __call__(self, record: ConsumerRecord) -> Event | Poison:
        event: Event
        try:
            value = record.value
            if value is None:
                return Poison(RecordError("no value; only compacted topics withdraw"))
            if len(value) > MAX_RECORD_BYTES:
                return Poison(RecordError(f"the record has {len(value)} bytes; at most {MAX_RECORD_BYTES} are read"))
            if record.headers and any(name == "ce_type" for name, _ in record.headers):
                event = self._decode_binary_mode(record)
            else:
                event = self._decode(value)
        except Exception as error:  # noqa: BLE001 - anything at all, RecursionError included, is the record's fault
            return Poison(error)
        if not event.holds_json:
            return Poison(RecordError(f"datacontenttype {event.datacontenttype!r}; only {events.JSON_TYPE} is read"))
        return event

    def _decode_binary_mode(self, record: ConsumerRecord) -> Event:
        envelope: dict[str, Any] = {
            name.removeprefix(CLOUDEVENTS_HEADER): value.decode()
            for name, value in record.headers if name.startswith(CLOUDEVENTS_HEADER) and value is not None
        }
        envelope["data"] = msgspec.json.decode(record.value)
        event: Event = msgspec.convert(envelope, self._event_types)
        return event


def customer_decoders(prefix: str) -> dict[str, EventDecoder[events.CustomerEvent]]:
    """The decoders of what customers do, by topic."""
    return {
        CLICKSTREAM.full_name(prefix): EventDecoder(events.Click),
        PURCHASES.full_name(prefix): EventDecoder(events.PurchaseEvent),
    }


def event_time_ms(event_time_s: float, record_timestamp_ms: int) -> int:
    """When it happened. A clock that runs ahead of the record's own time by over 5 minutes is not believed.

    What is dated before 1970 counts as of 1970: the users' state knows no earlier time.
    """
    time_ms = int(event_time_s * 1000)
    if 0 <= record_timestamp_ms < time_ms - MAX_CLOCK_AHEAD_MS:  # a record may come without a timestamp, as -1
        return record_timestamp_ms
    return max(0, time_ms)
