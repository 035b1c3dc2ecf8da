"""Token mixers: the values of the `mixer` axis (arXiv 2406.02021, figure 1: query, interaction, activation, values).

Each class is the training form of a mixer, elastic in width and kernel; `deploy` gives the deployed form. Its costs are
inherited from `space/mixers.py`, which names it by import path; a user-supplied mixer defines them in the class itself.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ffnet_search.models.elastic import DenseConv2d, as_conv, dense, depthwise, folded
from ffnet_search.plugins import find_class
from ffnet_search.space import mixers as costs
from ffnet_search.space.architecture import Form
from ffnet_search.space.mixers import HEAD_DIM, Mixer, find_mixer


class TokenMixer(nn.Module, Mixer):
    """The training form of a mixer, made as `TokenMixer(width, kernel, form)` for the largest width and kernel."""

    @abstractmethod
    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W), cropped to the channels of the input and to `kernel`."""

    @abstractmethod
    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        """The same function at its largest size: norms folded, branches merged, output scaled by `layer_scale`."""


def make_mixer(name: str, width: int, kernel: int, form: Form) -> TokenMixer:
    """The training form of a mixer by its registered name or import path."""
    mixer = find_mixer(name)
    network = mixer if issubclass(mixer, TokenMixer) else find_class(mixer.network, "mixer", TokenMixer)
    return cast(TokenMixer, network(width, kernel, form))


class FFNAttention(costs.FFNAttention, TokenMixer):
    """FFNified attention: `conv2(GELU(conv1(fc(x))))`, fc 1 x 1 + BN, the others depthwise (paper, section 3.2)."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.fc = dense(width, width, 1, form)
        self.conv1 = depthwise(width, kernel, form, norm_at_3=False)
        self.conv2 = depthwise(width, kernel, form, norm_at_3=False)

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        query_BCHW = self.fc(x_BCHW, x_BCHW.shape[1])
        coefficients_BCHW = F.gelu(self.conv1(query_BCHW, kernel))
        return cast(Tensor, self.conv2(coefficients_BCHW, kernel))

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        weight, bias = folded(self.fc)
        width = len(weight)
        return nn.Sequential(
            as_conv(weight, bias),
            as_conv(*folded(self.conv1), groups=width),
            nn.GELU(),
            as_conv(*folded(self.conv2), groups=width, scale=layer_scale),
        )


class Pool(costs.Pool, TokenMixer):
    """Mean of k x k neighbours minus identity, after the query projection (PoolFormer's, arXiv 2111.11418)."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.fc = dense(width, width, 1, form)

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        return _mean_minus_identity(self.fc(x_BCHW, x_BCHW.shape[1]), kernel)

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        # A constant per channel cancels between mean and identity, so the projection needs no bias.
        return _DeployedPool(as_conv(folded(self.fc)[0], None, scale=layer_scale), kernel)


def _mean_minus_identity(x_BCHW: Tensor, kernel: int) -> Tensor:
    return F.avg_pool2d(x_BCHW, kernel, 1, kernel // 2, count_include_pad=False) - x_BCHW


class _DeployedPool(nn.Module):
    def __init__(self, fc: nn.Conv2d, kernel: int) -> None:
        super().__init__()
        self.fc, self.kernel = fc, kernel

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return _mean_minus_identity(self.fc(x_BCHW), self.kernel)


class Attention(costs.Attention, TokenMixer):
    """Multi-head self-attention over the pixels, heads of `HEAD_DIM` channels; BN after each projection but the last.

    Meant for late stages: its cost grows with the square of the number of pixels."""

    def __init__(self, width: int, kernel: int, form: Form) -> None:
        super().__init__()
        self.q = dense(width, width, 1, form)
        self.k = dense(width, width, 1, form)
        self.v = dense(width, width, 1, form)
        self.proj = DenseConv2d(width, width, 1)

    def forward(self, x_BCHW: Tensor, kernel: int) -> Tensor:
        width = x_BCHW.shape[1]
        mixed_BCHW = _attend(self.q(x_BCHW, width), self.k(x_BCHW, width), self.v(x_BCHW, width))
        return cast(Tensor, self.proj(mixed_BCHW, width))

    def deploy(self, kernel: int, layer_scale: Tensor | None) -> nn.Module:
        weights, biases = zip(*(folded(part) for part in (self.q, self.k, self.v)), strict=True)
        qkv = as_conv(torch.cat(weights), torch.cat(biases))
        return _DeployedAttention(qkv, as_conv(*folded(self.proj), scale=layer_scale))


def _attend(q_BCHW: Tensor, k_BCHW: Tensor, v_BCHW: Tensor) -> Tensor:
    """softmax(q k / sqrt(d)) v per head; G = batch x heads, D = HEAD_DIM, N = pixels; by simple operators."""
    _, width, height, breadth = q_BCHW.shape
    shape = (-1, HEAD_DIM, height * breadth)
    q_GDN, k_GDN, v_GDN = q_BCHW.reshape(shape), k_BCHW.reshape(shape), v_BCHW.reshape(shape)
    scores_GNN = (q_GDN.transpose(1, 2) @ k_GDN * HEAD_DIM**-0.5).softmax(-1)
    return (v_GDN @ scores_GNN.transpose(1, 2)).reshape(-1, width, height, breadth)


class _DeployedAttention(nn.Module):
    def __init__(self, qkv: nn.Conv2d, proj: nn.Conv2d) -> None:
        super().__init__()
        self.qkv, self.proj = qkv, proj

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return cast(Tensor, self.proj(_attend(*self.qkv(x_BCHW).chunk(3, 1))))
