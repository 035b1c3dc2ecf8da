"""Recomputed batch-norm statistics of one network: running statistics of a supernet would mix its sub-networks.

Running averages (momentum) and means of batch variances are both biased; here means and variances are pooled over all
images exactly, by the law of total variance.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffnet_search.models.elastic import ElasticBatchNorm2d
from ffnet_search.models.metamixer import MetaMixer

BATCH = 256  # images of a forward pass
BATCH_PIXELS = 256 * 224**2  # at most in a batch: an image of 1024 x 1024 counts as 20


@torch.no_grad()
def recalibrate(net: MetaMixer, images_NCHW: Tensor, batch_size: int = BATCH) -> MetaMixer:
    """Set the running statistics of a stand-alone `net` to those of `images_NCHW`, and leave it in evaluation mode.

    Images should be of the training set and not augmented. Each batch needs at least 2 values per channel; it has
    fewer images where these are large. Batches are of nearly equal size and take every so many-th image, so that each
    has all classes where images lie by class: a batch is normalised by its own statistics."""
    moments = {norm: _Moments(norm) for norm in net.modules() if isinstance(norm, ElasticBatchNorm2d)}
    hooks = [norm.register_forward_pre_hook(pooled.before_batch) for norm, pooled in moments.items()]
    if not moments:
        return net.eval()
    pixels = len(images_NCHW) * images_NCHW.shape[-2] * images_NCHW.shape[-1]
    batches = max(1, round(len(images_NCHW) / batch_size), -(-pixels // BATCH_PIXELS))
    batches = min(batches, len(images_NCHW))  # an image may be larger than a batch
    net.train()
    try:
        for first in range(batches):
            net(images_NCHW[first::batches])
            for pooled in moments.values():
                pooled.after_batch()
    finally:
        for hook in hooks:
            hook.remove()
    for pooled in moments.values():
        pooled.batch_mean_C.copy_(pooled.mean_C)
        pooled.batch_variance_C.copy_(pooled.deviation_C / max(1, pooled.count - 1))
    return net.eval()


class _Moments:
    """Mean and squared deviations of batches, pooled as they come (Chan et al. 1979).

    A batch leaves its own moments in the running statistics of `norm`, which is called with momentum 1."""

    def __init__(self, norm: ElasticBatchNorm2d) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        self.batch_mean_C, self.batch_variance_C = norm.running_mean, norm.running_var
        self.count = self.batch_count = 0  # of values per channel: images and pixels
        self.mean_C = torch.zeros_like(norm.bias, dtype=torch.float64)
        self.deviation_C = torch.zeros_like(self.mean_C)

    def before_batch(self, norm: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, float]:
        [x_BCHW] = inputs
        self.batch_count = x_BCHW.numel() // x_BCHW.shape[1]
        return x_BCHW, 1.0

    def after_batch(self) -> None:
        count, total = self.batch_count, self.count + self.batch_count
        step_C = self.batch_mean_C.double() - self.mean_C
        self.mean_C += step_C * (count / total)
        self.deviation_C += self.batch_variance_C.double() * (count - 1) + step_C**2 * (self.count * count / total)
        self.count = total
