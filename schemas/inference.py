"""Messages between the agents and a worker, over ZeroMQ: two frames, `PROTOCOL` and one msgpack message.

A peer that speaks another protocol is answered with `Refused`; nothing else of it is decoded. The agent dials
(DEALER), the worker listens (ROUTER). Deadlines travel as the budget that is left, since hosts share no clock.
"""

from collections.abc import Sequence
from typing import TypeAlias

import msgspec
from msgspec import Raw, Struct

from schemas.results import RecommendedItem

PROTOCOL = b"footfall/4"  # 4: models of several kinds, so requests say of which they are
MAX_CANDIDATES = 64
SEPARATOR = "\x1f"  # between item ids; ASCII has it for that

_encode_item = msgspec.json.Encoder().encode
_decode_item = msgspec.json.Decoder(RecommendedItem).decode


class UserState(Struct, frozen=True, array_like=True, gc=False):
    """What the model reads of one user, exactly as agents/state/apply.lua packs it.

    `history`: alternately member `<type>:<item_id>:<16 hex>` and its event time in ms, newest first.
    `counter_items`: items the user bought, N of them. `counter_values`: N x 3 little-endian float64:
    decayed count with half-life 30 d, with half-life 200 d, and the event time in ms that both are decayed to.
    `cart`: alternately item and event time in ms, negative once it was taken out or bought.
    """

    history: tuple[str, ...]
    counter_items: tuple[str, ...]
    counter_values: bytes
    cart: tuple[str, ...]


class RecommendRequest(Struct, frozen=True, array_like=True, gc=False, tag="recommend"):
    """One user to be scored as of `now_ms`. `state` is a packed `UserState`, forwarded without decoding."""

    id: int
    budget_ms: int
    now_ms: int
    state: Raw


class RecommendResult(Struct, frozen=True, array_like=True, gc=False, tag="result"):
    """At most 64 candidates, best first.

    `items`: a line for each, a `schemas.results.RecommendedItem` as JSON, the way readers get it. The agent chooses by
    `ids`, mostly the first third of them, and joins lines, at a seventh of the CPU that a list of structs would cost.
    """

    id: int
    ids: str  # of the items, with a `SEPARATOR` between two
    items: bytes

    @classmethod
    def of(cls, request_id: int, candidates: Sequence[RecommendedItem]) -> "RecommendResult":
        """Pack candidates.

        Raises `ValueError` for more than 64 of them, an item twice, or an id that holds a `SEPARATOR`.
        """
        item_ids = [candidate.item_id for candidate in candidates]
        if not len(set(item_ids)) == len(item_ids) <= MAX_CANDIDATES:
            raise ValueError(f"{len(candidates)} candidates: give at most {MAX_CANDIDATES} distinct items")
        if SEPARATOR in "".join(item_ids):
            raise ValueError("an item id holds the control character U+001F, which stands between ids")
        return cls(request_id, SEPARATOR.join(item_ids), b"\n".join([_encode_item(each) for each in candidates]))

    @property
    def item_ids(self) -> list[str]:
        """`ids`, apart."""
        return self.ids.split(SEPARATOR) if self.ids else []

    @property
    def candidates(self) -> list[RecommendedItem]:
        """`items`, decoded."""
        return [_decode_item(line) for line in self.items.splitlines()]


class EncodeRequest(Struct, frozen=True, array_like=True, gc=False, tag="encode"):
    """A text to be understood: what it is about, and where it lies among other texts."""

    id: int
    budget_ms: int
    text: str


class EncodeResult(Struct, frozen=True, array_like=True, gc=False, tag="encoded"):
    """`vector`: float32, little-endian, of length 1. `intents`: the likeliest first, with calibrated probabilities."""

    id: int
    vector: bytes
    intents: tuple[tuple[str, float], ...]


class GenerateRequest(Struct, frozen=True, array_like=True, gc=False, tag="generate"):
    """A text to be written. `messages`: (role, content) as chat templates take them; at most `max_tokens` come back."""

    id: int
    budget_ms: int
    messages: tuple[tuple[str, str], ...]
    max_tokens: int


class GenerateResult(Struct, frozen=True, array_like=True, gc=False, tag="generated"):
    """`tokens`: of the text. `complete`: the model ended it, and not the limit."""

    id: int
    text: str
    tokens: int
    complete: bool


class Failure(Struct, frozen=True, array_like=True, gc=False, tag="failure"):
    """The model cannot answer this request, now or ever: `error` says why (no personal data)."""

    id: int
    error: str


class Shed(Struct, frozen=True, array_like=True, gc=False, tag="shed"):
    """The request was dropped before the model saw it, since its budget was spent. It may be sent again."""

    id: int


Request: TypeAlias = RecommendRequest | EncodeRequest | GenerateRequest
Result: TypeAlias = RecommendResult | EncodeResult | GenerateResult
Reply: TypeAlias = Result | Failure | Shed


# agent -> worker
class Hello(Struct, frozen=True, array_like=True, tag="hello"):
    client: str


class Submit(Struct, frozen=True, array_like=True, tag="submit"):
    """Requests for one model. `epoch` is the worker's, from `Ready`; requests of an older epoch are dropped."""

    epoch: str
    model: str
    requests: tuple[Request, ...]


class Cancel(Struct, frozen=True, array_like=True, tag="cancel"):
    ids: tuple[int, ...]


class Ping(Struct, frozen=True, array_like=True, tag="ping"):
    n: int


ToWorker: TypeAlias = Hello | Submit | Cancel | Ping


# worker -> agent
class ModelInfo(Struct, frozen=True, array_like=True):
    """A model that the worker serves. `popular`: its fallback list, best first (at most 100 item ids).

    `notes`: how it is served there, for people, such as the recall of an approximate index.
    """

    name: str
    version: str
    popular: tuple[str, ...]
    notes: str = ""


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The models are loaded and warm. `max_in_flight` bounds what one client may have outstanding."""

    epoch: str
    models: tuple[ModelInfo, ...]
    max_in_flight: int


class Replies(Struct, frozen=True, array_like=True, tag="replies"):
    """`version`: of the model that ran these; empty where none was asked."""

    epoch: str
    version: str
    replies: tuple[Reply, ...]


class Updated(Struct, frozen=True, array_like=True, tag="updated"):
    """From here on the worker serves this model, in place of the one of its name. What it holds stays in its hands."""

    epoch: str
    model: ModelInfo


class Pong(Struct, frozen=True, array_like=True, tag="pong"):
    n: int


class Draining(Struct, frozen=True, array_like=True, tag="draining"):
    """The worker finishes what it has and leaves: send nothing more, submit the unanswered elsewhere."""

    epoch: str


class Goodbye(Struct, frozen=True, array_like=True, tag="goodbye"):
    """The last message of a worker that drained: whatever it has not answered it never will."""

    epoch: str


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    reason: str


ToAgent: TypeAlias = Ready | Replies | Updated | Pong | Draining | Goodbye | Refused

to_worker_encoder = msgspec.msgpack.Encoder()
to_worker_decoder: msgspec.msgpack.Decoder[ToWorker] = msgspec.msgpack.Decoder(ToWorker)
to_agent_encoder = msgspec.msgpack.Encoder()
to_agent_decoder: msgspec.msgpack.Decoder[ToAgent] = msgspec.msgpack.Decoder(ToAgent)
user_state_decoder = msgspec.msgpack.Decoder(UserState)


def history_lines(state: Raw) -> int:
    """Of a packed `UserState`, undecoded: half the length of its first array; 1 where it does not begin with one."""
    head = memoryview(state)[1:4].tobytes()
    if head[:1] == b"\xdc":  # array 16
        return int.from_bytes(head[1:3], "big") // 2
    return (head[0] & 0x0F) // 2 if head and head[0] >> 4 == 0x9 else 1
