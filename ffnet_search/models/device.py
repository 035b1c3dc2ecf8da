"""The device that networks are evaluated and judged on."""

from __future__ import annotations

import torch


def fastest_device() -> torch.device:
    """The current GPU if CUDA has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
