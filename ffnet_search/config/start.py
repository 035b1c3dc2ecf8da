"""The weights that a training starts from, as a sweep names them: `train.start_from`.

The name of an official checkpoint, which is downloaded to a cache; the path of one; another run's folder or supernet;
the folder of an exported network. Nothing is loaded here, so that a check is quick."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

from ffnet_search.config.files import RunPaths
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.files.bounded import open_regular

ARCHITECTURE, TRAINABLE = "architecture.yaml", "trainable.safetensors"  # of every exported FFNet
RELEASE = "https://github.com/ysj9909/FFNet/releases/download/v1.0"  # of the reference implementation, Apache-2.0
OFFICIAL: Mapping[str, str] = {  # checkpoint -> its architecture, a preset
    "ffnet_1": "ffnet_1",
    "ffnet_2": "ffnet_2",
    "ffnet_3": "ffnet_3",
    "ffnet_1_distillation": "ffnet_1",
    "ffnet_2_distillation": "ffnet_2",
    "ffnet_3_distillation": "ffnet_3",
    "ffnet_3_384": "ffnet_3",
    "ffnet_4_384": "ffnet_4",
}
SUFFIX = ".pth.tar"  # of an official checkpoint, which is no archive
LEGACY = b"\x80"  # first byte of a checkpoint of torch before 1.6, which is a bare pickle


def is_official(start_from: Path) -> bool:
    """True if `start_from` names an official checkpoint, and no file or folder of that name exists."""
    return str(start_from) in OFFICIAL and not os.path.exists(start_from)


def cached(name: str) -> Path:
    """The place of an official checkpoint in the user's cache, whether it is there or not."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "ffnet-search" / f"{name}{SUFFIX}"


def find_weights(start_from: Path) -> Path:
    """The file of the weights; of an official checkpoint its place in the cache. Raises SweepError."""
    if is_official(start_from):
        return cached(str(start_from))
    place = Path(os.path.expanduser(start_from))
    if os.path.isdir(place):
        for path in (RunPaths(place).supernet, place / TRAINABLE):
            if path.exists():
                return path
        raise SweepError(
            f"train.start_from {start_from}: must be the folder of a run or of an exported network, but holds neither "
            f"{RunPaths(place).supernet.name} nor {TRAINABLE}"
        )
    if not os.path.exists(place):
        raise SweepError(
            f"train.start_from {start_from}: no such file or folder; it must be an official checkpoint (a file, or one "
            f"of {', '.join(OFFICIAL)}), a supernet, the folder of a run, or that of an exported network"
            f"{did_you_mean(str(start_from), OFFICIAL)}"
        )
    return place


def check_start(start_from: Path) -> None:
    """Raise SweepError if the weights do not exist, or are not in a format that can be read."""
    path = find_weights(start_from)
    if not path.exists():  # an official checkpoint, which is still to be downloaded
        return
    if path.name == TRAINABLE:
        if not path.with_name(ARCHITECTURE).exists():
            raise SweepError(f"train.start_from {start_from}: must hold {ARCHITECTURE} beside {TRAINABLE}")
        return
    try:
        with open_regular(path) as file:
            is_archive = zipfile.is_zipfile(file)
            file.seek(0)
            is_checkpoint = is_archive or file.read(1) == LEGACY
    except OSError as error:
        raise SweepError(f"train.start_from {start_from}: {path} cannot be read: {error.strerror or error}") from None
    if not is_checkpoint:
        raise SweepError(
            f"train.start_from {start_from}: {path} must be a checkpoint that torch wrote, but is another file, or is "
            "cut off"
        )
