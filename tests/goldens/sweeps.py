"""The sweeps that goldens are made of, and where they are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent
DIGITS_SPACE = ROOT / "search_spaces" / "ffnet_digits.yaml"
TINY_SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 10},
    "stem": {"width": [8], "stride": [1]},
    "stages": [
        {"depth": [1], "width": [16], "token_kernel": [3, 5], "expansion": [2, 3]},
        {"depth": [1, 2], "width": [16, 32], "token_kernel": 3, "mixer": ["ffn_attention", "pool"], "expansion": 2},
    ],
}
DIGITS: dict[str, Any] = {"name": "digits", "batch_size": 128, "validation": 0.25, "calibration": 128, "workers": 0}


def write_sweep(folder: Path, content: dict[str, Any], name: str = "tiny.yaml") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(yaml.safe_dump({"runs": str(folder / "runs"), **content}), encoding="utf-8")
    return folder / name
