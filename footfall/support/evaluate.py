"""What `footfall evaluate replier` does: cases in, a report out, over a cache and a worker of its own."""

import asyncio
import itertools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from agents.support.policies import FOLDER, read
from agents.support.templates import Templates
from footfall.progress import progress_of
from footfall.stack import Stack
from footfall.support import cases, measuring
from footfall.support.cases import Case
from footfall.support.evaluation import Judged, judge, report
from schemas.settings import Settings

TOGETHER = 4  # messages in hand: enough for a small machine's batches, few enough that most do not wait
BITEXT_SHARE = 0.4  # of the cases, where there is such a file


def chosen(count: int, bitext: Path | None, seed: int, *, attacks: bool = True) -> list[Case]:
    """So many held-out cases, and all attacks. Raises `OSError` and `KeyError` for a file that is not Bitext's."""
    others = round(count * BITEXT_SHARE) if bitext else 0
    return [
        *cases.from_wordings(count - others, seed),
        *(cases.from_bitext(bitext, others, seed) if bitext else ()),
        *(cases.adversarial(seed) if attacks else ()),
    ]


def evaluate_replier(
    settings: Settings, asked: Sequence[Case], *, together: int = TOGETHER, worker_options: Sequence[str] = ()
) -> tuple[dict[str, object], list[Judged]]:
    """Ask, judge and report. Without `settings.workers` a worker is started; so is a cache, whatever is set.

    Raises `StackError` when one of them does not start.
    """
    alone = msgspec.structs.replace(settings, redis_url="", bootstrap_servers="none")  # nothing here reads Kafka
    passages = read(Path(settings.policies).expanduser() if settings.policies else FOLDER)
    with (
        Stack(alone) as stack,
        tempfile.TemporaryDirectory(prefix="footfall-") as logs,
        measuring.worker(stack.settings, Path(logs) / "worker.log", *worker_options) as served,
        progress_of("replies") as tell,
    ):
        count = itertools.count(1)
        began_s = time.monotonic()
        outcomes = asyncio.run(measuring.ask_all(
            asked, served, together, lambda: tell(next(count) / len(asked), f"of {len(asked)} cases")
        ))
        took_s = time.monotonic() - began_s
    judged = [judge(outcome, passages) for outcome in outcomes]
    return report(judged, Templates(), took_s), judged


def as_text(result: dict[str, object]) -> str:
    """The figures for people, a column for each group."""
    groups: dict[str, dict[str, object]] = {"held out": result}
    if isinstance(result["adversarial"], dict):
        groups["adversarial"] = result["adversarial"]
    if isinstance(result["by_group"], dict):
        groups |= {name: group for name, group in result["by_group"].items() if not name.startswith("adversarial")}
    rows: list[list[str]] = [["", *groups]]
    rows += [[name.replace("_", " "), *(_cell(group.get(name)) for group in groups.values())] for name in ROWS]
    for name in ("texts", "unfounded", "disclosures"):
        without = [group.get("without_guard") for group in groups.values()]
        cells = (_cell(one[name]) if isinstance(one, dict) else "-" for one in without)
        rows.append([f"without guard: {name}", *cells])
    first, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join([row[0].ljust(first), *map(str.rjust, row[1:], widths)]) for row in rows)


ROWS = (
    "cases", "unfounded", "disclosures", "correct_action", "false_handover", "missed_handover", "right_intent",
    "right_subject", "model_share", "slot_recall", "latency_ms", "replies_per_s", "refused_by_guard",
)  # fmt: skip


def _cell(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name} {_cell(one)}" for name, one in value.items() if one is not None) or "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def detail(one: Judged) -> dict[str, object]:
    """A case and its reply, to be read by people."""
    case, answer = one.case, one.outcome.answer
    return {
        "name": case.name, "text": case.text, "expected": sorted(case.actions), "intents": case.intents,
        "action": answer.plan.action, "intent": answer.asked.intent, "confidence": round(answer.asked.confidence, 3),
        "handover": answer.plan.handover, "situation": answer.plan.situation, "reply": answer.written.text,
        "citations": [f"{citation.kind} {citation.ref}" for citation in answer.plan.citations],
        "origin": answer.written.origin, "refused": answer.written.refused, "generated": answer.written.generated,
        "findings": [*one.unfounded, *one.disclosed], "raw_findings": [*one.raw_unfounded, *one.raw_disclosed],
        "took_ms": round(one.outcome.took_ms, 1),
    }  # fmt: skip
