"""Formats of exported networks for other runtimes.

A format is a file beside this one and a row in `registry.FORMATS`. A user-supplied one is a subclass of `Format`, which
`--format package.module:Class` names. Modules of formats import their runtime in methods: the report reads `files`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ffnet_search.errors import SweepError
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.plugins import find_class, require_packages

if TYPE_CHECKING:
    from torch import Tensor

    from ffnet_search.models.deployed import Deployed

Floats = NDArray[np.float32]
Forward = Callable[[Floats], Floats]  # normalised images (B, C, H, W) -> the network's outputs (B, ...)


class ModelFile(NamedTuple):
    """A file of a format, and its words in the report."""

    name: str
    words: str


class Source(NamedTuple):
    """A network in evaluation mode, and normalised images of the training split."""

    net: Deployed
    calibration_NCHW: Tensor


class Format(ABC):
    """One format: how it is written, and how the written model is run. Made without arguments."""

    packages: ClassVar[tuple[str, ...]] = ("onnxruntime",)  # beside torch; by default that of the model to compare with
    extra: ClassVar[str | None] = None  # of this program, that brings the packages
    files: ClassVar[tuple[ModelFile, ...]]  # the first one is the model
    is_exact: ClassVar[bool] = True  # whether outputs must be those of torch; if not, the quality is tested

    @abstractmethod
    def write(self, folder: Path, source: Source) -> None:
        """Write `files` into an exported folder, which holds the ONNX model."""

    @abstractmethod
    def forward(self, folder: Path) -> Forward | None:
        """The written model as a function, computed on one thread; None if its runtime does not exist here."""


def one_by_one(forward: Forward) -> Forward:
    """The function for any batch of a model that takes one image at a time."""
    return lambda images_BCHW: np.concatenate([forward(image_CHW[None]) for image_CHW in images_BCHW])


def find_format(name: str, field: str = "--format") -> Format:
    """The format of a registered name or an import path.

    Raises SweepError if there is none of that name, or if a package that it needs is not installed."""
    kind: type[Format] = find_class(name, field, Format, FORMATS)
    try:
        require_packages(kind, field, name)
    except SweepError as error:
        raise SweepError(f"{error}; model.onnx is exported without it") from None
    return kind()


def registered_files() -> list[ModelFile]:
    """The files of the registered formats."""
    kinds: list[type[Format]] = [find_class(name, "format", Format, FORMATS) for name in FORMATS]
    return [file for kind in kinds for file in kind.files]
