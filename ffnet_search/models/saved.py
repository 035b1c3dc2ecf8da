"""Networks with their weights as files: a supernet with its search space, and one network in the form of training."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import nn

from ffnet_search.atomic_write import replacing, write_bytes
from ffnet_search.config.files import RunPaths
from ffnet_search.config.start import TRAINABLE
from ffnet_search.errors import SweepError
from ffnet_search.formatting import quoted
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.weights_file import UNREADABLE, load_tensors, must_hold, reason_of, take_weights, weights_file
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse

REMEDY = "move it away and train again"  # where a run's own supernet cannot be read
Start = Mapping[str, str]  # what the weights started from: its place, and its sha256


def write_supernet(
    path: Path, net: MetaMixer, space: SearchSpace, start: Start | None = None, epochs: float | None = None
) -> None:
    """Write the trained weights, with the search space that they serve, what they started from, and the epochs that
    they were trained for."""
    content: dict[str, Any] = {
        "search_space": space.model_dump_json(),
        "branches": net.form.branches,
        "layer_scale": net.form.layer_scale,
        "state_dict": {name: tensor.detach().cpu() for name, tensor in net.state_dict().items()},
    }
    if start is not None:
        content["start"] = dict(start)
    if epochs is not None:
        content["epochs"] = epochs
    with replacing(path) as scratch:
        torch.save(content, scratch)


def read_supernet(path: Path, otherwise: str = REMEDY, *, of: SearchSpace | None = None) -> MetaMixer:
    """The supernet in a file of `write_supernet`. Raises SweepError if it is missing, is another file or is not `of`
    that space, and says what to do `otherwise`."""
    content = _read(path, otherwise)
    try:
        space = parse(SearchSpace, json.loads(content["search_space"]), str(path))  # its mixers may be user-supplied
        must_hold(path, space.largest)
        net = MetaMixer.for_space(space, Form(content["branches"], content["layer_scale"]))
        take_weights(net, content["state_dict"])
    except UNREADABLE as error:
        raise _broken(path, error, otherwise) from None
    if of is not None and _networks(space) != _networks(of):
        raise SweepError(f"{path}: must be a supernet of this search space, but is of another one; {otherwise}")
    return net


def _networks(space: SearchSpace) -> dict[str, Any]:
    """The part of a space that its supernet depends on."""
    return space.model_dump(mode="json", exclude={"name", "hyperparameters"})


def read_start(path: Path) -> Start | None:
    """The weights that a supernet started from, by its file. Raises SweepError as `read_supernet` does."""
    start: Start | None = _read(path).get("start")
    return start


def read_epochs(path: Path) -> float | None:
    """The epochs that a supernet was trained for, by its file; None in files from before they were kept. Raises
    SweepError as `read_supernet` does."""
    epochs: float | None = _read(path).get("epochs")
    return epochs


def holds_supernet(path: Path, otherwise: str = REMEDY) -> bool:
    """True if a checkpoint is one of `write_supernet`. Raises SweepError if it is missing or unreadable."""
    return "search_space" in _read(path, otherwise)


def _read(path: Path, otherwise: str = REMEDY) -> dict[str, Any]:
    try:
        content = load_tensors(path)
        if not isinstance(content, dict):
            raise TypeError(f"it holds {type(content).__name__}")
    except FileNotFoundError:
        there = RunPaths(path.parent).sweep.exists()
        how = f"`ffnet-search train {quoted(path.parent)}`" if there else "`ffnet-search train SWEEP`"
        raise SweepError(f"{path}: no such file; run {how} first") from None
    except UNREADABLE as error:
        raise _broken(path, error, otherwise) from None
    return content


def _broken(path: Path, error: Exception, otherwise: str) -> SweepError:
    return SweepError(f"{path}: is not a supernet of this program, or is cut off ({reason_of(error)}); {otherwise}")


def write_trainable(folder: Path, net: MetaMixer) -> None:
    """Write the weights of one network in the form of training, for `load_trainable`."""
    form = {"branches": net.form.branches, "layer_scale": str(net.form.layer_scale)}
    content = as_safetensors(net, {"form": "trainable", "key": net.largest.key, **form})
    write_bytes(folder / TRAINABLE, content)


def load_trainable(folder: Path, arch: Architecture) -> MetaMixer:
    """The network of an exported folder in the form of training. Raises any error of reading it."""
    path = folder / TRAINABLE
    with safe_open(weights_file(path), framework="pt") as file:
        metadata = file.metadata() or {}
    scale = metadata["layer_scale"]
    must_hold(path, arch)
    net = MetaMixer(arch, Form(metadata["branches"], None if scale == "None" else float(scale)))
    take_weights(net, load_file(path))
    return net


def as_safetensors(net: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """The weights as a safetensors file, the same bytes for the same weights.

    The library writes the metadata in any order, so the header (its length in 8 bytes, then JSON padded to a multiple
    of 8) is written again."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in net.state_dict().items()}
    content = save(tensors, dict(metadata))
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = dict(sorted(metadata.items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + content[8 + length :]
