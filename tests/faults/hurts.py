"""Runs of the real command that are hurt at random moments, each given again until it is done.

    python tests/faults/hurts.py [--hurts 100] [--seed 0]

A hurt is a kill (-9 or SIGTERM) of the driver in a stage, or of a worker, the node or the head of Ray; a disk that is
full; a training whose process is killed for its memory, that is refused memory or learns NaN; or, between two starts,
a clock that went back, a file of any kind that is cut or has flipped bits, a second driver. Before each, the evaluated
candidates on disk are noted. Afterwards none of them may be missing, doubled or left running, nor a process; each end
is a success, the death that was dealt, or one sentence without a traceback; and since the search evaluates its whole
space, the front at the end is that of an undisturbed run, but for trainings that failed as they were made to. A file
that no command can make again is put back, as its sentence asks. As root, runs lie on a small file system in a
namespace of their own, which is filled; elsewhere a limit of file sizes stands for that.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import shutil
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml
from patient import STAGES, Patient, front
from starts import disk, has_own_mounts, start, temporary_of, with_own_mounts

SUPERNET: dict[str, Any] = {
    "search_space": {
        "input": {"channels": 1, "resolution": 8, "classes": 10},
        "stem": {"width": [8], "stride": [2]},
        "stages": [{"depth": [1, 2], "width": [8, 16], "token_kernel": 3, "expansion": [1, 2]}],
    },
    "data": {"name": "digits", "calibration": 64},
    "train": {"epochs": 2},
    "latency": {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0.0},
    "search": {"trials": 500, "objectives": ["accuracy", "params_m"], "sampler": {"class_path": "RandomSampler"}},
    "export": {"top": 2},
}
OWN: dict[str, Any] = {
    "search_space": {"hyperparameters": {"module.width": list(range(1, 7))}},
    "module": "breaking:Net",
    "data": {"name": "breaking:Data"},
    "train": {"epochs": 1},
    "search": {"evaluator": "train", "trials": 500, "metrics": {"loss": "minimize", "size": "minimize"},
               "objectives": ["loss", "size"], "sampler": {"class_path": "RandomSampler"}},
    "export": {"top": 6},  # all: one that fails makes room for no other
    "allow_imports": True,
}  # fmt: skip
KINDS = (
    *((SUPERNET, "local"), (SUPERNET, "ray"), (OWN, "local"), (OWN, "ray")),
    *((SUPERNET, "tune"), (OWN, "tune")),
)
MOST = 8  # hurts of one run


def write(path: Path, kind: int) -> None:
    content, engine = KINDS[kind]
    search = {**content["search"], "engine": engine} | ({"workers": 1} if engine != "local" else {})
    path.write_text(yaml.safe_dump({**content, "search": search}), encoding="utf-8")


def undisturbed(folder: Path, kind: int) -> tuple[list[str], dict[str, float]]:
    """The front of a run that nothing hurts, and the seconds of its stages."""
    sweep = folder / f"whole{kind}.yaml"
    write(sweep, kind)
    begun, times = start(sweep), dict[str, float]()
    while begun.runs:
        for stage in STAGES:
            if stage not in times and begun.in_stage(stage):
                times[stage] = time.monotonic()
        time.sleep(0.02)
    code, said = begun.end()
    assert code == 0, said
    temporary_of(sweep).rmdir()  # nothing is left there
    ends = [*list(times.values())[1:], time.monotonic()]
    return front(folder / "runs" / sweep.stem), {
        stage: end - begun for (stage, begun), end in zip(times.items(), ends, strict=True)
    }


def suffer(patient: Patient, most: int, expected: list[str]) -> None:
    """Hurt one run at most `most` times and bring it to its end, with the expected front."""
    counts, rng = patient.counts, patient.rng
    enough = counts.total() + most
    while counts.total() < enough:
        if patient.hurt():
            break
        if rng.random() < 0.6:
            patient.hurt_between()
    found = patient.recover()
    missing = set(expected) - set(found)
    told = patient.failed() if patient.is_own else set()
    assert not set(found) - set(expected) and missing <= told, f"the front is {found}, but undisturbed {expected}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hurts", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", type=int, nargs="+", choices=range(len(KINDS)), default=list(range(len(KINDS))),
                        help="0, 1, 4: a supernet, by engine local, ray, tune; 2, 3, 5: a user's module")  # fmt: skip
    options = parser.parse_args()
    with_own_mounts()
    machine = f"{os.cpu_count()} CPUs ({platform.machine()}), Python {platform.python_version()}"
    disks = "a small file system" if has_own_mounts() else "a limit of file sizes for a full disk"
    print(f"at least {options.hurts} hurts, {machine}, {disks}", flush=True)
    counts: Counter[str] = Counter()
    folder, seed, whole = Path(tempfile.mkdtemp(prefix="hurts-")), options.seed, dict[int, Any]()
    with disk(folder / "runs"):
        while counts.total() < options.hurts:
            kind, before = options.kinds[seed % len(options.kinds)], counts.total()
            if kind not in whole:
                whole[kind] = undisturbed(folder, kind)
            expected, seconds = whole[kind]
            sweep = folder / f"seed{seed}.yaml"
            write(sweep, kind)
            content, engine = KINDS[kind]
            patient = Patient(sweep, engine, content is OWN, random.Random(seed), seconds, counts)
            try:
                suffer(patient, min(MOST, options.hurts - before), expected)
            except BaseException:
                shutil.copytree(folder / "runs", folder / "left")  # the disk ends with this process
                print(f"seed {seed} of kind {kind}; see {folder}/left", flush=True)
                raise
            print(f"seed {seed}, {engine}: {counts.total() - before} hurts, the undisturbed front", flush=True)
            shutil.rmtree(patient.folder)
            temporary_of(sweep).rmdir()
            seed += 1
    for what, times in sorted(counts.items()):
        print(f"{times:>5}  {what}")
    print(f"{counts.total():>5}  hurts; nothing lost, doubled or left running")
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
