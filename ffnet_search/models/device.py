"""The device that networks are evaluated and judged on, and the layout in memory that convolutions want there."""

from __future__ import annotations

import torch
from torch import Tensor, nn

PLANNED_MACS = 1e11  # of a batch: on an H200 a step of 1.6e11 takes 93 ms, or 69 and 11 s for the plans


def fastest_device() -> torch.device:
    """The current GPU if CUDA has one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_of(net: nn.Module) -> torch.device:
    """The device of a module's parameters; the CPU where it has none."""
    return next((parameter.device for parameter in net.parameters()), torch.device("cpu"))


def fastest_layout(device: torch.device) -> torch.memory_format:
    """The layout of images and weights: channels last on a CPU, contiguous on a GPU.

    Of channels-last images cuDNN compiles a plan for each shape of a depthwise convolution, 0.3 to 0.8 s each on an
    NVIDIA H200, and the networks of a supernet have hundreds; contiguous ones are computed by kernels of PyTorch, at
    once (docs/log/gpu.md)."""
    return torch.contiguous_format if device.type == "cuda" else torch.channels_last


def in_fastest_layout(images_BCHW: Tensor) -> Tensor:
    """The images in the layout that convolutions want on their device."""
    return images_BCHW.contiguous(memory_format=fastest_layout(images_BCHW.device))


def in_training_layout(images_BCHW: Tensor, macs: float) -> Tensor:
    """The images of a network that trains for many steps and computes so many MACs on them: on a GPU plans pay where
    these are many."""
    if images_BCHW.is_cuda and macs >= PLANNED_MACS:
        return images_BCHW.contiguous(memory_format=torch.channels_last)
    return in_fastest_layout(images_BCHW)
