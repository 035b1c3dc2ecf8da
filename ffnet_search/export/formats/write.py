"""Exported networks in another format, each run and compared with torch before it counts as written.

Results (difference of the outputs, latency, for inexact formats the quality) go into the network's card, under
"formats". Latency is of a batch of one, in turns with the ONNX model on one thread, so that a busy machine slows both.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from ffnet_search.config.sweep import Sweep
from ffnet_search.data.modules.base import Data
from ffnet_search.errors import SweepError
from ffnet_search.export.card import write_card
from ffnet_search.export.exported import ExportedNetwork, exported_of
from ffnet_search.export.formats.base import Format, Forward, Source, find_format
from ffnet_search.export.formats.onnx import Onnx
from ffnet_search.export.formats.quality import quality_of
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.export.network import load_deployed
from ffnet_search.latency.timing import compare
from ffnet_search.metrics import LATENCY
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.models.deployed import Deployed
from ffnet_search.progress import progress
from ffnet_search.provenance import installed_versions
from ffnet_search.tasks.base import task_of
from ffnet_search.training.fit import sweep_data

TOLERANCE = 1e-3  # largest difference of an output from torch's
POINTS_LOST = 0.5  # of the quality as it is printed: an inexact format that loses more is marked in the card
COMPARED = 8  # images


def export_format(sweep: Sweep, name: str, top: int | None = None, key: str | None = None) -> list[ExportedNetwork]:
    """Write the best `top` exported networks of a run, or that of `key`, in a format; check them, noted in their cards.

    A folder that cannot be written must hold it already. Raises SweepError if it does not, if the format is unknown
    or a package is missing, if no network is exported yet, or if a written model computes something else."""
    format = find_format(name)
    networks = exported_of(sweep, top, key)
    writable = [network for network in networks if _can_be_written(network, name, format)]
    if not writable:
        return networks
    data = sweep_data(sweep)
    with progress(f"export {name}", len(writable), "networks") as bar:
        for network in writable:
            with _quiet(), threads_for(0):
                format.write(network.folder, Source(load_deployed(network.folder), data.calibration))
                checked = _check(network, name, format, data)
            card = network.read_card()
            card.setdefault("formats", {})[name] = checked
            write_card(network.folder, card)
            ms = checked.get("latency_ms")
            bar.advance(note=network.folder.name if ms is None else f"{network.folder.name}: {LATENCY.format(ms)}")
    return networks


def export_all(
    sweep: Sweep, top: int | None = None, key: str | None = None
) -> tuple[list[ExportedNetwork], dict[str, str]]:
    """Write the best `top` exported networks, or that of `key`, in every format that can be written here.

    Return them, and for each other format why it is not written. Raises SweepError if no network is exported yet."""
    problems: dict[str, str] = {}
    networks = exported_of(sweep, top, key)
    for name in FORMATS:
        try:
            export_format(sweep, name, top, key)
        except SweepError as error:
            problems[name] = str(error)
    return networks, problems


def _can_be_written(network: ExportedNetwork, name: str, format: Format) -> bool:
    """False if the network's folder is read only and holds the format. Raises SweepError if it does not."""
    if os.access(network.folder, os.W_OK):
        return True
    has_files = all((network.folder / file.name).exists() for file in format.files)
    if not has_files or name not in network.read_card().get("formats", {}):
        raise SweepError(
            f"{network.folder}: cannot be written, and holds no {name} model; copy the run to where you may write, "
            "and export from there"
        )
    return False


def _check(network: ExportedNetwork, name: str, format: Format, data: Data) -> dict[str, Any]:
    """The entry of a card: files, and where the model runs here its difference, latency and, if inexact, quality."""
    task = task_of(network.network.input)
    checked: dict[str, Any] = {"files": [file.name for file in format.files]}
    net, forward = load_deployed(network.folder), format.forward(network.folder)
    if forward is not None:
        images_BCHW = data.calibration[:COMPARED].numpy()
        with torch.inference_mode():
            expected = net(torch.from_numpy(images_BCHW)).numpy()
        checked["max_difference"] = task.difference(forward(images_BCHW), expected)
        onnx, one_1CHW = Onnx().forward(network.folder), np.zeros_like(images_BCHW[:1])
        ms, onnx_ms = compare(lambda: forward(one_1CHW), lambda: onnx(one_1CHW))
        checked |= {"latency_ms": ms, "onnx_latency_ms": onnx_ms}
    checked["versions"] = installed_versions("torch", *format.packages)
    if forward is None:
        return checked
    if not format.is_exact:
        return checked | _quality(net, onnx, forward, data)
    if not checked["max_difference"] <= TOLERANCE:  # so that NaN is refused, too
        raise SweepError(
            f"{network.folder}: the {name} model must give torch's {task.output_name} within {TOLERANCE:g}, but "
            f"differs by {checked['max_difference']:.2g}; do not use {', '.join(checked['files'])}, and report the "
            f"versions: {checked['versions']}"
        )
    return checked


def _quality(net: Deployed, before: Forward, after: Forward, data: Data) -> dict[str, Any]:
    task = task_of(net.arch.input)
    old, new = (quality_of(forward, data.test_dataloader(), net) for forward in (before, after))
    points_lost = task.quality.sign * task.quality.scale * (new - old)
    return {
        f"{task.test_quality}_before": old,
        task.test_quality: new,
        "within_half_a_point": points_lost <= POINTS_LOST,
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the warnings and logs of exporters: the written model is checked instead."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logging.disable(disabled)
