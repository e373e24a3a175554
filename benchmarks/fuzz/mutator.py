"""Changes inputs where their structure is: fields dropped, repeated, retyped, nested, grown; headers, keys, modes.

Where an input has no structure any more it is left to the mutations of bytes. All chance comes from the seed that the
fuzzer gives. Never raises, whatever the input.
"""

import json
import random
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import msgspec
from msgspec.structs import replace

from benchmarks.fuzz import examples, oddities
from benchmarks.fuzz.inputs import TIMESTAMPS_MS, Input, Route, pack, unpack

BYTES_SHARE = 0.2  # of mutations that know no structure
FRESH_SHARE = 0.6  # start from an example: what is refused is seldom accepted again, and would soon be all there is
MAX_PARSED_BYTES = 16_384  # longer values are changed as bytes: parsing them would take most of the time
LONG_FRESH_SHARE = 0.9
HUGE_SHARE = 0.004  # of changed values
MAX_SLOTS = 2_000  # places in a value that are looked at
MAX_NODES = 20_000  # that a list may grow to

ByBytes = Callable[[bytes], bytes]
Change = Callable[[Input, random.Random], Input]

RAW = "@raw@"  # where the tree is to hold bytes that no encoder would write
MESSAGES = frozenset({Route.TO_WORKER, Route.TO_AGENT, Route.CONTROL})
EXAMPLES = tuple(examples.inputs())


def mutate(data: bytes, max_size: int, seed: int, by_bytes: ByBytes) -> bytes:
    """One more input, of at most `max_size` bytes. `by_bytes` knows no structure."""
    chance = random.Random(seed)
    if chance.random() < BYTES_SHARE:
        return by_bytes(data)[:max_size]
    long = len(data) > MAX_PARSED_BYTES  # and slow to decode: seldom go on from there
    one = chance.choice(EXAMPLES) if chance.random() < (LONG_FRESH_SHARE if long else FRESH_SHARE) else unpack(data)
    for _ in range(chance.choice((1, 1, 1, 1, 2, 3))):
        change = chance.choices(CHANGES, WEIGHTS)[0]
        try:
            one = change(one, chance)
        except Exception:  # noqa: BLE001 - it has not the structure that this change is for
            one = replace(one, value=by_bytes(one.value or b""))
    try:
        return pack(one)[:max_size]
    except ValueError:
        return by_bytes(data)[:max_size]


def _value(one: Input, chance: random.Random) -> Input:
    """Change the content of a value."""
    packed, value = one.route in MESSAGES, one.value or b""
    if len(value) > MAX_PARSED_BYTES:
        raise ValueError("too long")
    tree = [msgspec.msgpack.decode(value) if packed else json.loads(value)]
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        chance.choice(EDITS)(*chance.choice(_slots(tree)[1:] or [(tree, 0)]), chance)  # all of it only if it is one
    huge = chance.random() < HUGE_SHARE
    if packed:
        raw = chance.choice(oddities.PACKED_HUGE if huge else oddities.PACKED_RAW)
        return replace(one, value=msgspec.msgpack.encode(tree[0]).replace(b"\xa5" + RAW.encode(), raw))
    if chance.random() < 0.8:
        value = json.dumps(tree[0], default=repr).encode()
    else:
        value = json.dumps(tree[0], default=repr, ensure_ascii=False).encode("utf-8", "surrogatepass")
    if chance.random() < 0.05:
        value = value.replace(b"{", b'{"id":1,"item_id":"2",', 1)  # a name twice
    raw = chance.choice(oddities.JSON_HUGE if huge else oddities.JSON_RAW)
    return replace(one, value=value.replace(f'"{RAW}"'.encode(), raw))


# -- what is done at one place of a tree, which is a list or a dict and an index or a name in it


def _slots(tree: Any) -> list[tuple[Any, Any]]:
    slots: list[tuple[Any, Any]] = []
    for node in (open_nodes := [tree]):
        pairs = node.items() if isinstance(node, dict) else enumerate(node)
        for key, child in pairs:
            slots.append((node, key))
            if isinstance(child, (dict, list)):
                open_nodes.append(child)
        if len(slots) > MAX_SLOTS:
            break
    return slots


def _drop(node: Any, key: Any, _: random.Random) -> None:
    if isinstance(node, dict) or key < len(node):
        del node[key]


def _retype(node: Any, key: Any, chance: random.Random) -> None:
    _set(node, key, deepcopy(chance.choice(oddities.ODD)))


def _put_raw(node: Any, key: Any, _: random.Random) -> None:
    _set(node, key, RAW)


def _add_raw(node: Any, _: Any, __: random.Random) -> None:
    """Under a name that nobody reads."""
    node.append(RAW) if isinstance(node, list) else node.setdefault("surprise", RAW)


def _nest(node: Any, key: Any, chance: random.Random) -> None:
    value = _get(node, key)
    _set(node, key, [value] if chance.random() < 0.5 else {"data": value})


def _repeat(node: Any, key: Any, chance: random.Random) -> None:
    value = _get(node, key)
    if isinstance(value, list):
        _set(node, key, _times(value, chance.choice(oddities.TIMES))[: max(oddities.TIMES)])
    elif isinstance(value, str):
        _set(node, key, (value * max(oddities.TIMES))[: chance.choice(oddities.LENGTHS)])


def _times(value: list[Any], times: int) -> list[Any]:
    """Not what is large already: a list of lists of lists would be more than there is memory."""
    nodes = len(_slots([value]))
    return value * min(times, MAX_NODES // nodes) if nodes <= MAX_SLOTS else value


def _move(node: Any, key: Any, chance: random.Random) -> None:
    """Put a value under another name, or under an unknown one."""
    if isinstance(node, dict):
        node[chance.choice((*node, "surprise", "id", "type", "data", "items", "user_id"))] = _get(node, key)
    else:
        node.append(_get(node, key))


def _renew(node: Any, key: Any, chance: random.Random) -> None:
    """Another value of the same type, most often within its bounds."""
    match _get(node, key):
        case bool(value):
            _set(node, key, not value)
        case int() | float():
            number = chance.choice((chance.getrandbits(chance.randrange(1, 80)), chance.random()))
            _set(node, key, number if chance.random() < 0.9 else -number)
        case str():
            _set(node, key, "".join(chance.choices(oddities.ALPHABET, k=chance.choice((1, 5, 40, 256)))))
        case list(value):
            _set(node, key, _times(value, chance.randrange(5)))
        case _:
            _set(node, key, None)


def _get(node: Any, key: Any) -> Any:
    return node.get(key) if isinstance(node, dict) else node[key] if key < len(node) else None


def _set(node: Any, key: Any, value: Any) -> None:
    if isinstance(node, dict) or key < len(node):
        node[key] = value


EDITS = (_drop, _retype, _retype, _put_raw, _add_raw, _nest, _repeat, _move, *[_renew] * 5)

# -- what is done with the rest of a record


def _headers(one: Input, chance: random.Random) -> Input:
    headers = list(one.headers)
    place = chance.randrange(len(headers) + 1)
    odd = chance.choice(oddities.NAMES), chance.choice(oddities.HEADER_VALUES)
    name, value = headers[place] if place < len(headers) else odd
    match chance.randrange(5):
        case 0:
            del headers[place : place + 1]
        case 1:
            headers.insert(chance.randrange(len(headers) + 1), (name, value))
        case 2:
            headers[place : place + 1] = [(odd[0], value)]
        case 3:
            headers[place : place + 1] = [(name, odd[1])]
        case _:
            chance.shuffle(headers)
    return replace(one, headers=tuple(headers))


def _mode(one: Input, chance: random.Random) -> Input:
    """Between structured and binary mode, by what the record itself says."""
    if not any(name == "ce_type" for name, _ in one.headers):
        return examples.binary_mode(one.route, json.loads(one.value or b"{}"))
    names = {name.removeprefix("ce_"): (value or b"").decode() for name, value in one.headers if name.startswith("ce_")}
    value = json.dumps({**names, "data": RAW}).encode().replace(f'"{RAW}"'.encode(), one.value or b"")
    return replace(one, value=value, headers=one.headers[: chance.randrange(2)])


def _record(one: Input, chance: random.Random) -> Input:
    match chance.randrange(4):
        case 0:
            return replace(one, route=chance.choice(tuple(Route)))
        case 1:
            return replace(one, time=chance.randrange(len(TIMESTAMPS_MS)))
        case 2:
            return replace(one, key=chance.choice(oddities.KEYS))
        case _:
            return replace(one, value=None)


def _cut(one: Input, chance: random.Random) -> Input:
    value = one.value or b""
    return replace(one, value=value[: chance.randrange(len(value) + 1)])


def _splice(one: Input, chance: random.Random) -> Input:
    """The first part of one value and the last of another."""
    value, other = one.value or b"", chance.choice(EXAMPLES).value or b""
    return replace(one, value=value[: chance.randrange(len(value) + 1)] + other[chance.randrange(len(other) + 1) :])


CHANGES: tuple[Change, ...] = (_value, _headers, _mode, _record, _cut, _splice)
WEIGHTS = (12, 4, 1, 1, 1, 1)
