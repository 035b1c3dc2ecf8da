"""A network starts from the weights of another: for other outputs, channels, widths, kernels, depths and forms."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from networks import images, load_tiny, supernet
from torch import Tensor

from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.inherit import inherit, over_channels
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.search_space import SearchSpace

SMALL: list[dict[str, Any]] = [
    {"depth": [1, 2], "width": [8, 16], "token_kernel": [3, 5], "expansion": [1, 2]},
    {"depth": [1], "width": [16, 32], "mixer": ["attention", "ffn_attention"], "token_kernel": 3, "expansion": 2},
]
LARGE: list[dict[str, Any]] = [
    {"depth": [1, 3], "width": [8, 24], "mixer": ["pool", "ffn_attention"], "token_kernel": [3, 7],
     "expansion": [1, 3]},
    {"depth": [1, 2], "width": [16, 48], "mixer": ["ffn_attention", "attention"], "token_kernel": [3, 5],
     "channel_kernel": [3, 5], "expansion": [2, 3]},
]  # fmt: skip


def space_of(stages: list[dict[str, Any]], stem: int = 8, **shape: int) -> SearchSpace:
    size = {"channels": 3, "resolution": 16, "classes": 10, **shape}
    return SearchSpace.model_validate({"input": size, "stem": {"width": [stem], "stride": [2]}, "stages": stages})


@torch.no_grad()
def features(net: MetaMixer, x_BCHW: Tensor, arch: Architecture) -> Tensor:
    """The maps in front of the last norm."""
    seen: list[Tensor] = []
    hook = net.norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    net(x_BCHW, arch)
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("branches", ["none", "all"])
@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_a_supernet_holds_the_reference_network_that_it_starts_from(name: str, branches: str) -> None:
    net, x_BCHW, logits_BK = load_tiny(name)
    arch = net.largest
    stages = [
        {
            "depth": [stage.depth, stage.depth + 1],
            "width": [stage.width, 2 * stage.width],
            "mixer": ["pool", "ffn_attention"],
            "token_kernel": [3, 7, 9],
            "channel_kernel": [3, 7],
            "expansion": sorted({stage.blocks[0].expansion, 4}),
        }
        for stage in arch.stages
    ]
    shape = {"channels": 3, "resolution": 64, "classes": 10}
    stem = {"width": [arch.stem.width, 16], "stride": [4]}
    space = SearchSpace.model_validate({"input": shape, "stem": stem, "stages": stages})
    assert arch in space
    for images_NCHW in (None, x_BCHW):
        big = supernet(space, Form(branches, 0.3))  # type: ignore[arg-type]
        inherit(big, net, images_NCHW)
        assert (big(x_BCHW, arch) - logits_BK).abs().max() <= 1e-5


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_new_norms_change_little_in_training(name: str) -> None:
    """Training normalises by the batch: by the statistics of the images, and not by 0 and 1."""
    net, *_ = load_tiny(name)
    arch = replace(net.largest, input=replace(net.largest.input, resolution=32))
    space = SearchSpace.model_validate(
        {
            "input": {"channels": 3, "resolution": 32, "classes": 10},
            "stem": {"width": [arch.stem.width], "stride": [4]},
            "stages": [{"depth": stage.depth, "width": stage.width, "token_kernel": 7, "channel_kernel": 7,
                        "expansion": sorted({4, stage.blocks[0].expansion})} for stage in arch.stages],
        }
    )  # fmt: skip
    drawn_NCHW = torch.randn(128, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    wanted_BK = recalibrate(net, drawn_NCHW)(drawn_NCHW)
    errors = {}
    for measured in (False, True):
        big = supernet(space, Form("none", 0.3))
        inherit(big, net, drawn_NCHW if measured else None)
        errors[measured] = float((big.train()(drawn_NCHW, arch) - wanted_BK).abs().mean() / wanted_BK.abs().mean())
    assert errors[True] < 0.05 < 0.2 < errors[False]


@pytest.mark.parametrize(("theirs", "ours"), [(LARGE, SMALL), (SMALL, LARGE)])
@torch.no_grad()
def test_what_both_spaces_have_computes_the_same(theirs: list[dict[str, Any]], ours: list[dict[str, Any]]) -> None:
    """Also from and to supernets, whose slots offer several mixers."""
    small = space_of(SMALL)
    source, net = (supernet(space_of(stages), seed=seed) for stages, seed in ((theirs, 1), (ours, 2)))
    inherit(net, source)
    x_BCHW = images(small)
    for arch in (small.largest, small.smallest):
        assert torch.equal(net(x_BCHW, arch), source(x_BCHW, arch))


@torch.no_grad()
def test_a_larger_kernel_computes_what_the_smaller_one_did() -> None:
    source, space = supernet(space_of(SMALL), seed=1), space_of(LARGE)
    net = supernet(space, seed=2)
    inherit(net, source)
    arch = space_of(SMALL).largest
    large = [
        replace(stage, blocks=tuple(replace(block, token_kernel=kernel, channel_kernel=3) for block in stage.blocks))
        for stage, kernel in zip(arch.stages, (7, 5), strict=True)
    ]
    x_BCHW = images(space)
    outputs = [net(x_BCHW, one) for one in (arch, replace(arch, stages=tuple(large)))]
    assert (outputs[0] - outputs[1]).abs().max() < 1e-5


@pytest.mark.parametrize("channels", [1, 3, 4])
@torch.no_grad()
def test_other_channels_and_outputs_keep_the_features_and_get_a_new_head(channels: int) -> None:
    source = supernet(space_of(SMALL), seed=1)
    space = space_of(SMALL, channels=channels, classes=7, resolution=12)
    net = supernet(space, seed=2)
    head = net.head.state_dict()["weight"].clone()
    inherit(net, source)
    assert torch.equal(net.head.state_dict()["weight"], head)
    grey_B1HW = torch.randn(2, 1, 12, 12, generator=torch.Generator().manual_seed(0))
    arch = space.largest
    ours, theirs = (
        features(one, grey_B1HW.expand(-1, count, -1, -1), arch) for one, count in ((net, channels), (source, 3))
    )
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_a_stem_is_summed_or_repeated_over_channels() -> None:
    weight = torch.arange(1.0, 4.0).reshape(1, 3, 1, 1)
    assert over_channels(weight, 1).flatten().tolist() == [6]
    assert over_channels(weight, 2).flatten().tolist() == [4, 2]
    assert over_channels(weight, 3) is not None and over_channels(weight, 3).flatten().tolist() == [1, 2, 3]
    assert over_channels(weight, 4).flatten().tolist() == [0.5, 2, 3, 0.5]


def test_what_is_new_stays_as_it_was_initialised() -> None:
    source, net = supernet(space_of(SMALL), seed=1), supernet(space_of(LARGE), seed=2)
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    inherit(net, source)
    after = net.state_dict()
    new = "stages.0.2."  # a third block
    assert all(torch.equal(before[name], after[name]) for name in after if name.startswith(new))
    width = "stages.1.1.channel_mixer.main.fc2.bias"
    assert torch.equal(after[width][32:], before[width][32:]) and torch.equal(
        after[width][:32], source.state_dict()[width]
    )


@pytest.mark.parametrize("branches", ["none", "all"])
@torch.no_grad()
def test_a_supernet_can_get_branches(branches: str) -> None:
    space = space_of(SMALL)
    source, net = supernet(space, Form(branches, 0.1), seed=1), supernet(space, Form("all", 0.1), seed=2)  # type: ignore[arg-type]
    inherit(net, source)
    x_BCHW = images(space)
    assert (net(x_BCHW, space.smallest) - source(x_BCHW, space.smallest)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("theirs", "ours", "message"),
    [
        (Form("all", 0.1), Form("none", 0.1), "train.branches must be the same or 'all', but got 'none'"),
        (Form("none", 0.1), Form("none", None), "train.layer_scale must be set, but got null"),
    ],
)
def test_forms_that_do_not_fit_are_refused(theirs: Form, ours: Form, message: str) -> None:
    space = space_of(SMALL)
    with pytest.raises(ValueError, match=message):
        inherit(supernet(space, ours), supernet(space, theirs))
