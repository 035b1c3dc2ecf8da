"""The crop of a tensor, and the depthwise convolution whose weight gradient is replaced."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from ffnet_search.models.elastic import DepthwiseConv2d, crop


def test_crop_takes_leading_channels_and_the_centre() -> None:
    tensor = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    assert torch.equal(crop(tensor, (1, 2, 3, 3)), tensor[:1, :2, 1:4, 1:4])


@pytest.mark.parametrize(("kernel", "side"), [(5, 16), (7, 8), (7, 3), (9, 4), (9, 1), (11, 2)])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_replaced_depthwise_gradient_equals_autograd(
    kernel: int, side: int, memory_format: torch.memory_format
) -> None:
    torch.manual_seed(kernel * 100 + side)
    conv = DepthwiseConv2d(6, 11)
    x_BCHW = torch.randn(4, 6, side, side + 1).to(memory_format=memory_format).requires_grad_()
    plain_BCHW = x_BCHW.detach().clone().requires_grad_()
    weight = conv.weight.detach().clone().requires_grad_()
    y_BCHW = conv(x_BCHW, kernel)
    expected_BCHW = F.conv2d(plain_BCHW, crop(weight, (6, 1, kernel, kernel)), None, 1, kernel // 2, 1, 6)
    seed = torch.randn_like(expected_BCHW)
    y_BCHW.backward(seed)
    expected_BCHW.backward(seed)
    for ours, theirs in ((y_BCHW, expected_BCHW), (x_BCHW.grad, plain_BCHW.grad), (conv.weight.grad, weight.grad)):
        assert ours is not None and theirs is not None
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
