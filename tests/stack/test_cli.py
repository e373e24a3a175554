"""The command line: help that teaches, errors in one line, nothing heavy before it is needed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import orjson
import pytest
from aiokafka import AIOKafkaProducer
from click.testing import CliRunner, Result

from agents.state.connection import connect
from footfall.cli import CAPABILITIES, cli
from footfall.stack import Stack
from footfall.topics import client_options
from schemas.settings import Settings
from schemas.topics import CATALOG

COMMANDS = {
    "agents", "demo", "dlq", "dlq list", "dlq retry", "dlq show", "doctor", "evaluate", "evaluate recommender",
    "rebuild", "replay", "schema", "schema export", "stack",
    "stack down", "stack exec", "stack status", "stack up", "topics", "topics create", "topics list", "train",
    "train recommender", "worker",
}  # fmt: skip


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        yield " ".join((*path, name)), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def run(*arguments: str, **environment: str) -> Result:
    cleared = dict.fromkeys(("KAFKA_BOOTSTRAP_SERVERS", "REDIS_URL", "KAFKA_HOME", "FOOTFALL_PREFIX"))
    return CliRunner().invoke(cli, arguments, env=cleared | environment)


def test_all_commands_of_the_contract_are_there() -> None:
    assert {name for name, _ in commands(cli)} >= COMMANDS


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_help_of_each_command_has_an_example_that_names_it(name: str) -> None:
    shown = run(*name.split(), "--help")
    assert shown.exit_code == 0
    _, _, examples = shown.output.partition("Example")
    assert f"footfall {name}" in examples


def test_a_setting_that_cannot_be_used_is_one_line() -> None:
    failed = run("topics", "list", FOOTFALL_PREFIX="a b")
    assert failed.exit_code == 2
    assert failed.stderr.startswith("footfall: FOOTFALL_PREFIX='a b': use letters")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("arguments", [("agents", "facts", "recommend"), ("replay", "synthetic", "--speed", "1")])
def test_commands_that_need_servers_say_how_to_get_some(arguments: tuple[str, ...]) -> None:
    failed = run(*arguments, REDIS_URL="redis://h:1")
    assert failed.exit_code == 2
    assert failed.stderr.startswith("footfall: KAFKA_BOOTSTRAP_SERVERS must be set")
    assert f"footfall stack exec -- footfall {arguments[0]}" in failed.stderr


def test_recommend_without_a_worker_is_told_before_anything_starts() -> None:
    failed = run("agents", "recommend", KAFKA_BOOTSTRAP_SERVERS="h:1", REDIS_URL="redis://h:1", FOOTFALL_WORKERS="")
    assert (failed.exit_code, "FOOTFALL_WORKERS" in failed.stderr) == (2, True)


def test_unknown_capability_is_told_which_there_are() -> None:
    failed = run("agents", "recomend")
    assert failed.exit_code == 2
    assert all(capability in failed.stderr for capability in CAPABILITIES)


def test_missing_extra_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'aiokafka'", name="aiokafka.admin")

    monkeypatch.setattr("asyncio.run", fail)
    monkeypatch.setattr("footfall.topics.listing", lambda _: None)
    failed = run("topics", "list", KAFKA_BOOTSTRAP_SERVERS="h:1")
    assert (failed.exit_code, failed.stderr) == (
        2, "footfall: aiokafka.admin is not installed: pip install 'footfall[agents]'\n",
    )  # fmt: skip


def test_an_error_of_ours_keeps_its_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("footfall.topics.listing", fail)
    assert isinstance(run("topics", "list").exception, ZeroDivisionError)


def test_doctor_ends_with_1_when_there_is_a_problem() -> None:
    failed = run("doctor", FOOTFALL_PREFIX="a b")
    assert failed.exit_code == 1
    assert "problem  settings" in failed.output
    assert failed.output.endswith("\n1 problem\n")


@pytest.mark.stack
def test_topics_create_ends_with_1_when_partitions_differ(stack: Stack, prefix: str) -> None:
    import msgspec

    from footfall import topics as table
    from schemas.topics import PURCHASES

    settings = msgspec.structs.replace(stack.settings, prefix=prefix)
    asyncio.run(table.create(settings, [msgspec.structs.replace(PURCHASES, partitions=2)]))

    failed = run("topics", "create", **(stack.environment() | {"FOOTFALL_PREFIX": prefix}))

    assert failed.exit_code == 1
    assert "2 (want 8)" in failed.stdout
    asyncio.run(table.delete(settings))


def test_help_loads_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "numpy", "aiokafka", "faust", "redis", "transformers"}
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom footfall.cli import cli\n"
        f"CliRunner().invoke(cli, ['--help'])\nprint(sorted(set(sys.modules) & {heavy!r}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"


def test_agents_that_end_are_started_again_until_sigterm() -> None:
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "REDIS_URL": "redis://127.0.0.1:1", "KAFKA_SECURITY_PROTOCOL": "SSL",
        "KAFKA_SSL_CA_LOCATION": "/no/such/file",
    }  # fmt: skip
    argv = [sys.executable, "-m", "footfall", "agents", "facts"]
    with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stderr is not None
        starts = 0
        for line in running.stderr:
            starts += line.startswith("footfall: facts started")
            if starts == 2:
                break
        running.terminate()
        running.communicate(timeout=20)
        assert running.returncode == 0


@pytest.mark.stack
async def test_a_full_disk_behind_their_output_stops_no_agents(stack: Stack, topics: Settings) -> None:
    item = f"{topics.prefix}-milk"
    event = {
        "specversion": "1.0", "id": item, "source": "test", "type": "retail.item.v1", "time": "2026-11-25T10:00:00Z",
        "data": {"item_id": item, "title": "Milk"},
    }  # fmt: skip
    async with AIOKafkaProducer(**client_options(topics)) as producer:
        await producer.send_and_wait(CATALOG.full_name(topics.prefix), orjson.dumps(event), key=item.encode())
    environment = os.environ | stack.environment() | {"FOOTFALL_PREFIX": topics.prefix}
    redis = connect(topics.redis_url)
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230 - a device that does not wait
        running = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "footfall", "agents", "facts", stdout=full, stderr=full, env=environment
        )
    try:
        async with asyncio.timeout(40):
            while not await redis.exists(f"item:{{{item}}}"):
                assert running.returncode is None
                await asyncio.sleep(0.05)
    finally:
        running.terminate()
        await redis.aclose()
    assert await running.wait() == 0
