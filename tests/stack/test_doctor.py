"""The doctor's checks one by one, and its walk over a machine."""

import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from footfall import doctor
from footfall.doctor import Finding, RedisFacts, TorchFacts
from footfall.stack import Stack
from footfall.stack.machine import Machine
from schemas.inference import PROTOCOL, Hello, ModelInfo, Ready, to_agent_encoder, to_worker_decoder
from schemas.settings import Settings

HEALTHY = RedisFacts(version="9.1.2", append_only=True, eviction_policy="noeviction", max_memory_bytes=1000)


def levels(findings: list[Finding]) -> list[str]:
    return [finding.level for finding in findings]


@pytest.mark.parametrize(
    ("version", "system", "glibc", "level"),
    [
        ((3, 11), "Linux", (2, 36), "ok"),
        ((3, 10), "Linux", (2, 36), "problem"),
        ((3, 12), "Windows", None, "problem"),
        ((3, 12), "Linux", None, "note"),  # musl
        ((3, 12), "Linux", (2, 17), "note"),
        ((3, 12), "Darwin", None, "ok"),
    ],
)
def test_python_and_system_are_judged(
    version: tuple[int, int], system: str, glibc: tuple[int, int] | None, level: str
) -> None:
    assert levels(doctor.check_python(version, system, glibc)) == [level]


def test_other_versions_than_the_pinned_are_problems_and_missing_extras_are_notes() -> None:
    requirements = [
        'aiokafka==0.14.0; extra == "agents"',
        'faust-streaming==0.15.3; extra == "agents"',
        'torch==2.13.0; extra == "worker"',
        'redis>=6; extra == "agents"',
    ]
    installed = {"aiokafka": "0.13.0", "torch": "2.13.0+cpu", "redis": "8.1.0"}

    aiokafka, faust, torch = doctor.check_packages(requirements, installed.get)

    assert (aiokafka.level, aiokafka.remedy) == ("problem", "pip install aiokafka==0.14.0")
    assert (faust.level, "footfall[agents]" in faust.remedy) == ("note", True)
    assert (torch.level, torch.detail) == ("ok", "2.13.0+cpu")


@pytest.mark.parametrize(
    ("device", "cuda_devices", "level"),
    [
        ("cpu", (), "ok"),
        ("cpu", ("H200",), "note"),
        ("cuda:0", ("H200",), "ok"),
        ("cuda", (), "problem"),
        ("cuda:1", ("H200",), "problem"),
        ("tpu", (), "problem"),
    ],
)
def test_device_must_be_there(device: str, cuda_devices: tuple[str, ...], level: str) -> None:
    assert levels(doctor.check_device(device, TorchFacts(version="2.13.0", cuda_devices=cuda_devices))) == [level]


def test_redis_that_may_evict_histories_is_a_problem_once_memory_is_limited() -> None:
    evicting = msgspec.structs.replace(HEALTHY, eviction_policy="allkeys-lru")
    unlimited = msgspec.structs.replace(evicting, max_memory_bytes=0)

    assert levels(doctor.check_redis("h:6379", HEALTHY)) == ["ok"]
    assert levels(doctor.check_redis("h:6379", evicting)) == ["ok", "problem"]
    assert levels(doctor.check_redis("h:6379", unlimited)) == ["ok", "note"]


def test_redis_without_an_append_only_file_is_noted() -> None:
    forgetful = msgspec.structs.replace(HEALTHY, append_only=False)
    assert levels(doctor.check_redis("h:6379", forgetful)) == ["ok", "note"]


def test_topics_with_other_partitions_outweigh_missing_ones() -> None:
    assert levels(doctor.check_topics("p", {"a": "exists"})) == ["ok"]
    assert levels(doctor.check_topics("p", {"a": "exists", "b": "missing"})) == ["note"]
    assert levels(doctor.check_topics("p", {"a": "differs", "b": "missing"})) == ["problem"]


def test_little_disk_is_noted_and_no_disk_is_a_problem() -> None:
    free = (100_000_000, 1_000_000_000, 50_000_000_000)
    assert [doctor.check_disk(Path("/h"), each)[0].level for each in free] == ["problem", "note", "ok"]


def test_socket_paths_that_the_system_cannot_hold_are_problems() -> None:
    deep = Path("/", "d" * 90)
    assert levels(doctor.check_ipc_path(Path("/t"), ["tcp://" + "h" * 200])) == ["ok"]
    assert "TMPDIR" in doctor.check_ipc_path(deep, [])[0].remedy
    assert "FOOTFALL_WORKERS" in doctor.check_ipc_path(Path("/t"), [f"ipc://{deep}/worker.sock"])[0].remedy


def test_every_note_and_problem_of_a_bare_machine_has_a_remedy_below_it(tmp_path: Path) -> None:
    bare = Machine({}, lambda *_: None, lambda _: None)
    environ = {"FOOTFALL_HOME": str(tmp_path), "FOOTFALL_DEVICE": "tpu"}

    findings = doctor.diagnose(environ, bare)
    text = doctor.render(findings)

    problems = {finding.subject for finding in findings if finding.level == "problem"}
    assert problems == {"broker", "cache", "device"}
    assert all(finding.remedy for finding in findings if finding.level == "problem")
    assert text.endswith("\n3 problems")
    assert "-> no cache to start: pip install 'footfall[stack]'" in text


def test_a_setting_that_cannot_be_used_is_named_and_the_rest_is_left_out(tmp_path: Path) -> None:
    findings = doctor.diagnose({"FOOTFALL_HOME": str(tmp_path), "FOOTFALL_SESSION_TIMEOUT_S": "soon"}, Machine())
    assert findings[-1].level == "problem"
    assert findings[-1].detail == "FOOTFALL_SESSION_TIMEOUT_S='soon' is not a number"


def test_an_engine_of_replies_that_does_not_exist_is_told_which_there_are(tmp_path: Path) -> None:
    findings = doctor.diagnose({"FOOTFALL_HOME": str(tmp_path), "FOOTFALL_REPLY_ENGINE": "oracle"}, Machine())
    assert findings[-1].detail == "FOOTFALL_REPLY_ENGINE='oracle': use worker, endpoint, template"


def test_home_that_is_a_file_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert levels(doctor._look_at_disk(tmp_path / "file" / "home")) == ["problem"]


def test_the_local_broker_is_named_with_what_it_cannot_do(tmp_path: Path) -> None:
    first, *limits = doctor.check_local_broker(Settings(), Machine(), tmp_path)
    assert first.detail.startswith("tansu 0.6")
    assert any("memory" in limit.detail for limit in limits)


def test_servers_that_do_not_answer_are_problems(tmp_path: Path) -> None:
    environ = {
        "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "REDIS_URL": "redis://user:secret@127.0.0.1:1/0",
        "FOOTFALL_HOME": str(tmp_path),
    }
    findings = doctor.diagnose(environ, Machine())
    assert {finding.subject for finding in findings if finding.level == "problem"} == {"broker", "cache"}
    assert "secret" not in doctor.render(findings)


@pytest.mark.stack
def test_servers_that_answer_are_described(stack: Stack, prefix: str, tmp_path: Path) -> None:
    environ = stack.environment() | {"FOOTFALL_PREFIX": prefix, "FOOTFALL_HOME": str(tmp_path)}
    findings = {finding.subject: finding for finding in reversed(doctor.diagnose(environ, Machine()))}
    assert findings["broker"].detail.endswith("answers (not started by Footfall)")
    assert findings["cache"].detail.endswith(f"answers, version {stack.cache.version}")
    assert findings["topics"].remedy == "footfall topics create"


@pytest.fixture
def worker() -> Iterator[str]:
    """Something that answers one Hello as a worker does."""
    ready = Ready("epoch", (ModelInfo("recommender", "abc", ()),), 8)
    with zmq.Context() as context, context.socket(zmq.ROUTER) as socket:
        port = socket.bind_to_random_port("tcp://127.0.0.1")

        def serve() -> None:
            if socket.poll(5000):
                client, protocol, message = socket.recv_multipart()
                assert isinstance(to_worker_decoder.decode(message), Hello)
                socket.send_multipart([client, protocol, to_agent_encoder.encode(ready)])

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"tcp://127.0.0.1:{port}"
        thread.join(10)


def test_worker_that_answers_tells_its_models(worker: str) -> None:
    assert PROTOCOL.startswith(b"footfall/")
    assert doctor.check_worker(worker, doctor._ask_worker(worker)) == [
        Finding("ok", "worker", f"{worker} serves recommender abc")
    ]


def test_worker_that_does_not_answer_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ANSWER_WITHIN_S", 0.05)
    for endpoint in ("tcp://127.0.0.1:1", "not an endpoint"):
        (finding,) = doctor.check_worker(endpoint, doctor._ask_worker(endpoint))
        assert finding.level == "problem"
        assert endpoint in finding.remedy
