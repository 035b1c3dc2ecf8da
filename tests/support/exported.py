"""Runs with exported networks, written without a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from networks import SPACES, randomise, space

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.export.bundle.model_card import write_bundle
from ffnet_search.export.card import input_facts, output_facts
from ffnet_search.export.network import write_details, write_network
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.tasks.base import task_of


def write_run(folder: Path) -> Sweep:
    """A run of which two networks are exported: random ones, in which every folded constant matters."""
    file = folder / "tiny.yaml"
    file.write_text(f"search_space: {SPACES['ffnet_digits']}\nruns: {folder}\ndata: {{calibration: 64}}\n")
    sweep = Sweep.from_yaml(file)
    digits = space("ffnet_digits")
    for number, arch in enumerate((digits.smallest, digits.largest), 1):
        target = sweep.files.pareto / f"{number:02d}-{arch.key}"
        target.mkdir(parents=True)
        net = MetaMixer(arch).eval()
        randomise(net, number)
        write_network(target, net, fuse(net), 17)
        (target / "card.json").write_text(json.dumps({"key": arch.key, "metrics": {"test_accuracy": 0.5}}))
    return sweep


def write_folder(folder: Path, net: MetaMixer, data: Data, figure: float = 0.5) -> tuple[dict[str, Any], Deployed]:
    """Export a network, with one made-up figure for all metrics. Returns its card and its deployed form."""
    arch, fused = net.largest, fuse(net)
    task = task_of(arch.input)
    write_network(folder, net, fused, 17)
    costs = ("measured_ms", "params_m", "macs_m", "weights_mb", "peak_memory_mb")
    card = {
        "key": arch.key,
        "summary": str(arch),
        "metrics": dict.fromkeys((task.test_quality, task.search_quality, *costs), figure),
        "latency": {"device": "a device", "batch_size": 1, "threads": 1, "backend": "onnxruntime"},
        "data": {"name": "images", "fingerprint": data.fingerprint},
        "input": input_facts(arch, data),
        "output": output_facts(fused),
        "training": {},
        **write_details(folder, fused, data),
    }
    (folder / "card.json").write_text(json.dumps(card))
    write_bundle(folder, card, task)
    return card, fused


def read_card(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return content
