"""`pick` names the quicker networks that a paired test does not tell apart: by the predictions of real networks."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from searched_runs import score, searched

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.evaluation.judge import judge
from ffnet_search.export.exported import read_exported, write_scores
from ffnet_search.export.groups import First, write_groups
from ffnet_search.export.network import write_network
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.run.select import select_network
from ffnet_search.space.architecture import Architecture
from ffnet_search.tasks.base import task_of
from ffnet_search.tasks.scores import LEVEL
from ffnet_search.training.fit import sweep_data


def states(arch: Architecture, data: Data, epochs: int) -> Iterator[MetaMixer]:
    """A network before its training, and after each of so many epochs; the same for the same arguments."""
    torch.manual_seed(0)
    net = MetaMixer(arch)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    images_NCHW = torch.cat([images_BCHW for images_BCHW, _ in data.train_dataloader()])
    yield recalibrate(deepcopy(net), images_NCHW)
    for _ in range(epochs):
        net.train()
        for images_BCHW, target_B in data.train_dataloader():
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(images_BCHW, arch), target_B).backward()
            optimizer.step()
        yield recalibrate(deepcopy(net), images_NCHW)


def write(sweep: Sweep, data: Data, name: str, net: MetaMixer, ms: float) -> None:
    folder, fused, task = sweep.files.pareto / name, fuse(net), task_of(net.largest.input)
    folder.mkdir(parents=True)
    write_network(folder, net, fused, sweep.export.opset)
    judged = {"search": judge(fused, data.val_dataloader(), task), "test": judge(fused, data.test_dataloader(), task)}
    write_scores(folder, {split: one.scores for split, one in judged.items()})
    metrics = {f"{split}_{key}": value for split, one in judged.items() for key, value in one.metrics().items()}
    metrics |= {"measured_ms": ms, "predicted_ms": ms, "measured_spread": 0.01}
    (folder / "card.json").write_text(json.dumps({"key": net.largest.key, "metrics": metrics}))


@pytest.mark.slow
def test_quicker_networks_that_are_not_told_apart_are_named(tmp_path: Path) -> None:
    """The answer is the best state of a training. Quicker are a state nearly as good, and the untrained one."""
    sweep = searched(tmp_path, score, search={"trials": 8})
    data = sweep_data(sweep)
    data.setup("fit")
    untrained, *trained = states(sweep.search_space.smallest, data, 6)
    task = task_of(untrained.largest.input)
    reached = {judge(fuse(net), data.val_dataloader(), task).quality: net for net in trained}
    *_, nearly, best = (reached[quality] for quality in sorted(reached))
    networks = {
        "01-answer": (best, 3.0),
        "02-alike": (nearly, 2.0),
        "03-worse": (untrained, 1.0),
        "04-slow": (best, 4.0),
    }
    for name, (net, ms) in networks.items():
        write(sweep, data, name, net, ms)
    front = {one.folder.name: one for one in read_exported(sweep.files.pareto)}
    write_groups(sweep.files.pareto, list(front.values()), First())
    answer, alike, worse = (front[name].scores("search") for name in ("01-answer", "02-alike", "03-worse"))
    assert answer is not None and alike is not None and worse is not None
    assert answer.p_value(alike) > LEVEL and answer.p_value(worse) < LEVEL / 10
    selection = select_network(sweep.files.folder, 3.0)
    assert selection.exported is not None and selection.exported.folder.name == "01-answer"
    assert selection.alike == {"02-alike": 2.0}
    words = ["pick", str(sweep.files.folder), "--latency-ms", "3"]
    line = "quicker, and not told apart from it by a paired test on these images: 02-alike (2.00 ms)"
    assert line in " ".join(printed(*words).split())
    (sweep.files.pareto / "02-alike" / "card.json").unlink()
    assert "quicker, and" not in printed(*words)


def printed(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "ffnet_search", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr
