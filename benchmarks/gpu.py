"""All that is to be known on a GPU, in steps of at most eight minutes that resume, into one table.

    python benchmarks/gpu.py [--data data/cifar-10-batches-py] [--minutes 8] [--steps parity ...] [--out FOLDER]

Each call works for `--minutes` and does what is still missing, in the order below; give the same command until it says
that all is done. A step that fails is named with its reason, the others go on, and the next call tries it last.
`table.md` and `results.json` are written to `--out`, the environment variable OUT or runs/gpu/out, after each figure;
what resumes (checkpoints, journals) to `--work`, which must outlast a call. Where it does not, since each call gets
another machine, `--earlier FOLDER` continues from the `--out` of the call before, which holds all that is worth keeping
in eight files. Without `--data` the digits of scikit-learn take the place of CIFAR-10: the speeds are then of tiny
networks. Where a GPU is lent for a quarter of an hour, `--supernet-minutes 3 --retrain-epochs 4 --minutes 6`, twice,
has a short form of everything. Steps, each a module of `gpu_steps/`:

    parity      elastic = sliced = fused on this device in fp32, against the CPU, and what bf16 changes
    new_shapes  what the first convolutions of shapes that were not met before cost, by layout
    step        a sandwich step, its images/s, its ratio to the networks alone; no host synchronisation within a step
    depthwise   depthwise convolutions against a copy of as many bytes
    latency     the latency table of this device (CUDA graphs), with its held-out error
    supernet    CIFAR-10, `--supernet-minutes` (20) by the measured speed of a step
    evaluation  candidates/s on the supernet: one worker, and two at a time with a quarter of the memory each
    front       networks of a search, retrained, and FFNets scaled by hand at equal latency by the same recipe
    compile     torch.compile and CUDA graphs against eager: training step of one network, inference; the compilers may
                take minutes, so it is last

It needs torch, lightning, torchmetrics, numpy, scipy, scikit-learn, rich, safetensors, pyyaml and pydantic; neither
optuna nor ray. Where a machine with a GPU has all but pydantic and no network, carry wheels for its Python, beside this
repository, and put them on the path there:

    pip download -d wheels --only-binary :all: --python-version 3.12 --platform manylinux2014_x86_64 pydantic
    pip install --no-index --no-deps --target site wheels/*.whl; export PYTHONPATH=site

`--device cpu --tiny` runs the whole flow in a minute, with amounts that measure nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib import import_module
from pathlib import Path
from types import FrameType

import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

from gpu_steps.evaluation import work_for  # noqa: E402
from gpu_steps.run import REPO, STEPS, Record, Run, restore  # noqa: E402

from ffnet_search.progress import say  # noqa: E402

QUARTER = 0.25  # of a GPU's memory, for each of two workers
AGAIN_S = 10.0  # from one alarm to the next, after the end of a call: one in a destructor of Python's is lost


class OutOfTime(BaseException):
    """The minutes of this call are over."""


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds, wherever it is: all steps resume."""
    is_over = False

    def end(number: int, frame: FrameType | None) -> None:
        if not is_over:
            raise OutOfTime

    signal.signal(signal.SIGALRM, end)
    signal.setitimer(signal.ITIMER_REAL, max(0.001, seconds), AGAIN_S)
    try:
        yield
    finally:
        is_over = True
        signal.setitimer(signal.ITIMER_REAL, 0)


def carry_on(run: Run, names: Sequence[str], minutes: float) -> int:
    """Do the steps that are missing until the minutes are over, those that failed last; return the number that failed.

    A step counts as failed from its start, so that one that ended the whole process does so last, too."""
    record = run.record
    remaining = sorted((name for name in names if name not in record.steps), key=record.failed.__contains__)
    running = ""
    try:
        with deadline(60 * minutes):
            for running in list(remaining):
                say(f"gpu: {running}")
                record.failed[running] = "the process ended"
                record.write()
                if _done(run, running):
                    remaining.remove(running)
                run.publish()
    except OutOfTime:
        record.failed.pop(running, None)
        say(f"gpu: {minutes:g} minutes are over")
    run.publish()
    for name, reason in record.failed.items():
        say(f"gpu: {name} failed: {reason}")
    say(f"gpu: missing: {', '.join(remaining)}; give the same command again" if remaining else "gpu: all is done")
    return len(record.failed)


def _done(run: Run, name: str) -> bool:
    """Do a step; return whether it ended. Another one may, where this one failed."""
    start = time.perf_counter()
    try:
        rows = import_module(f"gpu_steps.{name}").measure(run)
    except Exception as error:
        traceback.print_exc()
        run.record.failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return False
    seconds = time.perf_counter() - start
    run.record.steps[name] = {"rows": rows, "device": run.name, "date": str(date.today()), "seconds": seconds}
    del run.record.failed[name]
    return True


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--tiny", action="store_true", help="the flow alone, in a minute")
    parser.add_argument("--data", type=Path, help="CIFAR-10, the official python version: folder or archive")
    parser.add_argument("--minutes", type=float, default=8.0, help="of this call")
    parser.add_argument("--supernet-minutes", type=float, default=20.0)
    parser.add_argument("--retrain-epochs", type=int, default=60, help="of each network of step `front`")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", REPO / "runs" / "gpu" / "out")))
    parser.add_argument("--work", type=Path, default=REPO / "runs" / "gpu")
    parser.add_argument("--earlier", type=Path, help="the --out of an earlier call, whose --work is lost")
    parser.add_argument("--worker", type=int, help=argparse.SUPPRESS)  # a process of step `evaluation`
    return parser.parse_args()


def main() -> None:
    options = parse()
    if options.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before CUDA is initialised: evaluators take a GPU where there is one
        torch.set_num_threads(1)  # threads of small operators wait for each other
    device = torch.device(options.device)
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit(
            "--device cuda needs a GPU that PyTorch can use, but none is available; use --device cpu --tiny"
        )
    work = options.work.absolute()
    if options.worker is None:
        options.out.mkdir(parents=True, exist_ok=True)
        restore(work, options.earlier or options.out)
    amounts = options.supernet_minutes, options.retrain_epochs
    run = Run(device, options.tiny, options.out, work, options.data, *amounts, Record(work / "results.json"))
    if options.worker is not None:
        if run.is_cuda:
            torch.cuda.set_per_process_memory_fraction(QUARTER)
        print(work_for(run, options.worker, lambda: (print("ready", flush=True), sys.stdin.readline())))
        return
    if carry_on(run, options.steps, options.minutes):
        sys.exit(1)


if __name__ == "__main__":
    main()
