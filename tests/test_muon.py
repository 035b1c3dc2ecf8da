"""Muon: orthogonalised steps for dense convolutions, AdamW for other weights."""

from __future__ import annotations

import copy

import pytest
import torch
from networks import images, space
from torch import nn

from ffnet_search.config.schema import TrainSection
from ffnet_search.models.elastic import crop
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.training.optimizers.muon import Muon, is_dense, orthogonalise
from ffnet_search.training.optimizers.recipe import make_optimizer


@pytest.mark.parametrize("shape", [(2, 24, 8), (3, 8, 24), (1, 16, 16)])
def test_singular_values_are_driven_to_about_one(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    x_NRC = torch.randn(shape) * 1e-3
    values_NS = torch.linalg.svdvals(orthogonalise(x_NRC))
    assert values_NS.min() > 0.3 and values_NS.max() < 1.3, "torch.optim.Muon: about .5 to 1.5"
    assert not orthogonalise(torch.zeros(shape)).any()


@pytest.mark.parametrize(("rows", "columns"), [(48, 16), (16, 48)])
def test_a_pointwise_convolution_moves_as_a_linear_layer_by_the_optimiser_of_torch(rows: int, columns: int) -> None:
    """Within the precision of bfloat16, in which torch.optim.Muon computes."""
    torch.manual_seed(0)
    start_RC, settings = torch.randn(rows, columns), {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}
    ours, theirs = nn.Parameter(start_RC[:, :, None, None].clone()), nn.Parameter(start_RC.clone())
    mine = Muon([ours], [], **settings)
    reference = torch.optim.Muon([theirs], adjust_lr_fn="match_rms_adamw", **settings)
    for _ in range(3):
        gradient_RC = torch.randn(rows, columns)
        ours.grad, theirs.grad = gradient_RC[:, :, None, None].clone(), gradient_RC
        before_RC = ours.detach()[:, :, 0, 0].clone()
        mine.step()
        reference.step()
        step_RC = ours.detach()[:, :, 0, 0] - before_RC
        far = (ours.detach()[:, :, 0, 0] - theirs.detach()).abs().max() / step_RC.abs().max()
        assert far < 0.1


def test_weights_are_divided_by_what_they_mix() -> None:
    """Convolutions over several channels are Muon's; depthwise ones, norms and linear layers move as by AdamW."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, groups=8), nn.Conv2d(8, 16, 1), nn.Flatten(1)
    ).append(nn.Linear(16 * 16, 4))
    twin = copy.deepcopy(net)
    nets = {
        name: (one, make_optimizer(one, TrainSection(optimizer=name))) for name, one in (("muon", net), ("adamw", twin))
    }
    x_BCHW, target_B = torch.randn(6, 3, 8, 8), torch.randint(4, (6,))
    for one, optimizer in nets.values():
        nn.functional.cross_entropy(one(x_BCHW), target_B).backward()
        optimizer.step()
    for (name, weight), other in zip(net.named_parameters(), twin.parameters(), strict=True):
        assert is_dense(weight) == (name in ("0.weight", "3.weight"))
        assert torch.equal(weight, other) != is_dense(weight), name


def test_a_weight_without_a_gradient_stays_where_it_is() -> None:
    """As the parts of a supernet that a sampled network lacks."""
    weights = [nn.Parameter(torch.ones(4, 4, 1, 1)) for _ in range(2)]
    optimizer = Muon(weights, [], 0.1, weight_decay=0.5)
    weights[0].grad = torch.randn(4, 4, 1, 1)
    optimizer.step()
    assert not torch.equal(weights[0], torch.ones(4, 4, 1, 1))
    assert torch.equal(weights[1], torch.ones(4, 4, 1, 1))


def test_a_sub_network_moves_as_if_it_were_trained_alone() -> None:
    """The step of a sub-network changes its part of the supernet's dense weights, and nothing beside it."""
    digits = space("ffnet_digits")
    supernet = MetaMixer.for_space(digits)
    arch = digits.smallest
    before = {name: tensor.detach().clone() for name, tensor in supernet.named_parameters()}
    alone = supernet.slice_to(arch).train()
    x_BCHW, target_B = images(digits, 4), torch.arange(4)
    for net, *call in ((supernet.train(), x_BCHW, arch), (alone, x_BCHW)):
        optimizer = make_optimizer(net, TrainSection(weight_decay=0.5))
        nn.functional.cross_entropy(net(*call), target_B).backward()
        optimizer.step()
    moved = dict(supernet.named_parameters())
    dense = {name: weight for name, weight in alone.named_parameters() if is_dense(weight)}
    assert len(dense) > 5
    for name, weight in dense.items():
        torch.testing.assert_close(crop(moved[name], tuple(weight.shape)), weight)
        crop(moved[name].detach(), tuple(weight.shape)).copy_(crop(before[name], tuple(weight.shape)))
        assert torch.equal(moved[name], before[name]), f"{name} moved where the sub-network has nothing"


def test_a_restored_optimiser_continues_alike() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8))
    twin = copy.deepcopy(net)
    recipe = TrainSection(optimizer="muon")
    ours, theirs = (make_optimizer(one, recipe) for one in (net, twin))

    def step(one: nn.Module, optimizer: torch.optim.Optimizer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        one(torch.randn(2, 3, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    for seed in range(3):
        step(net, ours, seed)
    twin.load_state_dict(net.state_dict())
    theirs.load_state_dict(copy.deepcopy(ours.state_dict()))
    for seed in range(3, 6):
        step(net, ours, seed)
        step(twin, theirs, seed)
    assert all(torch.equal(*pair) for pair in zip(net.parameters(), twin.parameters(), strict=True))
