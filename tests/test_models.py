"""Elastic = sliced = fused = exported, and all of it equal to the reference implementation."""

from __future__ import annotations

import json
import random
import runpy
from pathlib import Path

import pytest
import torch
from networks import REFERENCE, SPACES, images, load_tiny, run_onnx, space, supernet, tiny_reference
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.errors import SweepError
from ffnet_search.models.bn_calibration import recalibrate
from ffnet_search.models.deployed import deployed, deployed_part, fuse
from ffnet_search.models.elastic import DepthwiseConv2d, ElasticBatchNorm2d, crop
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import load_reference, start_from
from ffnet_search.space.architecture import PRESET_FORMS, PRESETS, Architecture, Form, Input, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.search_space import SearchSpace


@pytest.mark.parametrize("branches", ["none", "all"])
@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar"])
@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported(name: str, branches: str) -> None:
    chosen = space(name)
    net = supernet(chosen, Form(branches, 0.1))  # type: ignore[arg-type]
    x_BCHW, rng = images(chosen, 3), random.Random(0)
    for arch in (chosen.smallest, chosen.largest, *(chosen.sample(rng) for _ in range(4))):
        sliced = net.slice_to(arch)
        fused = fuse(sliced)
        elastic_BK, sliced_BK, fused_BK = net(x_BCHW, arch), sliced(x_BCHW), fused(x_BCHW)
        assert (elastic_BK - sliced_BK).abs().max() <= 1e-5
        assert (sliced_BK - fused_BK).abs().max() <= 1e-5 * max(1.0, float(sliced_BK.abs().max()))
        assert (fused_BK - run_onnx(fused, x_BCHW)).abs().max() <= 1e-4


@torch.no_grad()
def test_imagenet_space_is_consistent_in_a_small_picture() -> None:
    chosen = space("ffnet_imagenet")
    small = chosen.model_copy(update={"input": chosen.input.model_copy(update={"resolution": 32})})
    net = supernet(small)
    arch, x_BCHW = small.sample(random.Random(1)), images(small, 1)
    sliced = net.slice_to(arch)
    assert (net(x_BCHW, arch) - sliced(x_BCHW)).abs().max() <= 1e-5
    assert (sliced(x_BCHW) - fuse(sliced)(x_BCHW)).abs().max() <= 1e-5 * max(1.0, float(sliced(x_BCHW).abs().max()))


@pytest.mark.parametrize("name", SPACES)
@torch.no_grad()
def test_deployed_parts_have_the_stated_parameters_and_macs(name: str) -> None:
    chosen = space(name)
    arch = chosen.sample(random.Random(2)) if name != "ffnet_imagenet" else chosen.smallest
    net = deployed(arch)
    for part, module in zip(arch.parts, net.parts, strict=True):
        assert sum(parameter.numel() for parameter in module.parameters()) == part.params, part.key
        x_BCHW = torch.zeros(1, part.in_width, part.resolution, part.resolution)
        with FlopCounterMode(display=False) as counter:
            y = module(x_BCHW)
        assert counter.get_total_flops() == 2 * part.macs, part.key
        assert deployed_part(part)(x_BCHW).shape == y.shape


def test_slice_refuses_what_is_not_inside() -> None:
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen)
    wide = Architecture.uniform(
        (1, 1, 1), (16, 32, 512), (Block(token_kernel=3, expansion=2),) * 3, Stem(16, 1), Input(1, 8, 10)
    )
    with pytest.raises(ValueError, match="stage 3 must fit inside"):
        net.slice_to(wide)
    with pytest.raises(ValueError, match="slice_to"):
        fuse(net)


def test_crop_takes_leading_channels_and_the_centre() -> None:
    tensor = torch.arange(2 * 3 * 5 * 5).reshape(2, 3, 5, 5)
    assert torch.equal(crop(tensor, (1, 2, 3, 3)), tensor[:1, :2, 1:4, 1:4])


# --- the depthwise gradient


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


# --- BN statistics


@torch.no_grad()
def test_recalibration_pools_exactly() -> None:
    """The first norm sees the same values whatever the batches: its statistics must be those of all of them."""
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen).slice_to(chosen.smallest)
    x_BCHW = images(chosen, 50)
    recalibrate(net, x_BCHW, batch_size=16)
    first = net.patch_embed["0"]
    stride = chosen.smallest.stem.strides[0]
    values_CV = first.c(x_BCHW, None, stride).transpose(0, 1).flatten(1)  # type: ignore[operator, union-attr]
    norm = first.bn
    assert isinstance(norm, ElasticBatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    torch.testing.assert_close(norm.running_mean, values_CV.mean(1), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var, values_CV.var(1), rtol=1e-5, atol=1e-6)
    assert not net.training and norm.momentum == 0.1


@torch.no_grad()
def test_supernet_keeps_no_running_statistics() -> None:
    chosen = space("ffnet_digits")
    net = MetaMixer.for_space(chosen).train()
    before = {name: tensor.clone() for name, tensor in net.named_buffers()}
    net(images(chosen, 8), chosen.smallest)
    assert all(torch.equal(before[name], tensor) for name, tensor in net.named_buffers())


# --- the reference


@pytest.mark.parametrize("name", PRESETS)
def test_presets_equal_the_reference(name: str) -> None:
    path = REFERENCE / "ffnet_family.json"
    if not path.exists():
        pytest.skip("the facts of the FFNet family are not beside this repository")
    facts = json.loads(path.read_text())[name]
    with torch.device("meta"):
        net = MetaMixer(Architecture.preset(name), PRESET_FORMS[name]).eval()
        with FlopCounterMode(display=False) as counter:
            net(torch.zeros(1, 3, 256, 256))
    assert {key: list(tensor.shape) for key, tensor in net.state_dict().items()} == facts["state_dict"]
    assert sum(parameter.numel() for parameter in net.parameters()) == facts["parameters"]
    assert counter.get_total_flops() == 2 * facts["macs_256"]


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_tiny_reference_networks_are_reproduced(name: str) -> None:
    net, x_BCHW, logits_BK = load_tiny(name)
    assert (net(x_BCHW) - logits_BK).abs().max() <= 1e-5
    assert (fuse(net)(x_BCHW) - logits_BK).abs().max() <= 1e-5


@pytest.mark.parametrize("wrapper", ["bare", "state_dict", "model", "module."])
@torch.no_grad()
def test_official_checkpoints_load(wrapper: str, tmp_path) -> None:
    arch, form, state, x_BCHW, logits_BK = tiny_reference("tiny_b")
    content = {
        "bare": state,
        "state_dict": {"state_dict": state, "epoch": 3},
        "model": {"model": state},
        "module.": {"state_dict": {f"module.{key}": tensor for key, tensor in state.items()}},
    }[wrapper]
    path = tmp_path / "ffnet.pth.tar"
    torch.save(content, path)
    net = load_reference(path, resolution=64)
    assert net.largest == arch
    assert net.form == form
    assert (net(x_BCHW) - logits_BK).abs().max() <= 1e-5


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", {"state_dict": {"a": 1}}, {"x": torch.zeros(2)}])
def test_other_files_are_refused(content, tmp_path) -> None:
    path = tmp_path / "other.pth"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
    with pytest.raises(SweepError, match="other.pth: "):
        load_reference(path)


@pytest.mark.parametrize("branches", ["none", "all"])
@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
@torch.no_grad()
def test_a_supernet_can_start_from_the_reference(name: str, branches: str) -> None:
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
    big = supernet(space, Form(branches, 0.3))  # type: ignore[arg-type]
    start_from(big, net)
    assert (big(x_BCHW, arch) - logits_BK).abs().max() <= 1e-5


def test_the_memory_of_a_network_is_what_its_allocator_says() -> None:
    """By the benchmark that prints it for ONNX Runtime too."""
    allocated = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/memory.py"))["eager"]
    rng = random.Random(0)
    for arch in (space("ffnet_cifar").sample(rng) for _ in range(6)):
        assert 0.93 * allocated(arch) <= 1e6 * arch.peak_memory_mb <= 1.001 * allocated(arch), str(arch)
        assert arch.weights_mb == pytest.approx(sum(4e-6 * p.numel() for p in deployed(arch).parameters()))
