"""The committed JSON Schema and AsyncAPI: current, valid, and of one mind with the decoder."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.events import CustomerEvent
from schemas.export import VALUES, asyncapi, event_type, export, json_schema
from schemas.topics import TOPICS

COMMITTED = Path(__file__).parents[2] / "docs" / "schemas"
EVERY_TYPE = [cls for types in VALUES.values() for cls in types]
decoder = msgspec.json.Decoder(CustomerEvent)

# contract.md, "Click (GA4 names)"
CLICK: dict[str, Any] = {
    "specversion": "1.0",
    "id": "01J…",
    "source": "storefront/web",
    "type": "retail.view_item.v1",
    "time": "2026-11-23T10:00:00.000Z",
    "datacontenttype": "application/json",
    "data": {
        "user_id": "17",
        "visitor_id": "v-81",
        "session_id": "s-9",
        "consent": True,
        "items": [{"item_id": "1044078", "item_name": "…", "item_category": "…", "price": 2.99, "quantity": 1}],
        "recommendation_id": None,
        "impressions": [],
    },
}


def validator(name: str) -> Any:
    return jsonschema.Draft202012Validator(json.loads((COMMITTED / f"{name}.json").read_text("utf-8")))


def test_the_committed_export_is_current(tmp_path: Path) -> None:
    fresh = {path.name: path.read_bytes() for path in export(tmp_path)}
    committed = {path.name: path.read_bytes() for path in COMMITTED.iterdir()}
    assert fresh == committed, "the types changed: run `make schemas`"


@pytest.mark.parametrize("cls", EVERY_TYPE, ids=event_type)
def test_every_type_has_a_valid_schema(cls: type[msgspec.Struct]) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(cls))


def test_the_contracts_example_is_valid() -> None:
    validator("retail.view_item.v1").validate(CLICK)


ids: st.SearchStrategy[Any] = st.sampled_from([..., None, "", "17", "v:17", "v", 17, "u" * 257])
items: st.SearchStrategy[Any] = st.sampled_from(
    [..., None, {}, [], [{}], [{"item_id": "1"}], [{"item_id": 1}], [{"item_id": "1", "quantity": 0}]]
)


@given(user_id=ids, visitor_id=ids, session_id=ids, items=items, consent=st.sampled_from([..., True, None, "yes"]))
def test_the_schema_and_the_decoder_agree(**data: Any) -> None:
    event = CLICK | {"data": {name: value for name, value in data.items() if value is not ...}}
    try:
        decoder.decode(json.dumps(event))
        decoded = True
    except msgspec.ValidationError:
        decoded = False
    assert validator("retail.view_item.v1").is_valid(event) is decoded


@pytest.mark.parametrize("missing", ["specversion", "id", "source", "type", "time", "data"])
def test_a_missing_attribute_is_invalid(missing: str) -> None:
    event = {name: value for name, value in CLICK.items() if name != missing}
    assert not validator("retail.view_item.v1").is_valid(event)


def test_asyncapi_has_a_channel_per_topic_with_its_settings() -> None:
    channels = asyncapi()["channels"]
    assert {channel["address"] for channel in channels.values()} == {topic.full_name("{prefix}") for topic in TOPICS}
    kafka = {channel["address"]: channel["bindings"]["kafka"] for channel in channels.values()}
    for topic in TOPICS:
        binding = kafka[topic.full_name("{prefix}")]
        configuration = binding["topicConfiguration"]
        assert binding["partitions"] == topic.partitions
        assert {key: str(v[0] if isinstance(v, list) else v) for key, v in configuration.items()} == topic.config()


def test_asyncapi_is_whole() -> None:
    document = asyncapi()
    assert document["asyncapi"] == "3.0.0"
    assert {"title", "version"} <= document["info"].keys()
    assert document["operations"].keys() >= {"recommend.receive.clickstream", "recommend.send.recommendations"}
    for operation in document["operations"].values():
        assert operation["action"] in {"send", "receive"}
    for reference in references(document):
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]
    names = {message["name"] for message in document["components"]["messages"].values()}
    assert names >= {event_type(cls) for cls in EVERY_TYPE}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(reference := node.get("$ref"), str):
            yield reference
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)
