"""Initial weights of a training, `train.start_from`: loaded, checked and copied into new networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from torch import Tensor

from ffnet_search.atomic_write import write_text
from ffnet_search.config.start import ARCHITECTURE, OFFICIAL, RELEASE, SUFFIX, TRAINABLE, find_weights, is_official
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.files.digest import sha256_of
from ffnet_search.files.download import download
from ffnet_search.models.inherit import inherit, refuse_forms
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import load_reference
from ffnet_search.models.saved import holds_supernet, load_trainable, read_supernet
from ffnet_search.models.weights_file import UNREADABLE, reason_of
from ffnet_search.space.architecture import Architecture
from ffnet_search.strict_yaml import read_yaml

MAX_BYTES = 2_000_000_000  # of a checkpoint: FFNet-4 with the state of its optimizer and an average has 1.3 GB
FIELD = "train.start_from"
OTHERWISE = "name another file"  # where weights that a sweep names cannot be read


@dataclass(frozen=True)
class Start:
    """Weights to start from. `record`: what was named, and the sha256 of the file, for the card."""

    net: MetaMixer
    record: Mapping[str, str]

    def initialise(self, net: MetaMixer, images_NCHW: Tensor | None = None) -> None:
        """Copy the weights into `net`; see `models.inherit`."""
        inherit(net, self.net, images_NCHW)


def load_start(sweep: Sweep) -> Start | None:
    """The weights that the sweep starts its training from, if any; an official checkpoint is downloaded if missing.

    Raises SweepError if it cannot be read, is something else, or has another form than the sweep's networks."""
    start_from = sweep.train.start_from
    if start_from is None:
        return None
    try:
        path = find_weights(start_from)
        if is_official(start_from):
            _fetch(str(start_from), path)
        net = _load(path)
        if is_official(start_from):
            _must_be_official(str(start_from), net, path)
        refuse_forms(sweep.train.form, net)
        _must_be_finite(net, path)
    except ValueError as error:
        raise SweepError(f"{sweep.path}: {FIELD} {start_from}: {error}") from None
    except SweepError as error:
        words = str(error)
        raise SweepError(f"{sweep.path}: {words if words.startswith(FIELD) else f'{FIELD}: {words}'}") from None
    return Start(net, {"from": str(start_from), "sha256": sha256_of(path)})


def _load(path: Path) -> MetaMixer:
    if path.name == TRAINABLE:
        try:
            arch = Architecture.from_dict(read_yaml(path.with_name(ARCHITECTURE)))
            return load_trainable(path.parent, arch).eval()
        except (*UNREADABLE, SafetensorError) as error:
            raise SweepError(f"{path}: must be the weights of an exported network, but {reason_of(error)}") from None
    if holds_supernet(path, OTHERWISE):
        return read_supernet(path, OTHERWISE)
    return load_reference(path)


def _must_be_finite(net: MetaMixer, path: Path) -> None:
    """Raise SweepError for weights that are no numbers, or training would be told to learn more slowly."""
    odd = [name for name, values in net.state_dict().items() if not values.isfinite().all()]
    if odd:
        raise SweepError(f"{path}: must hold finite weights, but {odd[0]} holds NaN or infinity; take others")


def _must_be_official(name: str, net: MetaMixer, path: Path) -> None:
    wanted, found = Architecture.preset(OFFICIAL[name], net.largest.input), net.largest
    if found != wanted:
        raise SweepError(f"{path}: must hold {name} ({wanted}), but holds {found}; delete it to download it again")


def _fetch(name: str, path: Path) -> None:
    """Download an official checkpoint, and check that it is still what was downloaded.

    The release has no checksums, so the first download is trusted as far as its tensors are those of the network; its
    sha256 is kept beside it."""
    checksum = path.with_name(f"{path.name}.sha256")
    if not path.exists():
        download(f"{RELEASE}/{name}{SUFFIX}", path, field=FIELD, max_bytes=MAX_BYTES)
        write_text(checksum, f"{sha256_of(path)}\n")
    elif checksum.exists() and checksum.read_text(encoding="utf-8").strip() != sha256_of(path):
        raise SweepError(
            f"{path}: differs from what was downloaded ({checksum.name}); delete both to download it again"
        )
