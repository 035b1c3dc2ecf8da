"""Files of weights, which may be of strangers: what loading one takes is known before, by its size."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ffnet_search.errors import one_line, shortened
from ffnet_search.files.bounded import open_regular
from ffnet_search.space.architecture import Architecture

# Errors of torch's safe unpickler, depending on which byte of a file is wrong.
UNREADABLE = (
    OSError, RuntimeError, EOFError, LookupError, TypeError, ValueError, AttributeError, AssertionError,
    pickle.UnpicklingError, zipfile.BadZipFile,
)  # fmt: skip
TENSORS = 20_000  # in a file; those of FFNet-4 with the state of its optimizer and an average are 5,000
HEADER_BYTES = 1 << 22  # of safetensors, which names each tensor
REASON = 150  # characters of an error's words


def weights_file(path: Path) -> Path:
    """The path of a file of weights that takes no more memory than it has bytes, nor long. Raises OSError, ValueError
    or BadZipFile."""
    with open_regular(path) as file:
        if zipfile.is_zipfile(file):  # as torch writes them, without compression
            entries = zipfile.ZipFile(file).infolist()
            if len(entries) > TENSORS:
                raise ValueError(f"it must hold at most {TENSORS:,} tensors, but holds {len(entries):,}")
            if sum(entry.file_size for entry in entries) > path.stat().st_size:
                raise ValueError("it must not be compressed, as files of torch are not")
        elif path.suffix == ".safetensors":
            file.seek(0)
            if int.from_bytes(file.read(8), "little") > HEADER_BYTES:
                raise ValueError(f"its header must have at most {HEADER_BYTES:,} bytes, but has more")
    return path


def load_tensors(path: Path, *, plain: bool = True) -> Any:
    """The content of a file that torch wrote. `plain`: it must hold tensors and plain values alone. Raises errors of
    `UNREADABLE`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of a pickle that is no checkpoint, before the error
        return torch.load(weights_file(path), map_location="cpu", weights_only=plain)


def take_weights(net: torch.nn.Module, state: Mapping[str, Any]) -> None:
    """Load a state into a network. Raises ValueError if it holds whole numbers for weights: torch converts them, and
    what was labelled wrongly becomes weights of 1e9, which no check of finite ones finds; RuntimeError for others."""
    for name, values in net.state_dict().items():
        given = state.get(name)
        if isinstance(given, torch.Tensor) and values.is_floating_point() and not given.is_floating_point():
            raise ValueError(f"{name} must hold {values.dtype}, but holds {given.dtype}".replace("torch.", ""))
    net.load_state_dict(dict(state))


def must_hold(path: Path, arch: Architecture) -> None:
    """Raise ValueError if a file has fewer bytes than the network has parameters: the network is made before its
    weights are read."""
    if path.stat().st_size < arch.params_m * 1e6:
        raise ValueError(
            f"its network has {arch.params_m:,.0f} million parameters, more than the file has bytes ({arch})"
        )


def reason_of(error: BaseException) -> str:
    """The words of an error of reading weights, on one line."""
    if isinstance(error, pickle.UnpicklingError) or "weights_only" in str(error):
        return "it is no checkpoint of tensors alone, and anything else could run code"
    return shortened(one_line(error) or type(error).__name__, REASON)
