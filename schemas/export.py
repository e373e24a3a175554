"""JSON Schema (2020-12) for each event and result, and one AsyncAPI 3.0 document for the topics that carry them.

Both are generated from the types and the topic table, so they cannot say anything else than the decoder does. What
msgspec checks in code rather than in types (`UserData.__post_init__`) is added by `_USER_RULES`. Messages between
agents and workers do not cross Kafka and are not part of it.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import msgspec

from schemas.events import VISITOR_PREFIX, Click, Item, Order, PurchaseEvent, StockLevel, SupportEvent, UserData
from schemas.results import Recommendations, SupportReply
from schemas.topics import (
    CATALOG,
    CLICKSTREAM,
    DAY_MS,
    INVENTORY,
    ORDERS,
    PURCHASES,
    RECOMMENDATIONS,
    REPLIES,
    SUPPORT_MESSAGES,
    TOPICS,
    VERSION,
    Topic,
)

Json = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

VALUES: Mapping[Topic, tuple[type[msgspec.Struct], ...]] = {
    CLICKSTREAM: get_args(Click),
    PURCHASES: get_args(PurchaseEvent),
    CATALOG: (Item,),
    INVENTORY: (StockLevel,),
    SUPPORT_MESSAGES: get_args(SupportEvent),
    ORDERS: (Order,),
    RECOMMENDATIONS: (Recommendations,),
    REPLIES: (SupportReply,),
}

READS: Mapping[str, tuple[Topic, ...]] = {
    "recommend": (CLICKSTREAM, PURCHASES),
    "reply": (SUPPORT_MESSAGES,),
    "facts": (CATALOG, INVENTORY, ORDERS),
}
WRITES: Mapping[str, tuple[Topic, ...]] = {"recommend": (RECOMMENDATIONS,), "reply": (REPLIES,), "facts": ()}

_USER_RULES: Json = {
    "anyOf": [
        {"required": [name], "properties": {name: {"type": "string"}}} for name in ("user_id", "visitor_id")
    ],
    "not": {
        "required": ["user_id"],
        "properties": {"user_id": {"type": "string", "pattern": f"^{VISITOR_PREFIX}"}},
    },
}

_DEAD_LETTER_HEADERS = ("exception", "message", "stacktrace", "topic", "partition", "offset")


def export(directory: Path) -> list[Path]:
    """Write `<event type>.json` for each event and result and `asyncapi.json`; return what was written, sorted."""
    directory.mkdir(parents=True, exist_ok=True)
    documents = {event_type(cls): json_schema(cls) for types in VALUES.values() for cls in types}
    documents["asyncapi"] = asyncapi()
    written = []
    for name, document in sorted(documents.items()):
        path = directory / f"{name}.json"
        path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        written.append(path)
    return written


def event_type(cls: type[msgspec.Struct]) -> str:
    """The CloudEvents `type` that marks this class on the wire."""
    return str(cls.__struct_config__.tag)


def json_schema(cls: type[msgspec.Struct]) -> Json:
    """A self-contained JSON Schema of one record in structured mode."""
    components = _components([cls], "#/$defs/{name}")
    record = components.pop(cls.__name__)
    return {"$schema": DIALECT, "$id": f"urn:footfall:{event_type(cls)}", **record, "$defs": components}


def asyncapi() -> Json:
    """The AsyncAPI document. `receive` is what Footfall reads, `send` what it writes."""
    classes = [cls for types in VALUES.values() for cls in types]
    messages: Json = {}
    for topic, types in VALUES.items():
        messages.update({cls.__name__: _message(cls, topic) for cls in types})
        if topic.cleanup == "compact":
            messages[_withdrawal(topic)] = {
                "name": "null value",
                "summary": "The key no longer exists.",
                "payload": {"type": "null"},
                "bindings": _key(topic),
            }
    messages["DeadLetter"] = {
        "name": "dead letter",
        "summary": "The source record's bytes; empty where they may not be copied, the headers then point at them.",
        "contentType": "application/octet-stream",
        "headers": {
            "type": "object",
            "properties": {f"__streams.errors.{name}": {"type": "string"} for name in _DEAD_LETTER_HEADERS},
        },
    }
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Footfall",
            "version": f"{VERSION.removeprefix('v')}.0.0",
            "description": "CloudEvents 1.0 on Kafka, in structured mode as shown. Input is also read in Kafka's "
            "binary mode: `ce_*` headers for the attributes, `data` as the value.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {_channel_name(topic): _channel(topic) for topic in TOPICS},
        "operations": _operations(),
        "components": {"messages": messages, "schemas": _components(classes, "#/components/schemas/{name}")},
    }


def _components(classes: Iterable[type[msgspec.Struct]], ref_template: str) -> Json:
    _, components = msgspec.json.schema_components(classes, ref_template=ref_template)
    for cls in UserData.__subclasses__():
        if cls.__name__ in components:
            components[cls.__name__] |= _USER_RULES
    return dict(sorted(components.items()))


def _message(cls: type[msgspec.Struct], topic: Topic) -> Json:
    return {
        "name": event_type(cls),
        "contentType": "application/cloudevents+json",
        "payload": {"$ref": f"#/components/schemas/{cls.__name__}"},
        "bindings": _key(topic),
    }


def _key(topic: Topic) -> Json:
    return {"kafka": {"key": {"type": "string", "description": topic.key}, "bindingVersion": "0.5.0"}}


def _channel_name(topic: Topic) -> str:
    # AsyncAPI's names may hold no dots
    return topic.name.replace(f".{VERSION}.dlq", "-dead-letters")


def _withdrawal(topic: Topic) -> str:
    return f"{_channel_name(topic).title()}Withdrawal"


def _message_names(topic: Topic) -> list[str]:
    if topic.direction == "dead letters":
        return ["DeadLetter"]
    names = [cls.__name__ for cls in VALUES[topic]]
    return [*names, _withdrawal(topic)] if topic.cleanup == "compact" else names


def _channel(topic: Topic) -> Json:
    configuration: Json = {"cleanup.policy": [topic.cleanup]}
    if topic.cleanup == "delete":
        configuration["retention.ms"] = topic.retention_days * DAY_MS
    return {
        "address": topic.full_name("{prefix}"),
        "parameters": {"prefix": {"default": "retail", "description": "FOOTFALL_PREFIX: one per tenant or replay"}},
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _message_names(topic)},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": configuration,
                "bindingVersion": "0.5.0",
            }
        },
    }


def _operations() -> Json:
    operations: Json = {}
    for capability, topics in READS.items():
        for topic in topics:
            operations[f"{capability}.receive.{_channel_name(topic)}"] = _operation("receive", capability, topic)
            letters = topic.dead_letters
            operations[f"{capability}.send.{_channel_name(letters)}"] = _operation("send", capability, letters)
    for capability, topics in WRITES.items():
        for topic in topics:
            operations[f"{capability}.send.{_channel_name(topic)}"] = _operation("send", capability, topic)
    return operations


def _operation(action: str, capability: str, topic: Topic) -> Json:
    return {
        "action": action,
        "channel": {"$ref": f"#/channels/{_channel_name(topic)}"},
        "summary": f"Consumer group `{capability}`" if action == "receive" else f"Written by `{capability}`",
    }
