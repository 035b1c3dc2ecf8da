"""Muon: steps along the orthogonalised momentum of dense layers (K. Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/), with the learning rate of AdamW (Moonlight, arXiv 2502.16982, section 2.2).

A convolution is the matrix (outputs, inputs * kernel height * kernel width). `torch.optim.Muon` takes weights of linear
layers only, one after the other and in bfloat16; here those of equal shape are computed together and in float32, since
small matrices take longer to start than to compute. Of a supernet's weight a sub-network's step moves the part that the
sub-network has, as if it were trained alone. Shape keys: N matrices, R rows, C columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from ffnet_search.models.elastic import DenseConv2d, crop

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of an iteration that drives singular values to .7 to 1.2 (Jordan et al.)
ITERATIONS = 5
EPSILON = 1e-7
ADAMW_RMS = 0.2  # root mean square of an update by AdamW, in learning rates (arXiv 2502.16982, equation 4)


def is_dense(weight: Tensor) -> bool:
    """True for a convolution of several channels at a time, whose weight mixes them as a matrix does."""
    return weight.ndim == 4 and weight.shape[1] > 1


def orthogonalise(x_NRC: Tensor) -> Tensor:
    """Drive the singular values of each matrix to about 1, by Newton-Schulz iterations; zeros stay zeros."""
    a, b, c = COEFFICIENTS
    is_tall = x_NRC.shape[1] > x_NRC.shape[2]
    x_NRC = x_NRC.mT if is_tall else x_NRC
    x_NRC = x_NRC / (x_NRC.norm(dim=(1, 2), keepdim=True) + EPSILON)
    for _ in range(ITERATIONS):
        gram_NRR = x_NRC @ x_NRC.mT
        gram_NRR = torch.baddbmm(gram_NRR, gram_NRR, gram_NRR, beta=b, alpha=c)
        x_NRC = torch.baddbmm(x_NRC, gram_NRR, x_NRC, beta=a)
    return x_NRC.mT if is_tall else x_NRC


class Muon(AdamW):
    """Muon for the weights `dense`, AdamW for the groups of parameters `others`.

    `momentum`: of Muon, by Nesterov. `weight_decay`: of the dense weights. `elastic`: convolutions of which a
    sub-network uses a part; a step moves this part of their weights. A step clears the gradients of dense weights."""

    def __init__(
        self,
        dense: Sequence[nn.Parameter],
        others: Iterable[dict[str, Any]],
        lr: float,
        *,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        elastic: Iterable[DenseConv2d] = (),
    ) -> None:
        self.elastic = {conv.weight: conv for conv in elastic}
        muon = {"params": list(dense), "weight_decay": weight_decay, "momentum": momentum}
        super().__init__([*others, muon], lr, fused=True)

    def step(self, closure: Any = None) -> Any:
        """Make a step of both kinds; return what `closure`, which computes gradients, returned."""
        loss = closure() if closure is not None else None
        for group in self.param_groups:
            if "momentum" in group:  # which is Muon's alone
                self._step_dense(group)
        super().step()  # skips parameters without a gradient
        return loss

    @torch.no_grad()
    def _step_dense(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for weight in group["params"]:
            if weight.grad is not None:
                part, direction_RC = self._part(weight, group["momentum"])
                by_shape[direction_RC.shape].append((part, direction_RC))
                weight.grad = None
        for pairs in by_shape.values():
            updates_NRC = orthogonalise(torch.stack([direction_RC for _, direction_RC in pairs]))
            size = ADAMW_RMS * max(updates_NRC.shape[1:]) ** 0.5
            for (part, _), update_RC in zip(pairs, updates_NRC, strict=True):
                part.mul_(1 - group["lr"] * group["weight_decay"])
                part.add_(update_RC.view(part.shape), alpha=-group["lr"] * size)

    def _part(self, weight: nn.Parameter, momentum: float) -> tuple[Tensor, Tensor]:
        """Add the gradient to the momentum of the part of a weight that was used. Return this part, and the direction
        of its next step (Nesterov) as a matrix."""
        assert weight.grad is not None
        channels = self.elastic[weight].used if weight in self.elastic else weight.shape[:2]
        state, used = self.state[weight], (*channels, *weight.shape[2:])
        if not state:
            state["momentum"] = torch.zeros_like(weight)
            state["step"] = torch.zeros(())  # AdamW looks for one in each state that it restores
        gradient, momenta = crop(weight.grad, used), crop(state["momentum"], used)
        momenta.lerp_(gradient, 1 - momentum)
        return crop(weight, used), gradient.lerp(momenta, momentum).flatten(1)
