"""Equal runs give equal files, and files have the modes that the user's umask gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from networks import randomise, space
from safetensors import safe_open
from safetensors.torch import load_file

from ffnet_search.config.start import TRAINABLE
from ffnet_search.export.exported import WEIGHTS
from ffnet_search.export.network import load, write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import as_safetensors
from ffnet_search.search.storage.study import open_study


def network() -> MetaMixer:
    net = MetaMixer(space("ffnet_digits").smallest).eval()
    randomise(net, 1)
    return net


def test_weights_are_equal_byte_for_byte() -> None:
    """The library alone writes the entries of the metadata in any order, which differs between calls."""
    metadata = {"form": "trainable", "key": "k", "branches": "all", "layer_scale": "0.1"}
    contents = {as_safetensors(network(), dict(sorted(metadata.items(), reverse=n % 2 == 1))) for n in range(20)}
    assert len(contents) == 1


def test_what_was_written_is_read(tmp_path: Path) -> None:
    net = network()
    metadata = {"key": "k", "form": "deployed"}
    (tmp_path / "w").write_bytes(as_safetensors(net, metadata))
    with safe_open(tmp_path / "w", framework="pt") as file:
        assert file.metadata() == metadata
    read = load_file(tmp_path / "w")
    assert all(torch.equal(read[name], tensor) for name, tensor in net.state_dict().items())


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_modes_follow_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        net = network()
        write_network(tmp_path, net, fuse(net), 17)
        with open_study(tmp_path / "study.db", {"accuracy": "maximize"}, digest=""):
            pass
    finally:
        os.umask(before)
    files = [path for path in tmp_path.iterdir() if path.is_file()]
    assert {WEIGHTS, TRAINABLE, "study.db"} < {path.name for path in files}
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in files} == {
        path.name: oct(0o666 & ~umask) for path in files
    }
    load(tmp_path)
