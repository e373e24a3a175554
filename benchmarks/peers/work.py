"""What every peer does with an event, whatever it is built on: the bytes in, the model, the bytes out.

Shared, so that peers differ in nothing else: records come as bytes, one decoder reads of them what is needed, one call
runs the model on a batch, one result per event goes to Redis and, as a record, to the output topic.
"""

import threading
import time
from collections.abc import Sequence

import msgspec
from msgspec import Struct

MAX_BATCH = 256  # events in a batch
WAIT_S = 0.02  # for a batch to fill, where a peer has such a setting
SESSION_TIMEOUT_S = 6.0
ANSWERS = 1000


class Task(Struct, frozen=True, kw_only=True):
    """What a peer is to do. `run` names its consumer group and its keys, so that every run starts afresh."""

    bootstrap_servers: str
    redis_url: str
    prefix: str
    source: str  # topic
    sink: str  # topic
    run: str
    service_ms: float  # of a batch

    @property
    def group(self) -> str:
        return f"{self.prefix}.{self.run}"


class _Item(Struct, gc=False):
    item_id: str


class _Data(Struct, gc=False):
    user_id: str
    items: tuple[_Item, ...]


class Click(Struct, gc=False):
    """The part of a click that is used."""

    id: str
    data: _Data


decode_click = msgspec.json.Decoder(Click).decode


class Model:
    """One serial device: it answers a batch after `service_ms`, with about 150 bytes for each event.

    For peers that call the model in their own process. Footfall's worker serves `model_core.stub`, which takes as long
    and answers the like.
    """

    def __init__(self, service_ms: float) -> None:
        self._service_s = service_ms / 1000
        self._device = threading.Lock()
        self._answers = [_answer(number) for number in range(ANSWERS)]

    def __call__(self, clicks: Sequence[Click]) -> list[bytes]:
        if self._service_s:
            with self._device:  # one batch after the other, whichever threads ask
                time.sleep(self._service_s)
        answers = self._answers
        return [answers[int(click.data.items[0].item_id) % ANSWERS] for click in clicks]


def _answer(number: int) -> bytes:
    return b",".join(
        b'{"item_id":"%d","score":%.1f,"reason":{"kind":"repeat","evidence":["%d"]}}' % (item, 1 / rank, item)
        for rank, item in enumerate((number, (number + 1) % ANSWERS), 1)
    )


def result_key(run: str, user: str) -> str:
    """Where Redis has a user's newest result."""
    return f"user:{{{user}}}:{run}"


def result_of(event_id: str, user: str, answer: bytes) -> bytes:
    """What Redis and the output topic get."""
    return b'{"id":"%b","user_id":"%b","items":[%b]}' % (event_id.encode(), user.encode(), answer)
