"""`python -m model_core`: a worker process, from arguments to exit code. Writes nothing but log lines to stderr."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from model_core import cores
from model_core.registry import LOADERS, STUB_MAX_BATCH, LoadOptions
from model_core.runner import AnyRunner
from schemas.inference import MAX_CANDIDATES


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    threads = options.threads or len(options.device_cpu)
    if threads:
        # read by torch when it is first imported, in load()
        os.environ["OMP_NUM_THREADS"] = str(threads)

    from model_core.server import WorkerServer  # noqa: PLC0415 - `--help` and a wrong option answer without sockets

    load_options = LoadOptions(
        device=options.device, checkpoint=options.checkpoint, encoder=options.encoder, head=options.head,
        replier=options.replier, adapter=options.adapter, cache=options.cache,
        stub_ms=options.stub_ms, stub_name=options.stub_name,
        stub_max_batch=options.max_batch or STUB_MAX_BATCH, stub_candidates=options.stub_candidates,
        retrieval=options.retrieval, precision=options.precision,
    )

    def load() -> list[AnyRunner]:
        if options.device_cpu:
            cores.take(options.device_cpu)  # this is the device's thread: torch's own start from it
        return [LOADERS[name](load_options) for name in options.models]

    try:
        if options.device_cpu:
            with cores.on(options.device_cpu):  # or its thread would find out that it cannot
                pass
        server = WorkerServer(
            load,
            listen=options.listen,
            control=options.control,
            device=options.device,
            max_batch=options.max_batch,
        )
    except cores.CoresError as error:
        logging.getLogger("footfall.worker").error("--device-cpu: %s", error)  # noqa: TRY400 - as below
        return 2
    except OSError as error:
        logging.getLogger("footfall.worker").error("%s", error.strerror)  # noqa: TRY400 - the message is the whole story
        return 2
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.drain())
    return server.run()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m model_core", description="A model worker, one process per device.")
    parser.add_argument("--models", type=_models, default=["recommender"], help=f"of: {', '.join(LOADERS)}")
    parser.add_argument("--listen", required=True, metavar="ENDPOINT", help="for agents, as in ipc:///run/w or tcp://…")
    parser.add_argument("--control", metavar="ENDPOINT", help="for statistics")
    parser.add_argument("--device", default="cpu", help="cpu, cuda:0")
    parser.add_argument("--checkpoint", type=Path, metavar="DIR", help="default: the demo's, inside the package")
    parser.add_argument(
        "--encoder", default="", metavar="MODEL",
        help="a folder or a Hugging Face id: any text encoder (default: the one that is a package)",
    )  # fmt: skip
    parser.add_argument("--head", type=Path, metavar="DIR", help="of the encoder: of `footfall train encoder`")
    parser.add_argument(
        "--replier", default="", metavar="MODEL",
        help="a folder or a Hugging Face id: any causal or sequence-to-sequence model (default: SmolLM2, as a package)",
    )  # fmt: skip
    parser.add_argument("--adapter", type=Path, metavar="DIR", help="of the replier: a LoRA that peft saved")
    parser.add_argument(
        "--cache", type=Path, default=Path(os.environ.get("FOOTFALL_HOME", "~/.cache/footfall")), metavar="DIR",
        help="where what is made from a package is kept (default: FOOTFALL_HOME)",
    )  # fmt: skip
    parser.add_argument("--threads", type=_positive, metavar="N", help="CPU threads of torch")
    parser.add_argument(
        "--device-cpu", type=_cores, default=frozenset(), metavar="CORES",
        help="keep the thread that runs the models, and torch's, on these cores, as in 0 or 2,3 or 0-3 (default: any "
        "core; `taskset` keeps the other threads off them); sets --threads to their number",
    )
    parser.add_argument(
        "--retrieval", choices=("auto", "exact", "approximate"), default="auto",
        help="how the best items are found (default: a scan, or an index where the catalogue is too large for that)",
    )  # fmt: skip
    parser.add_argument(
        "--precision", choices=("auto", "float32", "bfloat16"), default="auto",
        help="numbers of the recommender's encoder, on a GPU of its scan too (default: bfloat16 on a GPU if that keeps "
        "the best items)",
    )  # fmt: skip
    parser.add_argument("--max-batch", type=_positive, metavar="N", help="below the model's own limit")
    parser.add_argument("--stub-ms", type=float, default=0.0, help="model `stub`: service time of a batch")
    parser.add_argument("--stub-name", default="stub", help="model `stub`: the name that it is served under")
    parser.add_argument(
        "--stub-candidates", type=_positive, default=MAX_CANDIDATES, metavar="N",
        help=f"model `stub`: how many items it answers with, at most {MAX_CANDIDATES}",
    )
    return parser.parse_args(arguments)


def _models(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in LOADERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown model {unknown[0]!r}: choose from {', '.join(LOADERS)}")
    return names


def _cores(text: str) -> frozenset[int]:
    try:
        return cores.parse(text)
    except cores.CoresError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    code = main()
    logging.shutdown()
    # a broken device can hang the interpreter's own exit, and threads of a failed pipeline are not worth waiting for
    os._exit(code)
