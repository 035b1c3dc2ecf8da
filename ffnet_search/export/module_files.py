"""The files of a user-supplied module: ONNX, written from its `example_input_array` and compared with torch, and what
its data module adds, facts in the card and a script that predicts."""

from __future__ import annotations

import copy
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule
from torch import Tensor

from ffnet_search.errors import SweepError
from ffnet_search.export.exported import CHECKPOINT
from ffnet_search.progress import say

SCRIPT = "predict.py"
SAME = 1e-3  # relative and absolute difference from torch, at most


def write_module_onnx(module: LightningModule, path: Path, opset: int) -> bool:
    """Write `module` as ONNX, for any batch size, if it has an `example_input_array`; return whether it was written.

    Where torch cannot export it, or ONNX Runtime computes something else, nothing is written and a line says why: the
    weights in model.ckpt are what was asked for. The input is named `input`, the output `output`."""
    example = getattr(module, "example_input_array", None)
    if not isinstance(example, Tensor):
        return False
    try:
        net = copy.deepcopy(module).cpu().eval()
        expected = _export(net, example.cpu(), path, opset)
        problem = _difference(path, example.cpu(), expected)
    except Exception as error:  # of user code, or an operator that ONNX lacks
        problem = f"{type(error).__name__}: {' '.join(str(error).split())[:150]}"
    if problem:
        path.unlink(missing_ok=True)
        say(f"export: {type(module).__name__} is not written as ONNX ({problem}); use {CHECKPOINT}")
    return not problem


def hand_over(data: Any, folder: Path, has_onnx: bool) -> dict[str, Any]:
    """Write `predict.py` beside `model.onnx` where the data module has a `predict_script`, the path of one, and return
    what its `input_facts()` gives, plain data, as the card's `input`: what the script needs to know.

    Both are optional. Raises SweepError for a script that does not exist."""
    script = getattr(data, "predict_script", None)
    if script is not None and has_onnx:
        if not os.path.isfile(script):
            raise SweepError(f"data.name: predict_script of {type(data).__name__} must be a file, but is {script}")
        shutil.copyfile(script, folder / SCRIPT)
    facts = getattr(data, "input_facts", None)
    return {} if facts is None else {"input": dict(facts())}


def _export(net: LightningModule, example: Tensor, path: Path, opset: int) -> Tensor:
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        expected = net(example)
        if not isinstance(expected, Tensor):
            raise TypeError(f"forward must return a tensor, but returns {type(expected).__name__}")
        torch.onnx.export(
            net,
            (example,),
            str(path),
            opset_version=opset,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes={"input": {0: "batch"}, "output": {0: "batch"}},
            dynamo=False,
        )
    return expected


def _difference(path: Path, example: Tensor, expected: Tensor) -> str:
    """The difference of the written model from torch in words; empty if there is none."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {"input": example.numpy()})
    if np.allclose(output, expected.numpy(), rtol=SAME, atol=SAME):
        return ""
    return f"its output differs from torch's by {np.abs(output - expected.numpy()).max():.2g}"
