"""Formats of exported networks by name. Light: the command line lists the names in its help."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ffnet_search.config.sweep import Sweep

FORMATS: Mapping[str, str] = {
    "onnx": "ffnet_search.export.formats.onnx:Onnx",
    "pt2": "ffnet_search.export.formats.pt2:Pt2",
    "openvino": "ffnet_search.export.formats.openvino:OpenVino",
    "int8": "ffnet_search.export.formats.int8:Int8",
    "litert": "ffnet_search.export.formats.litert:LiteRt",
    "ncnn": "ffnet_search.export.formats.ncnn:Ncnn",
    "executorch": "ffnet_search.export.formats.executorch:ExecuTorch",
    "coreml": "ffnet_search.export.formats.coreml:CoreMl",
}


def formats_of(sweep: Sweep) -> tuple[str, ...]:
    """The formats that each exported FFNet of a sweep gets, that of a searched precision among them."""
    searched = [device.precision for device in sweep.searched_devices if sweep.module is None]
    return tuple(dict.fromkeys([*sweep.export.formats, *(one for one in searched if one != "float32")]))
