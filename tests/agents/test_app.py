"""How the consumer is made from the settings, and that the bounds of a stop lie within each other."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import aiokafka
import msgspec
import pytest
import yaml

from agents.app import create_app
from agents.liveness import STOP_WITHIN_S
from agents.transport.consumer import WAIT_EMPTY_S
from agents.transport.thread import GaplessThread
from footfall import cli
from schemas.settings import Settings

ROOT = Path(__file__).parents[2]
SETTINGS = Settings(bootstrap_servers="127.0.0.1:1", redis_url="redis://127.0.0.1:1", workers=("ipc:///w",))


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Callable[[Settings], dict[str, Any]]:
    """What aiokafka's consumer would be made with."""
    monkeypatch.setattr(aiokafka, "AIOKafkaConsumer", dict)

    def made(settings: Settings) -> dict[str, Any]:
        app = create_app(settings, "recommend")
        owner: Any = SimpleNamespace(app=app)
        return cast("dict[str, Any]", GaplessThread._create_worker_consumer(owner, app.transport))

    return made


Make = Callable[[Settings], dict[str, Any]]


@pytest.mark.parametrize(("name", "instance_id"), [("", None), ("pod-0", "pod-0")])
def test_static_membership_is_a_setting(consumer: Make, name: str, instance_id: str | None) -> None:
    settings = Settings.from_environment({"FOOTFALL_GROUP_INSTANCE_ID": name})
    made = consumer(msgspec.structs.replace(SETTINGS, group_instance_id=settings.group_instance_id))
    assert made["group_instance_id"] == instance_id


def test_nothing_is_committed_but_by_the_ack_window_and_a_new_group_begins_at_the_beginning(consumer: Make) -> None:
    made = consumer(SETTINGS)
    assert (made["enable_auto_commit"], made["auto_offset_reset"]) == (False, "earliest")


def test_a_revocation_may_take_as_long_as_it_waits(consumer: Make) -> None:
    made = consumer(SETTINGS)
    assert made["rebalance_timeout_ms"] > 2 * 1000 * WAIT_EMPTY_S
    assert made["heartbeat_interval_ms"] <= made["session_timeout_ms"] / 3


def test_each_bound_of_a_stop_leaves_time_for_the_one_within() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    containers_s = [float(services[name]["stop_grace_period"].removesuffix("s")) for name in ("facts", "recommend")]
    assert WAIT_EMPTY_S < STOP_WITHIN_S < cli.AGENTS_GRACE_S
    assert min(containers_s) > STOP_WITHIN_S
