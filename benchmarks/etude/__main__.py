"""`python -m benchmarks.etude --json FILE`: how the recommender's latency grows with the catalogue, 10 k … 20 M items.

After ETUDE (Kersbergen et al., "ETUDE: Evaluating the Inference Latency of Session-Based Recommendation Models at
Scale", ICDE 2024): random weights, synthetic clicks, fixed request rates, the 90th percentile against 50 ms. The rates
are those of its scenarios: 100/s for 10 k items, 250 for 100 k, 500 for a million, 1,000 for 10 and 20 million. Unlike
there the load is an open loop on the worker's pipeline in the same process, without HTTP, and the model is ours.

Each catalogue has a process of its own. There the capacity is taken by draining a backlog, then each rate below it is
offered in turn, round after round; the first round is discarded. Rates above the capacity are left out.
"""

import argparse
import multiprocessing
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks import plots, reports
from benchmarks.etude.measure import Spec, measure

CATALOGUES = (10_000, 100_000, 1_000_000)  # what two cores and some GB can do; 10 and 20 million on request
RATES = (100.0, 250.0, 500.0, 1000.0)  # of ETUDE's scenarios
TARGET_MS = 50.0  # ETUDE's, for the 90th percentile


def device_name(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def plot(rows: Sequence[dict[str, Any]], name: str, file: Path) -> None:
    """The 90th percentile over the catalogue, at each fixed rate and at half the capacity."""
    with plots.drawing(file, f"Latency over catalogue size, {name}", "items", "p90, ms") as axes:
        lines: dict[str, list[tuple[int, float]]] = {}
        for row in rows:
            for offer in row["offered"]:
                share = offer["share_of_capacity"]
                label = f"{offer['per_s']:,.0f}/s" if share is None else f"{share:.0%} of capacity"
                lines.setdefault(label, []).append((row["items"], offer["p90_ms"]["median"]))
        for label, points in lines.items():
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
        axes.axhline(TARGET_MS, color="grey", linestyle="--", label="ETUDE's limit")
        axes.set(xscale="log", yscale="log")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.etude", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", type=Path, required=True, metavar="FILE")
    plots.add_option(parser)
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0, …")
    parser.add_argument("--catalog", type=int, nargs="+", default=CATALOGUES, metavar="ITEMS")
    parser.add_argument("--rates", type=float, nargs="*", default=RATES, metavar="PER_S")
    parser.add_argument("--retrieval", choices=("auto", "exact", "approximate"), default="auto")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of each measurement")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of torch and of the index, on a CPU")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="see whether it runs: small catalogues, moments of load")
    options = parser.parse_args(arguments)
    if options.quick:
        options.catalog, options.rates, options.seconds, options.rounds = (500, 3000), (20.0,), 0.5, 1
    rows = []
    for items in options.catalog:
        spec = Spec(
            items, options.device, options.retrieval, tuple(options.rates), options.seconds, options.rounds,
            options.threads, options.seed,
        )  # fmt: skip
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            rows.append(process.submit(measure, spec).result())
    name = device_name(options.device)
    report = {
        "device": options.device, "device_name": name, "threads": options.threads, "torch": torch.__version__,
        "seconds": options.seconds, "rounds": options.rounds, "catalogues": rows, **reports.origin(),
    }  # fmt: skip
    reports.write(report, options.json)
    if options.plot:
        plot(rows, name, options.plot)
    print(f"{'items':>12} {'capacity/s':>11} {'recall':>7} {'load s':>7} {'peak MB':>8}  p90 ms at a rate per s")
    for row in rows:
        offers = "  ".join(f"{offer['per_s']:,.0f}: {offer['p90_ms']['median']:.1f}" for offer in row["offered"])
        print(f"{row['items']:12,} {row['capacity_per_s']['median']:11,.0f} {row['recall_at_64']:7.3f} "
              f"{row['load_s']:7.1f} {row['memory_mb']['peak']:8,}  {offers}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
