"""Runs with exported networks, written without a search."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from networks import SPACES, randomise, space

from ffnet_search.config.sweep import Sweep
from ffnet_search.export.network import write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer


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


def read_card(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return content
