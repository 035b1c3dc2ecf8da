"""One exported network as files: architecture, weights in both forms, ONNX.

architecture.yaml  model.safetensors  trainable.safetensors  model.onnx
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ffnet_search.atomic_write import write_bytes, write_text
from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.data.modules.base import Data
from ffnet_search.errors import SweepError
from ffnet_search.export.card_content import must_be_card
from ffnet_search.export.exported import CARD, ONNX, WEIGHTS, read_card
from ffnet_search.export.loaded import LoadedNetwork
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.models.deployed import Backbone, Deployed, deployed, write_onnx
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import as_safetensors, load_trainable, write_trainable
from ffnet_search.models.weights_file import must_hold, take_weights, weights_file
from ffnet_search.plugins import find_class
from ffnet_search.space.architecture import Architecture
from ffnet_search.strict_yaml import read_yaml
from ffnet_search.tasks.base import task_of


def write_network(folder: Path, net: MetaMixer, fused: Deployed, opset: int) -> None:
    """Write the files that `load` reads, and the ONNX model for any batch size. `fused`: the deployed form of `net`."""
    arch = net.largest
    write_text(folder / ARCHITECTURE, yaml.safe_dump(arch.to_dict(), sort_keys=False))
    write_bytes(folder / WEIGHTS, as_safetensors(fused, {"form": "deployed", "key": arch.key}))
    write_trainable(folder, net)
    shape = (1, *arch.input.shape)
    task = task_of(arch.input)
    dynamic = (0, 2, 3) if task.any_size else (0,)
    write_onnx(fused, shape, folder / ONNX, opset=opset, dynamic=dynamic, output=task.output_name)


def write_details(folder: Path, fused: Deployed, data: Data) -> dict[str, Any]:
    """Write the details of the task beyond one figure, and return them for the card.

    Raises SweepError if they are such that the card could not be read again."""
    details = task_of(fused.arch.input).details
    if details is None:
        return {}
    content = {"details": find_class(details, "details")()(folder, fused, data)}
    try:
        must_be_card(json.loads(json.dumps(content)), folder / CARD)
    except (TypeError, ValueError) as error:
        raise SweepError(f"{details}: must return plain data, of the same types as other tasks do; {error}") from None
    return content


def load(
    folder: str | Path, *, trainable: bool = False, features_only: bool = False, allow_imports: bool = False
) -> nn.Module:
    """The network of an exported folder, in evaluation mode: normalised images (B, C, H, W) -> outputs (B, ...). It has
    `classes`, `preprocess(image)` and `predict(file)`: see `LoadedNetwork`.

    `trainable` gives the form before fusing, for more training. `features_only` gives the `Backbone` instead: a map per
    stage. `allow_imports`: of a mixer or a task outside installed packages that the folder names. Raises SweepError if
    the folder is not an export, ValueError if both forms are asked for: maps are of the deployed one, whose weights can
    be trained too."""
    if trainable and features_only:
        raise ValueError("load: trainable and features_only cannot both be asked for; remove one")
    with foreign_imports(ForeignImports.ALLOWED if allow_imports else ForeignImports.REFUSED):
        return _load(Path(folder), trainable, features_only)


def _load(folder: Path, trainable: bool, features_only: bool) -> nn.Module:
    if trainable:
        with _reading(folder) as arch:
            return load_trainable(folder, arch).eval()
    fused = load_deployed(folder)
    return Backbone(fused).eval() if features_only else LoadedNetwork(fused, _input_facts(folder)).eval()


def _input_facts(folder: Path) -> dict[str, Any]:
    """The card's facts of images and outputs; none if there is no card."""
    if not (folder / CARD).exists():
        return {}
    try:
        facts = read_card(folder).get("input", {})
    except (OSError, ValueError) as error:
        raise SweepError(f"{folder}: must be a folder that `ffnet-search export` wrote, but {error}") from None
    return facts if isinstance(facts, dict) else {}


def load_deployed(folder: str | Path) -> Deployed:
    """The deployed form of an exported network, in evaluation mode. Raises SweepError as `load` does."""
    with _reading(Path(folder)) as arch:
        path = weights_file(Path(folder) / WEIGHTS)
        must_hold(path, arch)
        net = deployed(arch)
        take_weights(net, load_file(path))
    return net.eval()


@contextmanager
def _reading(folder: Path) -> Iterator[Architecture]:
    """Yield the folder's architecture; turn errors of reading into a SweepError."""
    must = f"{folder}: must be a folder that `ffnet-search export` wrote, but"
    try:
        content = read_yaml(folder / ARCHITECTURE)
    except SweepError as error:
        raise SweepError(f"{must} {error}") from None
    try:
        yield Architecture.from_dict(content)
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError) as error:
        raise SweepError(f"{must} {' '.join(str(error).split())[:150]}") from None
