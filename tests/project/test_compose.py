"""docker-compose.yml, as far as a machine without a Docker engine can check it.

`compose-spec.json` is the Compose Specification's own schema (see compose-spec.NOTICE).
"""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from schemas.export import READS

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_follows_the_compose_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text("utf-8"))
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert {"mem_limit", "cpus", "pids_limit", "restart", "stop_grace_period"} <= service.keys()
    assert service.get("read_only") or name == "kafka"
    assert "privileged" not in service


def test_only_kafka_and_valkey_can_be_reached_and_only_from_this_host() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"kafka": ["127.0.0.1:9092:9092"], "valkey": ["127.0.0.1:6379:6379"]}
    for name in SERVICES.keys() - published.keys():
        assert list(SERVICES[name]["networks"]) == ["internal"]
    assert COMPOSE["networks"]["internal"] == {"internal": True}


def test_what_a_service_names_exists() -> None:
    for service in SERVICES.values():
        assert set(service.get("depends_on", ())) <= SERVICES.keys()
        assert set(service["networks"]) <= COMPOSE["networks"].keys()
        assert {volume.partition(":")[0] for volume in service.get("volumes", ())} <= COMPOSE["volumes"].keys()
        if build := service.get("build"):
            assert (ROOT / build["dockerfile"]).is_file()


def test_every_capability_has_its_service() -> None:
    commands = [service["command"] for service in SERVICES.values() if service.get("image") == "footfall-agents"]
    assert [command[0] for command in commands if command] == sorted(READS)


def test_the_gpu_is_asked_for_only_by_its_profile() -> None:
    wants_gpu = {name for name, service in SERVICES.items() if "deploy" in service}
    assert wants_gpu == {name for name, service in SERVICES.items() if "profiles" in service} == {"worker-gpu"}
    assert SERVICES["worker-gpu"]["networks"]["internal"]["aliases"] == ["worker"]


def test_the_images_get_every_package_that_is_built() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert kept >= {"schemas", "agents", "model_core", "footfall", "pyproject.toml", "constraints.txt", "README.md"}
