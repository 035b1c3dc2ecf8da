"""The schedule, and the parameters that are not decayed."""

from __future__ import annotations

import pytest
from networks import space

from ffnet_search.config.schema import TrainSection
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.training.optimizers.recipe import learning_rate, make_optimizer


def test_schedule_warms_up_and_ends_at_the_floor() -> None:
    recipe = TrainSection(epochs=10, warmup_epochs=1, learning_rate=0.5, learning_rate_floor=0.1)
    rates = [learning_rate(recipe, step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (step + 1) for step in range(10)])
    assert rates[9] == max(rates)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.05, rel=0.01)


@pytest.mark.parametrize("name", ["muon", "adamw", "sgd"])
def test_norms_biases_and_scales_are_not_decayed(name: str) -> None:
    net = MetaMixer.for_space(space("ffnet_digits"))
    optimizer = make_optimizer(net, TrainSection(optimizer=name, weight_decay=0.3))  # type: ignore[arg-type]
    decayed, kept, *dense = optimizer.param_groups
    assert decayed["weight_decay"] == 0.3
    assert kept["weight_decay"] == 0.0
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    names = {id(parameter): name for name, parameter in net.named_parameters()}
    assert all(
        names[id(parameter)].endswith(("bias", "bn.weight", "norm.weight", "layer_scale"))
        for parameter in kept["params"]
    )
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(net.parameters()))
    assert [group["weight_decay"] for group in dense] == ([0.3] if name == "muon" else [])
