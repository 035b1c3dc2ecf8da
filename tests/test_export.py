"""What is picked from a front, and that an exported folder gives back the same network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import yaml
from networks import images, space, supernet

import ffnet_search
from ffnet_search.errors import SweepError
from ffnet_search.export.network import write_network
from ffnet_search.models.deployed import Deployed, fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.space.architecture import Architecture, Form


def exported(folder: Path, form: Form, name: str = "ffnet_digits") -> tuple[MetaMixer, Deployed]:
    chosen = space(name)
    net = supernet(chosen, form).slice_to(chosen.largest)
    fused = fuse(net)
    write_network(folder, net, fused, opset=17)
    return net, fused


@pytest.mark.parametrize("form", [Form("none", 0.1), Form("all", None)])
@torch.no_grad()
def test_exported_folder_gives_back_the_network(tmp_path: Path, form: Form) -> None:
    net, fused = exported(tmp_path, form)
    x_BCHW = images(space("ffnet_digits"), 5)
    logits_BK = fused(x_BCHW)
    assert torch.equal(ffnet_search.load(tmp_path)(x_BCHW), logits_BK)
    trainable = ffnet_search.load(tmp_path, trainable=True)
    assert torch.equal(trainable(x_BCHW), net(x_BCHW))
    assert trainable.form == form and all(parameter.requires_grad for parameter in trainable.parameters())
    *_, last_BCHW = ffnet_search.load(tmp_path, features_only=True)(x_BCHW)
    assert torch.equal(fused.parts[-1](last_BCHW), logits_BK)
    with pytest.raises(ValueError, match="remove one"):
        ffnet_search.load(tmp_path, trainable=True, features_only=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 5):  # any batch size
        found = session.run(None, {"images": x_BCHW[:batch].numpy()})[0]
        assert np.abs(found - logits_BK[:batch].numpy()).max() <= 1e-4
    content = yaml.safe_load((tmp_path / "architecture.yaml").read_text())
    assert Architecture.from_dict(content) == net.largest


@pytest.mark.parametrize("broken", ["architecture.yaml", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"input: {}", b"\xff\xfe not what it was"])
def test_broken_folders_are_one_sentence(tmp_path: Path, broken: str, content: bytes | None) -> None:
    exported(tmp_path, Form("none", 0.1))
    (tmp_path / broken).unlink() if content is None else (tmp_path / broken).write_bytes(content)
    with pytest.raises(SweepError, match="must be a folder that `ffnet-search export` wrote"):
        ffnet_search.load(tmp_path)


def test_weights_of_another_architecture_are_refused(tmp_path: Path) -> None:
    exported(tmp_path, Form("none", 0.1))
    smaller = space("ffnet_digits").smallest
    (tmp_path / "architecture.yaml").write_text(yaml.safe_dump(smaller.to_dict()))
    with pytest.raises(SweepError, match="must be a folder"):
        ffnet_search.load(tmp_path)


def test_public_names_load_and_others_do_not() -> None:
    for name in ffnet_search.__all__:
        assert getattr(ffnet_search, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'Supernett'"):
        ffnet_search.Supernett  # noqa: B018
    assert json.dumps(dir(ffnet_search)) == json.dumps(ffnet_search.__all__)
