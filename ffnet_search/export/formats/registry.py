"""Formats of exported networks by name. Light: the command line lists the names in its help."""

from __future__ import annotations

from collections.abc import Mapping

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
