"""The optimiser of a training by its recipe, and the learning rate of each step."""

from __future__ import annotations

import math
from typing import Any

from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from ffnet_search.config.schema import TrainSection
from ffnet_search.models.elastic import DenseConv2d
from ffnet_search.training.optimizers.muon import Muon, is_dense


def make_optimizer(net: nn.Module, recipe: TrainSection) -> Optimizer:
    """Muon, AdamW or SGD by the recipe for the weights of `net`; norms, biases and layer scales are not decayed."""
    decayed: list[nn.Parameter] = []
    kept: list[nn.Parameter] = []
    dense: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        plain = parameter.ndim <= 1 or name.endswith("layer_scale")
        by_muon = recipe.optimizer == "muon" and is_dense(parameter)
        (kept if plain else dense if by_muon else decayed).append(parameter)
    groups: list[dict[str, Any]] = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": kept, "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return SGD(groups, recipe.learning_rate, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    if recipe.optimizer == "muon":
        elastic = [module for module in net.modules() if isinstance(module, DenseConv2d)]
        rate, momentum, decay = recipe.learning_rate, recipe.momentum, recipe.weight_decay
        return Muon(dense, groups, rate, momentum=momentum, weight_decay=decay, elastic=elastic)
    return AdamW(groups, recipe.learning_rate, fused=True)


def learning_rate(recipe: TrainSection, step: int, steps: int) -> float:
    """Linear warm-up, then a cosine that ends at `learning_rate_floor` times the peak: small networks keep learning."""
    warmup = min(steps - 1, round(recipe.warmup_epochs * steps / recipe.epochs))
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
    return recipe.learning_rate * (recipe.learning_rate_floor + (1 - recipe.learning_rate_floor) * cosine)
