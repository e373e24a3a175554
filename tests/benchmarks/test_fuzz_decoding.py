"""The fuzzing run, in small: the decoding stands it, and what is planted is found, saved, and found again."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import fuzz_decoding
from benchmarks.fuzz import examples, mutator
from benchmarks.fuzz.inputs import MAX_HEADERS, NONE_BYTES, TIMESTAMPS_MS, Input, Route, message, pack, unpack
from benchmarks.fuzz.tally import Extreme, Finding, Tally, reason_of, total
from benchmarks.fuzz.target import Outcome, ProductTarget
from benchmarks.fuzz_decoding import main

needs_fuzzer = pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has wheels for CPython 3.11 to 3.13 on Linux, x86-64, only",
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
inputs = st.builds(
    Input, st.sampled_from(Route), st.none() | st.binary(max_size=50), st.none() | st.binary(max_size=50),
    st.lists(st.tuples(texts, st.none() | st.binary(max_size=50)), max_size=MAX_HEADERS).map(tuple),
    st.integers(0, len(TIMESTAMPS_MS) - 1),
)

PLANTED = """
import ctypes
from benchmarks.fuzz.inputs import unpack
from benchmarks.fuzz.target import Outcome

def raises_and_allocates(data):
    one = unpack(data)
    if b"add_to_cart" in (one.value or b""):
        raise KeyError("planted")
    if b"wishlist" in (one.value or b""):
        bytearray(30_000_000)
    return Outcome(one.route)

def crashes(data):
    one = unpack(data)
    if b"add_to_cart" in (one.value or b""):
        ctypes.string_at(1)
    return Outcome(one.route)
"""


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with faulty targets in it, which this process and those that it starts can import."""
    (tmp_path / "planted_targets.py").write_text(PLANTED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def fuzz(folder: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    report = folder / "report.json"
    code = main([
        "--inputs", "3000", "--seed", "3", "--processes", "1", "--findings", str(folder / "findings"),
        "--json", str(report), *arguments,
    ])
    return code, json.loads(report.read_bytes())


@given(inputs)
def test_what_was_packed_comes_back(one: Input) -> None:
    assert unpack(pack(one)) == one


@given(st.binary(max_size=100))
def test_all_bytes_are_an_input_that_stays_the_same(data: bytes) -> None:
    one = unpack(data)
    assert unpack(pack(one)) == one


def test_a_header_that_the_layout_cannot_say_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        pack(Input(Route.CATALOG, b"", headers=(("a", b"x" * (NONE_BYTES + 1)),)))


def test_the_examples_cover_every_route_and_are_accepted() -> None:
    target = ProductTarget()
    outcomes = [target(data) for data in examples.packed().values()]
    assert {outcome.route for outcome in outcomes} == set(Route)
    assert [outcome for outcome in outcomes if outcome.refusal] == [
        Outcome(Route.CLICKSTREAM, "RecordError: no value; only compacted topics withdraw"),
        Outcome(Route.TO_WORKER, "model 'recommender' is not served here: see Ready.models"),
        Outcome(Route.CONTROL, "model 'recommender' is not served here: none yet"),
    ]


@pytest.mark.parametrize("one", [
    Input(Route.CLICKSTREAM, b"{"),
    Input(Route.PURCHASES, b"{}", headers=(("ce_type", b"\xff"),)),
    Input(Route.CATALOG, b'{"type":"retail.stock_level.v1"}'),
    Input(Route.INVENTORY, None, b"\xff"),
    Input(Route.DEAD_LETTERS, b"a/b/c"),
    Input(Route.TO_WORKER, b"\x91\xa4ping"),
    message(Route.TO_WORKER, b"\x91\xa4ping"),
    message(Route.TO_AGENT, b"\xc1"),
    message(Route.CONTROL, b""),
], ids=repr)
def test_what_is_bad_is_refused_with_a_reason(one: Input) -> None:
    outcome = ProductTarget()(pack(one))
    assert outcome.route is one.route
    assert outcome.refusal


@given(st.binary(max_size=300) | st.sampled_from(sorted(examples.packed().values())), st.integers(0, 1 << 32))
def test_a_mutation_is_bytes_within_bounds_and_the_seeds_alone(data: bytes, seed: int) -> None:
    mutated = [mutator.mutate(data, 500, seed, lambda part: part[::-1]) for _ in range(2)]
    assert mutated[0] == mutated[1]
    assert len(mutated[0]) <= 500


def test_reasons_do_not_hold_what_is_the_inputs_own() -> None:
    reasons = {reason_of(f"Invalid value '{value}' - at `$.type` (byte {at})") for value, at in [
        ("a", 1), ("it's", 20), ("x\ny", 300),
    ]}
    assert len(reasons) == 1
    assert "`$.type`" in reasons.pop()


def test_processes_add_up() -> None:
    found = Finding("raised", "here", "so", 2, "file")
    one = Tally(3, {"catalog": 1}, {"catalog": 2}, {"a": 2}, Extreme(5.0), 1, Extreme(7.0), 9.0, {"x": found})
    other = Tally(4, {"catalog": 4}, {}, {"b": 1}, Extreme(6.0), 2, Extreme(1.0), 1.0, {"x": found})
    assert total([one, other]) == Tally(
        7, {"catalog": 5}, {"catalog": 2}, {"a": 2, "b": 1}, Extreme(6.0), 3, Extreme(7.0), 9.0,
        {"x": Finding("raised", "here", "so", 4, "file")},
    )


@needs_fuzzer
@pytest.mark.timeout(300)
def test_a_short_run_breaks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz_decoding, "INPUTS_PER_PROCESS", 2000)  # two, one after the other
    code, report = fuzz(tmp_path)
    assert report["findings"] == []
    assert (code, report["passed"], report["inputs"], report["seed"]) == (0, True, 3000, 3)
    assert report["poison_reasons"] > 100
    assert all(counts["accepted"] and counts["refused"] for counts in report["by_route"].values())
    assert report["largest_allocation_bytes"]["value"] > 10_000
    assert not (tmp_path / "findings").exists()


@needs_fuzzer
@pytest.mark.timeout(300)
def test_what_raises_or_allocates_is_found_saved_and_found_again(
    planted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = ("--target", "planted_targets:raises_and_allocates")
    code, report = fuzz(planted, *target)
    assert (code, report["passed"], report["inputs"]) == (1, False, 3000)
    found = {finding["kind"]: finding for finding in report["findings"]}
    assert set(found) == {"raised", "allocated"}
    assert "KeyError in raises_and_allocates" in found["raised"]["place"]
    told = capsys.readouterr().err
    for finding in found.values():
        assert f"--replay {finding['file']}" in told
        assert main(["--replay", finding["file"], *target]) == 1
        assert finding["kind"] in capsys.readouterr().out
        assert main(["--replay", finding["file"]]) == 0  # the product stands it


@needs_fuzzer
@pytest.mark.timeout(300)
def test_an_input_that_crashes_the_process_is_saved(planted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, report = fuzz(planted, "--target", "planted_targets:crashes")
    assert (code, report["passed"]) == (1, False)
    (finding,) = report["findings"]
    assert finding["kind"] == "crashed"
    assert b"add_to_cart" in Path(finding["file"]).read_bytes()
    assert f"--replay {finding['file']}" in capsys.readouterr().err
