"""A loaded network prepares images as training and predict.py do, and names what it finds."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import space
from PIL import Image

from ffnet_search.errors import SweepError
from ffnet_search.export.loaded import LoadedNetwork
from ffnet_search.export.network import load, write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer

FACTS = {"channels": 1, "resolution": 8, "classes": [f"c{n}" for n in range(10)], "mean": [100.0], "std": [50.0]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("network")
    net = MetaMixer(space("ffnet_digits").smallest).eval()
    write_network(folder, net, fuse(net), 17)
    (folder / "card.json").write_text(json.dumps({"metrics": {}, "input": FACTS}))
    levels = np.random.default_rng(0).integers(0, 256, (12, 20), dtype=np.uint8)
    Image.fromarray(levels).save(folder / "image.png")
    return folder


def test_a_file_and_its_image_are_prepared_alike(folder: Path) -> None:
    net = load(folder)
    assert isinstance(net, LoadedNetwork)
    assert net.classes == tuple(FACTS["classes"])  # type: ignore[arg-type]
    x_1CHW = net.preprocess(folder / "image.png")
    assert x_1CHW.shape == (1, 1, 8, 8) and x_1CHW.dtype == torch.float32
    with Image.open(folder / "image.png") as image:
        assert torch.equal(net.preprocess(image), x_1CHW)
        middle = image.crop((4, 0, 16, 12))
    inner = np.s_[..., 2:-2]
    # The largest square in the middle; at its edges a filter reads what was cut off.
    assert torch.allclose(net.preprocess(middle)[inner], x_1CHW[inner], atol=0.05)  # some levels of 255
    assert abs(float(x_1CHW.mean()) - (127.5 - 100) / 50) < 1


def test_a_prediction_is_a_class_with_its_probability(folder: Path) -> None:
    net = load(folder)
    found = net.predict(folder / "image.png")
    assert sorted(found) == sorted(FACTS["classes"])  # type: ignore[call-overload]
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1)
    with torch.no_grad():
        logits_K = net(net.preprocess(folder / "image.png"))[0]
    assert next(iter(found)) == FACTS["classes"][int(logits_K.argmax())]  # type: ignore[index]


def test_weights_and_names_of_parameters_stay_those_of_the_deployed_form(folder: Path) -> None:
    net = load(folder)
    fused = fuse(load(folder, trainable=True))
    assert list(net.state_dict()) == list(fused.state_dict())


def test_without_normalisation_an_image_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("architecture.yaml", "model.safetensors"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    net = load(tmp_path)
    assert net.classes == ()
    with pytest.raises(SweepError, match="its data came from a user-supplied module"):
        net.preprocess(folder / "image.png")
