"""One contract for every token mixer: those of `MIXERS`, and a user-supplied one by import path."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import my_blocks
import pytest
import torch
import yaml
from networks import images, randomise, run_onnx, supernet
from torch.utils.flop_counter import FlopCounterMode

from ffnet_search.errors import SweepError
from ffnet_search.models.deployed import deployed_part, fuse
from ffnet_search.models.layers import MixerBlock
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.mixers import TokenMixer, make_mixer
from ffnet_search.models.saved import read_supernet, write_supernet
from ffnet_search.report.architecture_svg import draw
from ffnet_search.space.architecture import Architecture, Form, Stage, Stem
from ffnet_search.space.block import Block
from ffnet_search.space.input import Input
from ffnet_search.space.mixers import MIXERS, find_mixer
from ffnet_search.space.search_space import SearchSpace

BLUR = "my_blocks:Blur"
ALL = [*MIXERS, BLUR]


def network(mixer: str, width: int, kernel: int, expansion: int) -> Architecture:
    """One block."""
    return Architecture(Stem(8, 1), (Stage(width, (Block(mixer, kernel, 3, expansion),)),), Input(3, 6, 5))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("branches", ["none", "all"])
@torch.no_grad()
def test_elastic_equals_sliced_equals_fused_equals_exported(name: str, branches: str) -> None:
    """For a width and a kernel below the largest."""
    big, small = network(name, 48, 7, 2), network(name, 32, 5, 1)
    net = MetaMixer(big, Form(branches, 0.1), [(name,)]).eval()  # type: ignore[arg-type]
    randomise(net)
    x_BCHW = torch.randn(3, 3, 6, 6)
    sliced = net.slice_to(small)
    fused = fuse(sliced)
    expected_BK = net(x_BCHW, small)
    assert (expected_BK - sliced(x_BCHW)).abs().max() <= 1e-5
    assert (expected_BK - fused(x_BCHW)).abs().max() <= 1e-5
    assert (expected_BK - run_onnx(fused, x_BCHW)).abs().max() <= 1e-4


@pytest.mark.parametrize("name", ALL)
def test_the_deployed_part_has_the_stated_parameters_and_macs(name: str) -> None:
    part = network(name, 32, 5, 1).parts[1]
    assert part.mixer == name
    assert (part.kernel > 0) == find_mixer(name).has_kernel
    module = deployed_part(part)
    assert sum(parameter.numel() for parameter in module.parameters()) == part.costs.params
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, part.in_width, part.resolution, part.resolution))
    assert counter.get_total_flops() == 2 * part.costs.macs
    assert part.costs.memory >= 2 * part.in_width * part.resolution**2  # its input and its output


@pytest.mark.parametrize("name", ALL)
def test_every_weight_learns(name: str) -> None:
    mixer = make_mixer(name, 32, 5, Form("all", None))
    x_BCHW = torch.randn(2, 32, 6, 6, requires_grad=True)
    mixer(x_BCHW, 3).square().sum().backward()
    assert x_BCHW.grad is not None and x_BCHW.grad.abs().sum() > 0
    for parameter_name, parameter in mixer.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, parameter_name


@pytest.mark.parametrize("name", ALL)
def test_more_of_anything_costs_more(name: str) -> None:
    def cost(width: int = 32, depth: int = 2, **block: int) -> tuple[float, float]:
        arch = Architecture(Stem(16, 2), (Stage(width, (Block(name, **block),) * depth),), Input(3, 32, 10))
        return arch.macs_m, arch.params_m

    base = cost()
    for more in (cost(width=48), cost(depth=3), cost(expansion=4), cost(channel_kernel=5)):
        assert more[0] > base[0] and more[1] > base[1]
    assert (cost(token_kernel=9) > base) == (name == "ffn_attention")


@pytest.mark.parametrize("name", ALL)
def test_the_network_is_a_mixer_too(name: str) -> None:
    """Its costs are those that the space knows, so the class of a shipped network works by import path as well."""
    mixer = find_mixer(name)
    network = make_mixer(name, 32, 5, Form())
    assert isinstance(network, TokenMixer)
    assert network.costs(32, 5, 36) == mixer.costs(32, 5, 36)


@pytest.mark.parametrize("name", ALL)
def test_it_is_written_and_drawn_by_what_it_says_of_itself(name: str) -> None:
    arch, mixer = network(name, 32, 5, 1), find_mixer(name)
    kernel = 5 if mixer.has_kernel else 0
    assert f"| 32: {mixer.short(kernel)}+3 e1 x1" in str(arch)
    drawing = draw(arch)
    assert mixer.colour in drawing and f"{mixer.title()}: token kernel" in drawing


def test_colours_differ() -> None:
    assert len({find_mixer(name).colour for name in ALL}) == len(ALL)


# --- by import path, in other processes

SPACE: dict[str, Any] = {
    "input": {"channels": 1, "resolution": 8, "classes": 3},
    "stages": [{"depth": [1, 2], "width": [16, 32], "mixer": ["ffn_attention", BLUR], "token_kernel": [3, 5]}],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of the user's, with the mixer and a search space."""
    shutil.copy(my_blocks.__file__, tmp_path)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(SPACE))
    return tmp_path


def fresh(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """The result of a new Python process in `folder`, which sees this package and no module of the tests."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.run([sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True)


def test_show_reads_a_space_with_a_user_supplied_mixer_in_a_fresh_process(folder: Path) -> None:
    done = fresh(folder, "-m", "ffnet_search", "show", "space.yaml", "--json", "--allow-imports")
    assert done.returncode == 0, done.stderr
    assert BLUR in json.loads(done.stdout)["axes"]["stage1.mixer"]


READ = """
import torch
from pathlib import Path
from ffnet_search.models.deployed import fuse
from ffnet_search.models.saved import read_supernet
net = read_supernet(Path("supernet.ckpt")).eval()
x_BCHW = torch.load("images.pt")
torch.save([net(x_BCHW), fuse(net.slice_to(net.largest))(x_BCHW)], "logits.pt")
"""


@torch.no_grad()
def test_a_supernet_with_a_user_supplied_mixer_is_read_in_a_fresh_process(folder: Path) -> None:
    space = SearchSpace.from_yaml(folder / "space.yaml")
    net, x_BCHW = supernet(space), images(space)
    write_supernet(folder / "supernet.ckpt", net, space)
    torch.save(x_BCHW, folder / "images.pt")
    done = fresh(folder, "-c", READ)
    assert done.returncode == 0, done.stderr
    logits_BK, fused_BK = torch.load(folder / "logits.pt")
    torch.testing.assert_close(logits_BK, net(x_BCHW), rtol=0, atol=1e-6)
    torch.testing.assert_close(fused_BK, fuse(net.slice_to(net.largest))(x_BCHW), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_ranks_train_a_user_supplied_mixer(folder: Path) -> None:
    (folder / "space.yaml").write_text(yaml.safe_dump(SPACE | {"input": SPACE["input"] | {"classes": 10}}))
    sweep = {
        "search_space": "space.yaml",
        "allow_imports": True,
        "data": {"name": "digits", "batch_size": 256, "validation": 0.5, "calibration": 64, "workers": 0},
        "train": {"epochs": 1, "devices": 2},
    }
    (folder / "sweep.yaml").write_text(yaml.safe_dump(sweep))
    done = fresh(folder, "-m", "ffnet_search", "train", "sweep.yaml")
    assert done.returncode == 0, done.stderr
    net = read_supernet(folder / "runs" / "sweep" / "supernet.ckpt")
    assert BLUR in [mixer for module in net.modules() if isinstance(module, MixerBlock) for mixer in module.mixers]


def test_a_supernet_whose_mixer_is_missing_is_one_sentence(folder: Path) -> None:
    space = SearchSpace.from_yaml(folder / "space.yaml")
    write_supernet(folder / "supernet.ckpt", supernet(space), space)
    (folder / "my_blocks.py").unlink()
    code = (
        "from ffnet_search.models.saved import read_supernet as r; from pathlib import Path; r(Path('supernet.ckpt'))"
    )
    done = fresh(folder, "-c", code)
    assert "supernet.ckpt: " in done.stderr
    assert "'my_blocks:Blur' must be package.module:Class, but there is no module 'my_blocks'" in done.stderr


@pytest.mark.parametrize(
    ("mixer", "message"),
    [
        ("poll", r"stages.0.mixer must be one of ffn_attention, pool, .* but got 'poll'; did you mean 'pool'\?"),
        ("no_blocks:Blur", "stages.0.mixer: 'no_blocks:Blur' must be package.module:Class, but there is no module"),
        ("my_blocks:Blurr", r"stages.0.mixer: 'my_blocks:Blurr' .* does not exist; did you mean 'Blur'\?"),
        ("my_blocks:NoMixer", "stages.0.mixer: 'my_blocks:NoMixer' must name a TokenMixer, but NoMixer is <class"),
        ("my_blocks:Shapeless", "stages.0.mixer: 'my_blocks:Shapeless' must define costs and deploy, as"),
    ],
)
def test_a_wrong_mixer_is_one_sentence(tmp_path: Path, mixer: str, message: str) -> None:
    file = tmp_path / "space.yaml"
    stage = {"depth": 1, "width": 16, "mixer": [mixer]}
    file.write_text(yaml.safe_dump({"input": {"resolution": 8, "classes": 3}, "stages": [stage]}))
    with pytest.raises(SweepError, match=message) as caught:
        SearchSpace.from_yaml(file)
    assert str(caught.value).startswith(f"{file}: ")


def test_the_key_of_a_network_names_the_import_path() -> None:
    arch = network(BLUR, 32, 5, 1)
    assert Architecture.from_dict(json.loads(json.dumps(arch.to_dict()))).key == arch.key
    assert arch.parts[1].key == "token_mixer my_blocks:Blur 32x6x6 k5"
