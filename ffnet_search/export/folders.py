"""The folders of exported networks: stable names, and no file is lost when a front is exported again.

runs/NAME/pareto/names.json   key -> the folder's name, of every network that was ever exported
runs/NAME/pareto/01-KEY/      the numbers are the ranks of the first export; later ones are appended
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from ffnet_search.atomic_write import SUFFIX, write_json
from ffnet_search.config.files import RunPaths
from ffnet_search.export.card import write_card
from ffnet_search.export.exported import CHECKPOINT, WEIGHTS, ExportedNetwork, read_card, read_exported
from ffnet_search.files.bounded import read_json
from ffnet_search.formatting import plural
from ffnet_search.models.weights_file import weights_file
from ffnet_search.progress import say

NAMES = "names.json"
OLD = ".old"  # suffix of the front that is being replaced
FOLDER = re.compile(r"[0-9]{1,6}-[^/\\\0]+")  # the number and the key of a network: no path that leads elsewhere
WEIGHT_TOLERANCE = 1e-4  # of two weights that are the same but for another number of threads


def folder_names(pareto: Path, keys: Iterable[str]) -> dict[str, str]:
    """The names of exported networks by key: the known ones, then those of `keys`, with the next numbers."""
    names = _read_names(pareto)
    for key in keys:
        if key not in names:
            number = 1 + max((int(name.partition("-")[0]) for name in names.values()), default=0)
            names[key] = f"{number:02d}-{key}"
    return names


def write_names(pareto: Path, names: Mapping[str, str]) -> None:
    """Write the names of exported networks into the folder of the front."""
    write_json(pareto / NAMES, names)


def _read_names(pareto: Path) -> dict[str, str]:
    found = {path.name.partition("-")[2]: path.name for path in sorted(pareto.glob("*-*")) if path.is_dir()}
    try:
        stored = read_json(pareto / NAMES)
        found = {**{key: name for key, name in stored.items() if FOLDER.fullmatch(str(name))}, **found}
    except (OSError, ValueError, AttributeError):
        pass  # of an earlier version, or damaged: the folders have names
    return {key: name for key, name in found.items() if FOLDER.fullmatch(name)}


def recover_front(files: RunPaths) -> None:
    """Put back the old front where a process was killed before the new one took its place."""
    if not files.pareto.exists() and _old(files).exists():
        os.replace(_old(files), files.pareto)


def replace_front(files: RunPaths, scratch: Path) -> None:
    """Put a newly exported front in the place of the old one.

    Files beside a network that is exported again, such as other formats, are kept with it. One that is not, or
    has other weights now, moves with all its files to `previous-DATE/pareto`, which a line reports."""
    target, old = files.pareto, _old(files)
    shutil.rmtree(old, ignore_errors=True)
    folders = sorted(path for path in target.glob("*") if path.is_dir())
    left = [path for path in folders if not _keep_files(path, scratch / path.name)]
    if left:
        aside = files.previous() / target.name
        aside.mkdir(parents=True)
        for path in left:
            os.replace(path, aside / path.name)
        say(
            f"export: {plural(len(left), 'network')} exported before and not now, or with other weights: moved to "
            f"{aside} ({', '.join(path.name for path in left)})"
        )
    if target.exists():
        os.replace(target, old)
    os.replace(scratch, target)
    shutil.rmtree(old, ignore_errors=True)


def _old(files: RunPaths) -> Path:
    return files.pareto.with_name(f"{files.pareto.name}{OLD}{SUFFIX}")


def _keep_files(old: Path, new: Path) -> bool:
    """Copy what the new folder of a network lacks from the old one; return False if it is another network."""
    if not new.exists() or not _same_weights(old, new):
        return False
    for path in old.iterdir():
        if not (new / path.name).exists():
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, new / path.name)
    formats = read_card(old).get("formats")
    if formats:
        write_card(new, {**read_card(new), "formats": formats})
    return True


def _same_weights(old: Path, new: Path) -> bool:
    for name in (WEIGHTS, CHECKPOINT):
        paths = old / name, new / name
        if not all(path.exists() for path in paths):
            continue
        if paths[0].read_bytes() == paths[1].read_bytes():
            return True
        if name == CHECKPOINT:
            return False
        try:
            before, after = (load_file(weights_file(path)) for path in paths)
        except (OSError, ValueError, SafetensorError):
            return False
        return before.keys() == after.keys() and all(
            before[tensor].shape == after[tensor].shape
            and np.allclose(before[tensor], after[tensor], WEIGHT_TOLERANCE, WEIGHT_TOLERANCE)
            for tensor in before
        )
    return False


def asked_for(pareto: Path) -> list[str]:
    """The keys of networks that a user exported beside the front: they stay with it."""
    return [network.key for network in read_exported(pareto) if _is_asked_for(network)]


def _is_asked_for(network: ExportedNetwork) -> bool:
    return bool(network.read_card().get("asked_for"))
