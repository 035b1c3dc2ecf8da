"""Batch-norm statistics of one network, measured afresh: those of a supernet would mix its sub-networks.

Running averages (momentum) and means of batch variances are both biased; here means and variances are pooled over all
images exactly, by the law of total variance.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ffnet_search.models.elastic import ElasticBatchNorm2d
from ffnet_search.models.metamixer import MetaMixer


@torch.no_grad()
def recalibrate(net: MetaMixer, images_NCHW: Tensor, batch_size: int = 256) -> MetaMixer:
    """Sets the running statistics of a stand-alone `net` to those of `images_NCHW`, and leaves it in evaluation mode.

    Images should be of the training set and not augmented. Needs at least 2 values per channel in each batch.
    """
    norms = [module for module in net.modules() if isinstance(module, ElasticBatchNorm2d)]
    values: dict[ElasticBatchNorm2d, int] = {}  # per channel, in the batch at hand
    hooks = [norm.register_forward_pre_hook(lambda m, x: values.update({m: x[0][:, 0].numel()})) for norm in norms]
    moments = {norm: _Moments(norm) for norm in norms}
    modes = [(norm.momentum, norm.tracking) for norm in norms]
    net.train()
    try:
        for norm in norms:
            norm.momentum, norm.tracking = 1.0, True  # running statistics = those of the last batch
        for batch_NCHW in _even_batches(images_NCHW, batch_size):
            net(batch_NCHW)
            for norm in norms:
                moments[norm].add(norm, values[norm])
    finally:
        for hook in hooks:
            hook.remove()
        for norm, (momentum, tracking) in zip(norms, modes, strict=True):
            norm.momentum, norm.tracking = momentum, tracking
    for norm in norms:
        moments[norm].write(norm)
    net.eval()
    return net


def _even_batches(images_NCHW: Tensor, batch_size: int) -> tuple[Tensor, ...]:
    """Batches of nearly equal size: a last one of a few images would have statistics of its own."""
    return images_NCHW.tensor_split(max(1, round(len(images_NCHW) / batch_size)))


class _Moments:
    """Mean and squared deviations of batches, pooled as they come (Chan et al. 1979)."""

    def __init__(self, norm: ElasticBatchNorm2d) -> None:
        self.count = 0
        self.mean_C = torch.zeros_like(norm.bias, dtype=torch.float64)
        self.deviation_C = torch.zeros_like(self.mean_C)

    def add(self, norm: ElasticBatchNorm2d, count: int) -> None:
        """One batch of `count` values per channel, whose statistics torch left in `norm` (variance unbiased)."""
        assert norm.running_mean is not None and norm.running_var is not None
        total = self.count + count
        step_C = norm.running_mean.double() - self.mean_C
        self.mean_C += step_C * (count / total)
        self.deviation_C += norm.running_var.double() * (count - 1) + step_C**2 * (self.count * count / total)
        self.count = total

    def write(self, norm: ElasticBatchNorm2d) -> None:
        assert norm.running_mean is not None and norm.running_var is not None
        norm.running_mean.copy_(self.mean_C)
        norm.running_var.copy_(self.deviation_C / max(1, self.count - 1))
