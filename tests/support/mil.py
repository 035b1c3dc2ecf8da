"""An interpreter of CoreML's programs (MIL) in torch: a package is computed from its file, operation by operation.

CoreML itself runs on Apple's systems only. The dozen kinds of operations of deployed networks are computed here with
the weights of the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

Floats = NDArray[np.float32]


def forward(path: Path) -> Callable[[Floats], Floats]:
    """The program in a package as a function of images (B, C, H, W), computed one by one."""
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.models import MLModel

    model = MLModel(str(path), skip_model_load=True)
    spec = model.get_spec()
    [main] = load(spec, spec.specificationVersion, model.weights_dir).functions.values()

    @torch.inference_mode()
    def run(images_BCHW: Floats) -> Floats:
        return np.concatenate([_run(main, image_CHW[None]) for image_CHW in images_BCHW])

    return run


def _run(main: Any, image_1CHW: Floats) -> Floats:
    values: dict[str, Tensor] = {"images": torch.from_numpy(image_1CHW)}

    def value(var: Any) -> Any:
        return var.val if var.val is not None else values[var.name]

    for op in main.operations:
        if op.op_type == "const":
            continue
        given = {name: value(var) for name, var in op.inputs.items() if var is not None}
        results = OPERATIONS[op.op_type](torch.as_tensor(given.pop("x")), given)
        for var, result in zip(op.outputs, results if isinstance(results, tuple) else (results,), strict=True):
            values[var.name] = result
    [logits] = main.outputs
    return np.asarray(values[logits.name])


def _conv(x: Tensor, a: Mapping[str, Any]) -> Tensor:
    bias = None if a.get("bias") is None else torch.as_tensor(a["bias"])
    strides, dilations = a["strides"].tolist(), a["dilations"].tolist()
    return F.conv2d(_padded(x, a), torch.as_tensor(a["weight"]), bias, strides, 0, dilations, int(a["groups"]))


def _padded(x: Tensor, a: Mapping[str, Any]) -> Tensor:
    if a["pad_type"] == "valid":
        return x
    assert a["pad_type"] == "custom", a["pad_type"]
    top, bottom, left, right = a["pad"].tolist()
    return F.pad(x, (left, right, top, bottom))


def _average(x: Tensor, a: Mapping[str, Any]) -> Tensor:
    size, strides = a["kernel_sizes"].tolist(), a["strides"].tolist()
    sums = F.avg_pool2d(_padded(x, a), size, strides)
    counts = _padded(torch.ones_like(x), a) if a["exclude_padding_from_average"] else torch.ones_like(_padded(x, a))
    return sums / F.avg_pool2d(counts, size, strides)


def _matmul(x: Tensor, a: Mapping[str, Any]) -> Tensor:
    y = torch.as_tensor(a["y"])
    return (x.mT if a["transpose_x"] else x) @ (y.mT if a["transpose_y"] else y)


# Of the deployed network, as coremltools 9 writes them: name in MIL -> what it computes of `x` and its other inputs.
OPERATIONS: Mapping[str, Callable[[Tensor, Mapping[str, Any]], Any]] = {
    "conv": _conv,
    "avg_pool": _average,
    "matmul": _matmul,
    "gelu": lambda x, a: F.gelu(x, approximate={"EXACT": "none", "TANH_APPROXIMATION": "tanh"}[a["mode"]]),
    "add": lambda x, a: x + torch.as_tensor(a["y"]),
    "sub": lambda x, a: x - torch.as_tensor(a["y"]),
    "mul": lambda x, a: x * torch.as_tensor(a["y"]),
    "softmax": lambda x, a: x.softmax(int(a["axis"])),
    "split": lambda x, a: x.split(a["split_sizes"].tolist(), int(a["axis"])),
    "reshape": lambda x, a: x.reshape(a["shape"].tolist()),
    "reduce_mean": lambda x, a: x.mean(a["axes"].tolist(), keepdim=bool(a["keep_dims"])),
    "linear": lambda x, a: F.linear(x, torch.as_tensor(a["weight"]), torch.as_tensor(a["bias"])),
}
