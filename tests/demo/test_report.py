"""The report has the fields that others rely on, and fails when something was lost."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
import pytest
from rich.console import Console

from footfall.demo.replies import LABEL, RepliesReport, ReplyLatency
from footfall.demo.report import Report, Wall, build_report, render_report, with_replies, write_report
from footfall.ledger import Ledger
from footfall.replay.scoring import Scores
from footfall.stack import Broker, Cache
from schemas.control import WorkerStats
from schemas.inference import ModelInfo

CONTRACT = (
    "events_in", "events_acked", "results_out", "lost", "duplicated", "older_over_newer", "dead_letters",
    "fallback_share", "latency_ms", "throughput_eps", "mean_batch_size", "device", "broker", "git_commit",
    "hit_rate_at_10",
)
STATS = WorkerStats(
    epoch="e", models=(ModelInfo("recommender", "v1", ()),), device="cpu", uptime_s=10, batches=4, requests=10,
    failures=0, ignored=0, clients=1, mean_batch_size=2.5, queued=0, busy_share=0.4,
)
REST: dict[str, Any] = {
    "device": "cpu", "broker": Broker("tansu", "0.6.0"), "cache": Cache("valkey", "9.1.2"), "late_scores": 0,
    "purchases": 3, "stock_levels": 4, "catalog_items": 5, "history_users": 6, "history_purchases": 7,
    "dataset": "synthetic", "provenance": "made up", "trained_until": "2024-03-31T00:00:00+00:00",
    "replayed_until": "2024-04-01T00:00:00+00:00", "restarts": 0, "seed": 0, "prefix": "retail", "speed": 100.0,
    "speed_achieved": 99.0, "drained": True, "wall_s": Wall(first_result=9, streaming=10, drain=1, replies=2, total=20),
    "replies": RepliesReport(
        label=LABEL, messages=4, answered=3, handovers=1, model_share=0.5, languages={"en": 2, "zh": 1},
        latency_ms=ReplyLatency(2100.0, 8000.0),
    ),
}


def made(ledger: Ledger | None = None, stats: WorkerStats | None = STATS) -> Report:
    scores = Scores()
    for hit in (True, False, True):
        scores.add({"x"}, {"model": ("x",), "popularity": ("x",) if hit else (), "personal_frequency": ()})
    return build_report((ledger or Ledger({})).counts(), scores.rates(), stats, **REST)


def test_the_report_holds_every_field_of_the_contract_under_its_name(tmp_path: Path) -> None:
    path = tmp_path / "new" / "r.json"
    write_report(made(), path)
    written = json.loads(path.read_text())
    assert not [name for name in CONTRACT if name not in written]
    assert set(written["latency_ms"]) == {"p50", "p90", "p99"}
    assert {"kind", "version"} <= set(written["broker"])
    assert set(written["hit_rate_at_10"]) == {"model", "popularity", "personal_frequency"}
    assert set(written["hit_rate_at_10_se"]) == set(written["hit_rate_at_10"])
    assert written["mean_batch_size"] == 2.5
    assert written["cases"] == 3
    assert msgspec.json.decode(path.read_bytes(), type=Report) == made()
    assert [file.name for file in path.parent.iterdir()] == ["r.json"]


def test_a_report_that_cannot_be_written_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> Path:
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="full"):
        write_report(made(), tmp_path / "r.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("field", ["lost", "duplicated", "older_over_newer", "dead_letters"])
def test_a_run_with_a_fault_does_not_pass(field: str) -> None:
    assert made().passed
    assert not msgspec.structs.replace(made(), **{field: 1}).passed


def test_without_a_worker_of_ours_its_figures_are_null() -> None:
    report = made(stats=None)
    assert report.mean_batch_size is None
    assert report.model is None


def test_what_goes_wrong_with_replies_counts_with_the_rest() -> None:
    recommended, replied = Ledger({}), Ledger({}, once=True)
    for offset in range(3):
        replied.record_sent("m", 0, offset, sent_ms=1, user="u", event_ms=1)
    replied.record_result("a", b"1", user="u", history_version=0, covers=[("m", 0, 0, 0)], fallback=False, at_ms=2)
    replied.record_result("b", b"2", user="u", history_version=0, covers=[("m", 0, 0, 0)], fallback=False, at_ms=2)
    replied.record_dead_letter("m", 0, 1)
    counts = with_replies(recommended.counts(), replied.counts())
    assert (counts.lost, counts.lost_offsets, counts.duplicated, counts.dead_letters) == (1, 1, 1, 1)
    assert counts.events_in == counts.results_out == 0  # those are of recommendations


def test_replies_are_labelled_as_simulated(tmp_path: Path) -> None:
    write_report(made(), tmp_path / "r.json")
    replies = json.loads((tmp_path / "r.json").read_text())["replies"]
    assert "simulated" in replies["label"]
    assert {"messages", "answered", "handovers", "model_share", "languages", "latency_ms"} <= set(replies)
    assert set(replies["latency_ms"]) == {"p50", "p95"}


@pytest.mark.parametrize(("replies", "said"), [
    (REST["replies"], "3 of 4 simulated messages answered (2 en, 1 zh), p50 2.1 s, p95 8.0 s; 1 handed over, 50%"),
    (msgspec.structs.replace(REST["replies"], messages=0, note="no worker serves encoder"), "no worker serves encoder"),
    (msgspec.structs.replace(REST["replies"], messages=0), "too short"),
])
def test_people_are_told_how_replies_went(replies: RepliesReport, said: str) -> None:
    console = Console(record=True, width=300, file=StringIO())
    console.print(render_report(msgspec.structs.replace(made(), replies=replies)))
    assert said in console.export_text()


def test_people_are_told_what_was_simulated_and_what_went_wrong() -> None:
    for report, verdict in (
        (made(), "Nothing was lost"), (msgspec.structs.replace(made(), lost=7), "Something went wrong"),
    ):
        console = Console(record=True, width=80, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
        console.print(render_report(report))
        console.file.close()
        text = console.export_text()
        assert verdict in text
        assert "Simulated: clicks" in text
        assert "hit rate @10, model" in text
