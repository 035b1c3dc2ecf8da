"""The exported networks of a run, read from its folder without torch, so that a front is listed at once."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ffnet_search.atomic_write import SUFFIX, write_bytes
from ffnet_search.config.commands import command_of
from ffnet_search.config.start import ARCHITECTURE
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import NAME, SweepError, one_line, shortened, shown
from ffnet_search.export.card_content import must_be_card
from ffnet_search.files.bounded import open_regular, read_json
from ffnet_search.metrics import FOLDS, Figures, is_cost
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.hyperparameters import Value
from ffnet_search.strict_yaml import read_yaml
from ffnet_search.tasks.base import Task, task_of
from ffnet_search.tasks.scores import Scores

UNPACKED = 1 << 28  # bytes of a split's scores; more only where they were hardly compressed, by
COMPRESSION = 20  # at most, as scores are, but no file that is made to unpack to very much
CARD, ONNX, SCORES = "card.json", "model.onnx", "scores.npz"  # of every exported FFNet
WEIGHTS, CHECKPOINT = "model.safetensors", "model.ckpt"  # of an FFNet; of a user-supplied module


@dataclass(frozen=True)
class ExportedNetwork:
    """An exported network: its folder, and the figures of its card. `architecture` is None for a user-supplied module.

    `metrics`: search_QUALITY, test_QUALITY, predicted_ms, measured_ms, params_m, ...; of a user-supplied module the
    metrics of the search and of its tests."""

    folder: Path
    architecture: Architecture | None
    metrics: Mapping[str, float]
    hyperparameters: Mapping[str, Value] = field(default_factory=dict)
    order: tuple[float, ...] = ()  # its objectives, to be minimised: by these a front is listed

    @property
    def key(self) -> str:
        return self.folder.name.partition("-")[2]

    @property
    def network(self) -> Architecture:
        """The architecture, where one is needed. Raises SweepError if there is none."""
        if self.architecture is None:
            raise SweepError(
                f"{self.folder}: must hold an FFNet, but holds a user-supplied module; load its model.ckpt with that"
            )
        return self.architecture

    def scores(self, split: str, task: Task | None = None) -> Scores | None:
        """The scores on each image of a split, "search", "test" or "folds"; None if they were not written. `task`:
        where there is no architecture that names it.

        Raises SweepError if they cannot be read."""
        path = self.folder / SCORES
        if self.architecture is not None:
            task = task_of(self.architecture.input)
        if task is None or not path.exists():
            return None
        try:
            with open_regular(path) as file, np.load(file) as arrays:  # its list is read, and then one split
                if split == FOLDS and split not in arrays.files:  # without `export.folds`
                    return None
                part = arrays.zip.getinfo(f"{split}.npy")
                if part.file_size > max(UNPACKED, COMPRESSION * part.compress_size):
                    raise ValueError(f"it must unpack to at most {COMPRESSION} times its size")
                scores = Scores(task, arrays[split].astype(np.float64))
            if scores.values_NS.ndim != 2 or not np.isfinite(np.square(scores.values_NS).sum() + scores.quality):
                raise ValueError(f"{split} must be rows of numbers")
        except Exception as error:  # NumPy and zipfile raise anything at a broken file
            reason = shortened(one_line(f"{type(error).__name__}: {error}"), NAME)
            raise SweepError(f"{path}: cannot be read as the scores of a network ({reason}); export again") from None
        return scores

    @property
    def details(self) -> dict[str, Any]:
        """The details of its card that its task wrote: see `export.network.write_details`."""
        details: dict[str, Any] = self.read_card().get("details", {})
        return details

    def read_card(self) -> dict[str, Any]:
        """The content of card.json. Raises OSError, or ValueError if it is no card."""
        return read_card(self.folder)


def read_exported(pareto: Path) -> list[ExportedNetwork]:
    """The exported front in that folder, best first; empty before the export. Raises SweepError if it is broken."""
    networks = [read_network(path.parent) for path in pareto.glob(f"*/{CARD}") if path.parent.suffix != SUFFIX]
    return sorted(networks, key=lambda network: (network.order, network.folder.name))


def exported_of(sweep: Sweep, top: int | None = None, key: str | None = None) -> list[ExportedNetwork]:
    """The best `top` exported networks of a run, or that of `key`. Raises SweepError if there is none."""
    networks = [one for one in read_exported(sweep.files.pareto) if key is None or one.key == key][:top]
    if not networks:
        verb = "export" if sweep.files.study.exists() else "run"
        raise SweepError(f"{sweep.files.folder}: nothing is exported yet; run `{command_of(verb, sweep)}` first")
    return networks


def write_scores(folder: Path, scores: Mapping[str, Scores]) -> None:
    """Write the scores of a network by split, with seven digits, as `ExportedNetwork.scores` reads them."""
    content = io.BytesIO()
    arrays: dict[str, Any] = {split: one.values_NS.astype(np.float32) for split, one in scores.items()}
    np.savez_compressed(content, **arrays)
    write_bytes(folder / SCORES, content.getvalue())


def read_network(folder: Path) -> ExportedNetwork:
    """The exported network in a folder. Raises SweepError if it is broken."""
    try:
        return _read(folder)
    except (OSError, KeyError, TypeError, ValueError) as error:
        where = "" if str(folder) in str(error) else f"{CARD}: "
        raise SweepError(f"{folder}: cannot be read as an exported network ({where}{error}); export again") from None


def _read(folder: Path) -> ExportedNetwork:
    path, card = folder / ARCHITECTURE, read_card(folder)
    architecture = Architecture.from_dict(read_yaml(path)) if path.exists() else None
    figures = Figures.read(card["metrics"], folder / CARD)
    order = tuple(float(value) for value in card.get("order", ()))
    return ExportedNetwork(folder, architecture, figures, card.get("hyperparameters", {}), order)


def read_card(folder: Path) -> dict[str, Any]:
    """The content of a folder's card.json. Raises OSError, or ValueError if it is not a card."""
    path = folder / CARD
    card = read_json(path)
    if not isinstance(card, dict):
        raise ValueError(f"{path} must hold a mapping, but holds {shown(card)}")
    for name, kinds in (("hyperparameters", None | bool | int | float | str), ("formats", dict)):
        content = card.get(name, {})
        if not isinstance(content, dict) or not all(isinstance(value, kinds) for value in content.values()):
            raise ValueError(f"{path}: {name} must be a mapping of plain values, but is {shown(content)}")
    must_be_card(card, path)
    for name, entry in card.get("formats", {}).items():
        if not _is_format(entry):
            raise ValueError(f"{path}: formats.{name} must hold files of its folder and numbers, but is {shown(entry)}")
    return card


def _is_format(entry: Mapping[str, Any]) -> bool:
    """True for files in the folder itself and numbers, a latency among them where the model has run."""
    files = entry.get("files", [])
    are_here = isinstance(files, list) and all(isinstance(one, str) and Path(one).name == one != ".." for one in files)
    numbers = {name: value for name, value in entry.items() if name not in ("files", "versions")}
    are_numbers = all(isinstance(value, int | float) and not value < 0 for value in numbers.values())
    has_run = "latency_ms" in entry or "max_difference" not in entry
    are_costs = are_numbers and all(is_cost(value) for name, value in numbers.items() if name.endswith("ms"))
    return are_here and has_run and are_costs
