"""Super-resolution: the paper's loss and quality, FFNet-SR's weights, networks that are equal in every form."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import REFERENCE, run_onnx, space, supernet
from photos import CONTENT, SPACE, photo, photo_sweep
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.errors import SweepError
from ffnet_search.latency.anchors import anchors
from ffnet_search.latency.jobs import part_job
from ffnet_search.latency.plan import parts_of
from ffnet_search.models.deployed import deployed, deployed_part, fuse
from ffnet_search.models.elastic import ElasticBatchNorm2d
from ffnet_search.models.heads import repeated
from ffnet_search.models.inherit import inherit
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import load_reference
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.input import Input
from ffnet_search.space.parts import UpsamplePart
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import parse
from ffnet_search.tasks.base import find_task
from ffnet_search.tasks.psnr import MAX_DB, LumaPsnr, psnr

TASK = find_task("super_resolution")
BARE = Form("bare", None)


def reference() -> dict[str, Tensor]:
    path = REFERENCE / "sr_x2_plain.npz"
    if not path.exists():
        pytest.skip(f"the reference network {path.name} is not beside this repository")
    content = np.load(path)
    return {name: torch.from_numpy(content[name]) for name in content.files if name != "config"}


@torch.no_grad()
def test_official_weights_load_and_give_the_reference_output(tmp_path: Path) -> None:
    content = reference()
    state = {name.removeprefix("w:"): tensor for name, tensor in content.items() if name.startswith("w:")}
    for wrapper in ({"params": state}, state):
        torch.save(wrapper, tmp_path / "ffnetsr.pth")
        net = load_reference(tmp_path / "ffnetsr.pth", resolution=24)
        assert str(net.largest) == "stem 0/1 | 16: k3+3 e2 x3" and net.form == BARE
        assert net.largest.input == Input(3, 24, 2, "super_resolution")
        for form in (net, fuse(net)):
            assert (form(content["input"]) - content["output"]).abs().max() <= 2e-5


def test_other_tensors_are_no_such_network(tmp_path: Path) -> None:
    torch.save({"proj.weight": torch.zeros(4, 3, 3, 3), "body.0.token_mixer.0.weight": torch.zeros(4)}, tmp_path / "n")
    with pytest.raises(SweepError, match=r"must hold the weights of an FFNet, .* it has norms"):
        load_reference(tmp_path / "n")


def test_the_loss_is_the_papers() -> None:
    content = reference()
    expected = float(content["l1_loss"]) + 0.02 * float(content["fft_loss"])
    assert float(TASK.loss(content["output"], content["target"] * 255, 0.1)) == pytest.approx(expected, rel=1e-6)


def by_hand(made_HWC: np.ndarray, photo_HWC: np.ndarray, cut: int) -> float:
    """As BasicSR computes it, by numpy."""
    weights = np.array([65.481, 128.553, 24.966]) / 255
    difference = (made_HWC.astype(float) @ weights - photo_HWC.astype(float) @ weights)[cut:-cut, cut:-cut]
    return float(10 * np.log10(255**2 / (difference**2).mean()))


def test_the_quality_is_the_mean_over_photos_on_luma_without_edges() -> None:
    rng = np.random.default_rng(0)
    photos, made = rng.integers(0, 256, (2, 3, 20, 14, 3), dtype=np.uint8)
    made[1] = (photos[1].astype(int) + rng.integers(-3, 4, photos[1].shape)).clip(0, 255)
    expected = [by_hand(one, other, 2) for one, other in zip(made, photos, strict=True)]
    output_BCHW, target_BCHW = (torch.from_numpy(x_BHWC).permute(0, 3, 1, 2) for x_BHWC in (made, photos))
    metric = LumaPsnr(2)
    metric.update(output_BCHW / 255 + 0.001, target_BCHW)  # which rounds to the same levels
    assert float(metric.compute()) == pytest.approx(np.mean(expected))
    assert TASK.scores(output_BCHW / 255, target_BCHW, 2)[:, 0].tolist() == pytest.approx(expected)
    assert psnr(target_BCHW, target_BCHW, 2).tolist() == [MAX_DB] * 3
    grey_BCHW = target_BCHW[:, :1]
    assert psnr((grey_BCHW.int() + 1).clamp(max=255), grey_BCHW, 0).mean() == pytest.approx(48.13, abs=0.1)


@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported() -> None:
    """At the deployed size, and at another one."""
    for form in (BARE, Form("bare", 0.1)):
        net, rng = supernet(SPACE, form), random.Random(0)
        for arch in (SPACE.smallest, SPACE.largest, *(SPACE.sample(rng) for _ in range(6))):
            sliced = net.slice_to(arch)
            fused = fuse(sliced)
            for size in ((12, 16), (9, 7)):
                x_BCHW = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
                elastic_BCHW, fused_BCHW = net(x_BCHW, arch), fused(x_BCHW)
                assert fused_BCHW.shape == (2, 3, 2 * size[0], 2 * size[1])
                assert (elastic_BCHW - sliced(x_BCHW)).abs().max() <= 1e-5
                assert (elastic_BCHW - fused_BCHW).abs().max() <= 1e-5 * max(1.0, float(fused_BCHW.abs().max()))
                assert (fused_BCHW - run_onnx(fused, x_BCHW)).abs().max() <= 1e-4


@torch.no_grad()
def test_networks_without_batch_norm_are_equal_in_every_form_for_other_tasks() -> None:
    chosen = space("ffnet_digits")
    net, rng = supernet(chosen, Form("bare", 0.1)), random.Random(0)
    assert not [module for module in net.modules() if isinstance(module, ElasticBatchNorm2d)]
    x_BCHW = torch.randn(2, *chosen.images.shape)
    for arch in (chosen.smallest, chosen.largest, *(chosen.sample(rng) for _ in range(6))):
        elastic_BK, fused = net(x_BCHW, arch), fuse(net.slice_to(arch))
        assert (elastic_BK - fused(x_BCHW)).abs().max() <= 1e-5 * float(elastic_BK.abs().max())
        assert sum(part.costs.params for part in arch.parts) == sum(p.numel() for p in fused.parameters())


@torch.no_grad()
def test_parts_of_rectangles_have_the_stated_parameters_macs_and_sides() -> None:
    rng = random.Random(2)
    for arch in (SPACE.smallest, SPACE.largest, SPACE.sample(rng)):
        net, image_BCHW = deployed(arch), torch.rand(1, 3, 12, 16)
        assert sum(part.costs.params for part in arch.parts) == sum(p.numel() for p in net.parameters())
        for part, module in zip(arch.parts, net.parts, strict=True):
            x_BCHW = torch.zeros(1, *part_job(part).shape)
            assert x_BCHW.shape[2:] == (12, 16)
            with FlopCounterMode(display=False) as counter:
                y_BCHW = module(x_BCHW, image_BCHW) if isinstance(part, UpsamplePart) else module(x_BCHW)
            assert counter.get_total_flops() == 2 * part.costs.macs, part.key
            assert tuple(y_BCHW.shape[2:]) == part.out_resolution
            assert deployed_part(part)(x_BCHW).shape == y_BCHW.shape
        assert arch.macs_m == pytest.approx(sum(part.costs.macs for part in arch.parts) / 1e6)
    known = parts_of(SPACE)
    assert {part for _ in range(100) for part in SPACE.sample(rng).parts} <= set(known)
    assert len({part.key for part in known}) == len(known)


def test_a_square_is_spelled_once() -> None:
    assert Input(3, (16, 16), 2, "super_resolution") == Input(3, 16, 2, "super_resolution")
    arch = SPACE.largest
    assert arch.input.to_dict()["resolution"] == [12, 16] and Architecture.from_dict(arch.to_dict()) == arch
    assert SearchSpace.model_validate(SPACE.model_dump(mode="json")) == SPACE
    assert {anchor.input.resolution for anchor in anchors(arch.input)} == {14}


@torch.no_grad()
def test_weights_start_a_network_of_the_same_form() -> None:
    """A larger network around a smaller one, whose head is the same."""
    smaller = supernet(SPACE, BARE).slice_to(SPACE.smallest)
    larger = MetaMixer(SPACE.largest, BARE).eval()
    inherit(larger, smaller)
    x_BCHW = torch.rand(1, 3, 12, 16)
    assert torch.allclose(larger(x_BCHW, SPACE.smallest), smaller(x_BCHW), atol=1e-5)
    with pytest.raises(ValueError, match=r"train.branches 'bare', so it must be the same, but got 'all'"):
        inherit(MetaMixer(space("ffnet_digits").largest, Form("all")), smaller)


def test_a_new_network_sees_details_and_not_levels() -> None:
    """What reaches the first GELU varies about as much as GELU bends, and a brighter image changes nothing of it."""
    torch.manual_seed(0)
    net, seen = MetaMixer(SPACE.largest, BARE), []
    net.stages[0][0].token_mixer[0].main.conv1.register_forward_hook(lambda module, given, made: seen.append(made))
    photos = [photo(np.random.default_rng(seed), 48, 48) for seed in range(4)]
    x_BCHW = torch.from_numpy(np.stack(photos)).permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        plain, brighter = (net(shifted) - repeated(shifted, 2) for shifted in (x_BCHW, x_BCHW + 0.2))
    assert 0.3 < seen[0].std() < 10
    inside = (..., slice(28, -28), slice(28, -28))  # padding with zeros is an edge, too
    assert torch.allclose(seen[0][..., 4:-4, 4:-4], seen[1][..., 4:-4, 4:-4], atol=1e-4)
    assert (plain[inside] - brighter[inside]).abs().max() < 1e-4


def changed(**parts: Any) -> dict[str, Any]:
    return {name: {**part, **parts.pop(name, {})} if isinstance(part, dict) else part for name, part in CONTENT.items()}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(input={"scale": 5}), r"scale must be one of 2, 3, 4, but got 5"),
        (changed(input={"channels": 4}), r"channels must be 1 or 3 for task 'super_resolution', but got 4"),
        (changed(input={"resolution": [1, 2, 3]}), r"must be a number, or \[height, width\], but got"),
        (changed(input={"resolution": [0, 8]}), r"input.resolution must be > 0, but got 0"),
        (changed(stem={"width": [8], "stride": [2]}), r"must have one stage, at stem.stride 1, .* but got 1 at 2"),
        (changed(stem={"width": [0, 8]}), r"width must be 0 alone, at stride 1, or >= 1, but got \[0, 8\]"),
        ({**CONTENT, "stages": CONTENT["stages"] * 2}, r"must have one stage, .* but got 2 at 1"),
        (
            changed(input={"task": "classification", "classes": 2, "scale": None}),
            r"search_space.input.scale is not a known key|resolution must be one number|input.scale",
        ),
    ],
)
def test_a_mistake_in_a_space_is_one_sentence(content: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError, match=message):
        parse(SearchSpace, content, "space.yaml")


def test_a_sweep_has_the_recipe_of_its_task(tmp_path: Path) -> None:
    sweep = photo_sweep(tmp_path, tmp_path)
    assert sweep.train.form == BARE and sweep.train.weight_decay == 0 and sweep.search.objectives[0] == "psnr_y"
    with pytest.raises(SweepError, match=r"train.branches must be 'bare' for task 'super_resolution', .*got 'none'"):
        photo_sweep(tmp_path, tmp_path, train={"branches": "none"})
    with pytest.raises(SweepError, match=r"train.mixup must be left out for task 'super_resolution'"):
        photo_sweep(tmp_path, tmp_path, train={"mixup": 0.2})
