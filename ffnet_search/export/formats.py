"""Exported networks in the formats of other runtimes, each run and compared with torch before it counts as written.

What was found (difference of logits, latency, for int8 the accuracies) goes into the network's card, under "formats".
Latency is that of one batch, in turns with the ONNX model on one thread, so that a busy machine slows both.
"""

from __future__ import annotations

import json
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from lightning import LightningDataModule
from numpy.typing import NDArray
from torch import nn

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError, did_you_mean
from ffnet_search.export.exported import ExportedNetwork, read_exported
from ffnet_search.export.front import load
from ffnet_search.latency.timing import compare
from ffnet_search.models.cpu_threads import threads_for
from ffnet_search.progress import progress
from ffnet_search.training.fit import sweep_data

Floats = NDArray[np.float32]
Forward = Callable[[Floats], Floats]  # (B, C, H, W) -> logits (B, classes)

TOLERANCE = 1e-3  # of the largest difference of a logit from torch's
INT8_POINTS = 0.5  # of top-1 in per cent that int8 may lose without a word
CALIBRATION = 256  # images that int8's ranges are taken from


@dataclass(frozen=True)
class Written:
    """A network in a format: the names of its files, and how it is run here (by its own runtime where `is_timed`)."""

    files: tuple[str, ...]
    forward: Forward
    is_timed: bool = True


def export_format(sweep: Sweep, name: str, top: int | None = None) -> list[ExportedNetwork]:
    """Writes the best `top` exported networks of a run in a format, checks them, and says so in their cards.

    Raises SweepError where the format is unknown or cannot be made here, where nothing is exported yet, and where a
    written model does not compute what the network does.
    """
    if name not in FORMATS:
        raise SweepError(f"--format {name!r} is not a known format{did_you_mean(name, FORMATS)}")
    write, package = FORMATS[name]
    if package and find_spec(package) is None:
        raise SweepError(f"--format {name} needs {package}, which is not installed; run: pip install {package}")
    picks = read_exported(sweep.files)[:top]
    if not picks:
        raise SweepError(f"{sweep.files.folder}: nothing is exported yet; run `ffnet-search export` without --format")
    data = sweep_data(sweep)
    with progress(f"export {name}", len(picks), "networks") as bar:
        for pick in picks:
            with _quietly(), threads_for(0):
                found = _check(pick, name, write(pick.folder, load(pick.folder), data), data)
            _note(pick.folder / "card.json", name, found)
            ms = found.get("latency_ms")
            bar.advance(note=f"{pick.folder.name}{'' if ms is None else f': {ms:.3g} ms'}")
    return picks


def _check(pick: ExportedNetwork, name: str, written: Written, data: LightningDataModule) -> dict[str, Any]:
    """Runs it: the difference from torch, one batch's milliseconds, and for int8 the accuracy before and after."""
    shape = pick.network.input
    images = data.calibration[:8].numpy()  # type: ignore[attr-defined]
    with torch.inference_mode():
        expected = load(pick.folder)(torch.from_numpy(images)).numpy()
    difference = float(np.abs(written.forward(images) - expected).max())
    plain = onnx_forward(pick.folder / "model.onnx")
    one = np.zeros((1, shape.channels, shape.resolution, shape.resolution), np.float32)
    found: dict[str, Any] = {"files": list(written.files), "max_difference": difference}
    if written.is_timed:
        ms, onnx_ms = compare(lambda: written.forward(one), lambda: plain(one))
        found |= {"latency_ms": ms, "onnx_latency_ms": onnx_ms}
    found["versions"] = {package: version(package) for package in _packages(name)}
    if name == "int8":
        before, after = (_accuracy(forward, data) for forward in (plain, written.forward))
        found |= {"test_accuracy_before": before, "test_accuracy": after}
        found["within_half_a_point"] = 100 * (before - after) <= INT8_POINTS
    elif difference > TOLERANCE:
        raise SweepError(
            f"{pick.folder}: the {name} model must give torch's logits within {TOLERANCE:g}, but differs by "
            f"{difference:.2g}; do not use {', '.join(written.files)}, and tell us of the versions: {found['versions']}"
        )
    return found


def _packages(name: str) -> tuple[str, ...]:
    return ("torch", {"openvino": "openvino", "coreml": "coremltools"}.get(name, "onnxruntime"))


def _accuracy(forward: Forward, data: LightningDataModule) -> float:
    hits = [forward(x_BCHW.numpy()).argmax(1) == label_B.numpy() for x_BCHW, label_B in data.test_dataloader()]
    return float(np.concatenate(hits).mean())


def onnx_forward(path: Path) -> Forward:
    """ONNX Runtime on one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def _onnx(folder: Path, net: nn.Module, data: LightningDataModule) -> Written:
    """Written with the front already."""
    return Written(("model.onnx",), onnx_forward(folder / "model.onnx"))


def _pt2(folder: Path, net: nn.Module, data: LightningDataModule) -> Written:
    """`torch.export`, for any batch size: torch.export.load(path).module()."""
    example = data.calibration[:2].contiguous()  # type: ignore[attr-defined]
    program = torch.export.export(net, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, folder / "model.pt2")
    loaded = torch.export.load(folder / "model.pt2").module()

    def forward(images: Floats) -> Floats:
        with torch.inference_mode():
            return np.asarray(loaded(torch.from_numpy(images)))

    return Written(("model.pt2",), forward)


def _openvino(folder: Path, net: nn.Module, data: LightningDataModule) -> Written:
    """OpenVINO IR in float32, from the ONNX model."""
    import openvino

    core = openvino.Core()
    openvino.save_model(core.read_model(folder / "model.onnx"), folder / "openvino.xml", compress_to_fp16=False)
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
    request = core.compile_model(folder / "openvino.xml", "CPU", settings).create_infer_request()
    files = ("openvino.xml", "openvino.bin")
    return Written(files, lambda images: np.array(request.infer([images])[0]))


def _int8(folder: Path, net: nn.Module, data: LightningDataModule) -> Written:
    """ONNX with 8-bit weights (per channel) and activations, whose ranges are those of the calibration split."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            images = data.calibration[:CALIBRATION].contiguous().numpy()  # type: ignore[attr-defined]
            self.batches: Iterator[Mapping[str, Floats]] = ({"images": x} for x in np.array_split(images, 8))

        def get_next(self) -> Mapping[str, Floats] | None:
            return next(self.batches, None)

    prepared, target = folder / "prepared.onnx", folder / "model.int8.onnx"
    try:
        quant_pre_process(folder / "model.onnx", prepared, skip_symbolic_shape=True)
        quantize_static(
            prepared, target, Reader(), QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    finally:
        prepared.unlink(missing_ok=True)
    return Written((target.name,), onnx_forward(target))


def _coreml(folder: Path, net: nn.Module, data: LightningDataModule) -> Written:
    """An ML program for one image; computed from its file by torch, since CoreML is not here."""
    from ffnet_search.export.coreml import convert, forward

    path = folder / "model.mlpackage"
    shutil.rmtree(path, ignore_errors=True)
    convert(net, (1, *data.calibration.shape[1:]), path)  # type: ignore[attr-defined]
    return Written((path.name,), forward(path), is_timed=False)


Write = Callable[[Path, nn.Module, LightningDataModule], Written]
FORMATS: dict[str, tuple[Write, str]] = {  # name -> what writes it, the package it needs
    "onnx": (_onnx, ""),
    "pt2": (_pt2, ""),
    "openvino": (_openvino, "openvino"),
    "int8": (_int8, ""),
    "coreml": (_coreml, "coremltools"),
}


@contextmanager
def _quietly() -> Iterator[None]:
    """What exporters say of themselves is not the reader's business; what they get wrong is checked."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _note(card: Path, name: str, found: Mapping[str, Any]) -> None:
    content = json.loads(card.read_text(encoding="utf-8"))
    content.setdefault("formats", {})[name] = dict(found)
    card.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


__all__ = ["FORMATS", "export_format"]
