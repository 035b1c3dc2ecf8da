"""Weights of strangers, as `train.start_from` names them: a result or one sentence, in little time and memory."""

from __future__ import annotations

import json
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from networks import space, supernet
from PIL import Image
from tiny_sweep import sweep as tiny_sweep

from ffnet_search.config.start import ARCHITECTURE, TRAINABLE
from ffnet_search.errors import SweepError
from ffnet_search.export.network import load
from ffnet_search.models.saved import read_supernet, write_supernet
from ffnet_search.models.weights_file import HEADER_BYTES, TENSORS, weights_file
from ffnet_search.training.start import load_start

DIGITS = space("ffnet_digits")
Change = Callable[[Path, dict[str, Any]], object]


class Touch:
    """Leaves MARK where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.system, ("touch MARK",)


def deflated(path: Path, content: dict[str, Any]) -> None:
    """A file of 1 MB that holds 400 MB."""
    torch.save({**content, "more": torch.zeros(100_000_000)}, path)
    with zipfile.ZipFile(path) as whole, zipfile.ZipFile(path.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as packed:
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    os.replace(path.with_suffix(".zip"), path)
    assert path.stat().st_size < 4e6


def of_a_larger_space(path: Path, content: dict[str, Any]) -> None:
    stages = [{"depth": [60], "width": [2048], "token_kernel": [3], "expansion": [4]}] * 4
    huge = {**json.loads(content["search_space"]), "stages": stages}
    torch.save({**content, "search_space": json.dumps(huge)}, path)


def with_nan(path: Path, content: dict[str, Any]) -> None:
    weights = {name: values * float("nan") for name, values in content["state_dict"].items()}
    torch.save({**content, "state_dict": weights}, path)


def of_whole_numbers(path: Path, content: dict[str, Any]) -> None:
    weights = {
        name: values.view(torch.int32) if values.is_floating_point() else values
        for name, values in content["state_dict"].items()
    }
    torch.save({**content, "state_dict": weights}, path)


CHANGES: dict[str, tuple[Change, str]] = {
    "compressed": (deflated, "it must not be compressed"),
    "of a space larger than the file": (of_a_larger_space, "million parameters, more than the file has bytes"),
    "too many tensors": (
        lambda path, content: torch.save({str(n): torch.zeros(1) for n in range(TENSORS)}, path),
        "it must hold at most 20,000 tensors, but holds 20,00",
    ),
    "NaN": (with_nan, "must hold finite weights, but .* holds NaN or infinity; take others"),
    "of another type": (of_whole_numbers, "must hold float32, but holds int32.*; name another file"),
    "a pickle": (lambda path, content: path.write_bytes(pickle.dumps(Touch())), "anything else could run code"),
    "an object": (lambda path, content: torch.save({**content, "x": Touch()}, path), "anything else could run code"),
    "empty": (lambda path, content: path.write_bytes(b""), r"\(EOFError\); name another file"),
    "cut": (lambda path, content: os.truncate(path, path.stat().st_size // 2), "name another file"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_odd_weights_to_start_from_are_one_sentence(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "theirs.ckpt"
    write_supernet(path, supernet(DIGITS), DIGITS)
    change, words = CHANGES[kind]
    change(path, torch.load(path, weights_only=True))
    with pytest.raises(SweepError, match=words) as raised:
        load_start(tiny_sweep(tmp_path, start_from=str(path)))
    assert "train again" not in str(raised.value) and "PyTorch" not in str(raised.value)
    assert not Path("MARK").exists()


def test_a_runs_own_supernet_is_trained_again(tmp_path: Path) -> None:
    (tmp_path / "supernet.ckpt").write_bytes(b"x")
    with pytest.raises(SweepError, match="; move it away and train again"):
        read_supernet(tmp_path / "supernet.ckpt")


def test_a_header_of_safetensors_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / TRAINABLE
    path.write_bytes(struct.pack("<Q", HEADER_BYTES + 1) + b"{}")
    with pytest.raises(ValueError, match="its header must have at most 4,194,304 bytes, but has more"):
        weights_file(path)


def test_an_architecture_larger_than_its_weights_is_not_made(tmp_path: Path) -> None:
    huge = space("ffnet_cifar").largest
    (tmp_path / ARCHITECTURE).write_text(yaml.safe_dump(huge.to_dict()))
    for name in ("model.safetensors", TRAINABLE):
        meta = {"branches": "all", "layer_scale": "None"}
        header = json.dumps({"__metadata__": meta}).encode()
        (tmp_path / name).write_bytes(struct.pack("<Q", len(header)) + header)
    for trainable in (False, True):
        with pytest.raises(SweepError, match="million parameters, more than the file has bytes"):
            load(tmp_path, trainable=trainable)


def test_pillows_warnings_of_odd_exif_are_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "odd.jpg"
    Image.new("RGB", (20, 20)).save(path, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x05\x01\x12\0\x03\0\0\0\x01")
    code = f"from ffnet_search.data.image_file import read_whole; print(read_whole({str(path)!r}, 'RGB').size)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("(20, 20)\n", "")
