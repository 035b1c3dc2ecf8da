"""Every format, and a user-supplied one, computes what the network does and says so in the card."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from exported import read_card, write_run
from networks import randomise, space

import ffnet_search
from ffnet_search.config.sweep import Sweep
from ffnet_search.export.formats.base import Format, Source, find_format, registered_files
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.export.formats.write import TOLERANCE, export_format
from ffnet_search.export.network import load_deployed, write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.plugins import find_class, is_installed

USER_SUPPLIED = "own_formats:Weights"
CLASSES: dict[str, type[Format]] = {
    name: find_class(name, "format", Format, FORMATS) for name in (*FORMATS, USER_SUPPLIED)
}
MISSING = {name: [one for one in kind.packages if not is_installed(one)] for name, kind in CLASSES.items()}
NAMES = [  # of all, those that cannot be written here skipped with the reason
    pytest.param(name, marks=pytest.mark.skipif(bool(lacks), reason=f"{', '.join(lacks)} is not installed"))
    for name, lacks in MISSING.items()
]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return write_run(tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_format_is_written_run_and_noted(sweep: Sweep, name: str) -> None:
    exported = export_format(sweep, name, top=1)
    assert [network.folder.name[:2] for network in exported] == ["01"]
    folder, format = exported[0].folder, find_format(name)
    card = read_card(folder)
    assert card["metrics"] == {"test_accuracy": 0.5}  # what was there is kept
    noted = card["formats"][name]
    assert noted["files"] == [file.name for file in format.files]
    assert all((folder / file).stat().st_size > 0 for file in noted["files"])
    assert noted["versions"].keys() == {"torch", *format.packages}
    if format.forward(folder) is None:
        assert noted.keys() == {"files", "versions"}
        return
    assert 0 < noted["latency_ms"] < 1000 and 0 < noted["onnx_latency_ms"] < 1000
    if format.is_exact:
        assert noted["max_difference"] <= TOLERANCE
    else:
        lost = noted["test_accuracy_before"] - noted["test_accuracy"]
        assert noted["within_half_a_point"] == (lost <= 0.005)


@pytest.mark.parametrize("name", NAMES)
def test_a_written_model_takes_any_batch(sweep: Sweep, name: str) -> None:
    folder = export_format(sweep, name, top=1)[0].folder
    forward = find_format(name).forward(folder)
    if forward is None:
        pytest.skip("its runtime does not exist here")
    for batch in (1, 3):
        images_BCHW = np.random.default_rng(batch).standard_normal((batch, 1, 8, 8)).astype(np.float32)
        logits_BK = forward(images_BCHW)
        assert logits_BK.shape == (batch, 10) and logits_BK.dtype == np.float32


@pytest.mark.filterwarnings("ignore")  # of exporters
@pytest.mark.parametrize("name", NAMES)
def test_images_may_lie_in_memory_pixel_by_pixel(tmp_path: Path, name: str) -> None:
    """As those of a training in colour do."""
    net = MetaMixer(space("ffnet_cifar").smallest).eval()
    randomise(net, 0)
    write_network(tmp_path, net, fuse(net), 17)
    images_BCHW = np.random.default_rng(0).standard_normal((8, 3, 32, 32)).astype(np.float32)
    format = find_format(name)
    format.write(tmp_path, Source(fuse(net), torch.from_numpy(images_BCHW)))
    forward = format.forward(tmp_path)
    if forward is None:
        pytest.skip("its runtime does not exist here")
    pixels_BCHW = np.ascontiguousarray(images_BCHW.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)
    assert np.allclose(forward(pixels_BCHW), forward(images_BCHW), atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of exporters
@pytest.mark.parametrize("name", NAMES)
def test_writing_again_replaces_the_files(sweep: Sweep, name: str) -> None:
    format, folder = find_format(name), sweep.files.pareto / f"01-{sweep.search_space.smallest.key}"
    net, images_NCHW = load_deployed(folder), np.zeros((8, 1, 8, 8), np.float32)
    before = {path.name for path in folder.iterdir()}
    for _ in range(2):
        format.write(folder, Source(net, torch.from_numpy(images_NCHW)))
    assert {path.name for path in folder.iterdir()} == before | {file.name for file in format.files}


def test_files_of_formats_have_words_and_names_of_their_own() -> None:
    files = registered_files()
    assert len({file.name for file in files}) == len(files) and all(file.words for file in files)


def test_modules_of_formats_import_no_runtime() -> None:
    code = (
        "import sys\n"
        "from ffnet_search.export.formats.base import registered_files\n"
        "registered_files()\n"
        "print({'torch', 'onnxruntime', 'openvino', 'coremltools'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"


def test_a_format_is_a_file_and_a_row() -> None:
    """The two places to touch for another one: nothing else in the package knows the name of a format."""
    package = Path(ffnet_search.__file__).parent
    naming = [path.relative_to(package) for path in package.rglob("*.py") if "pt2" in path.read_text(encoding="utf-8")]
    assert sorted(map(str, naming)) == ["export/formats/pt2.py", "export/formats/registry.py"]
