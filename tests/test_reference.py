"""Networks equal the reference implementation, and its checkpoints load."""

from __future__ import annotations

import json

import pytest
import torch
from networks import PRESET_FORMS, REFERENCE, load_tiny, tiny_reference
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.errors import SweepError
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.reference import load_reference
from ffnet_search.space.architecture import PRESETS, Architecture


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
