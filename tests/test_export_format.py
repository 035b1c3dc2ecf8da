"""Export in other formats: what each one is, when it is refused, and what is said of it."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path

import mil
import numpy as np
import onnx
import pytest
import torch
from exported import read_card, write_run
from own_formats import Degraded, Shifted
from pseudo_terminal import CODES, shown

from ffnet_search.cli.app import app
from ffnet_search.cli.tables.formats import print_formats
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export.exported import read_exported
from ffnet_search.export.formats.registry import FORMATS
from ffnet_search.export.formats.write import TOLERANCE, export_format
from ffnet_search.export.network import load
from ffnet_search.formatting import figure
from ffnet_search.plugins import find_class, is_installed
from ffnet_search.run.folder.lock import alone_in
from ffnet_search.training.fit import sweep_data


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    return write_run(tmp_path)


def test_int8_has_weights_of_eight_bits(sweep: Sweep) -> None:
    folder = export_format(sweep, "int8", top=1)[0].folder
    model = onnx.load(folder / "model.int8.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}


def test_pt2_computes_what_the_network_does(sweep: Sweep) -> None:
    folder = export_format(sweep, "pt2", top=1)[0].folder
    net = torch.export.load(folder / "model.pt2").module()
    for batch in (1, 5):
        x_BCHW = torch.randn(batch, 1, 8, 8)
        assert torch.allclose(net(x_BCHW), load(folder)(x_BCHW), atol=1e-5)


def test_coreml_says_what_it_takes_and_gives_and_that_it_was_not_run(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    models = pytest.importorskip("coremltools").models
    for network in export_format(sweep, "coreml"):
        spec = models.MLModel(str(network.folder / "model.mlpackage"), skip_model_load=True).get_spec()
        ((name, shape),) = ((x.name, list(x.type.multiArrayType.shape)) for x in spec.description.input)
        assert (name, shape) == ("images", [1, 1, 8, 8])
        assert [x.name for x in spec.description.output] == ["logits"]
        print_formats([network], "coreml")
    assert "not here" in capsys.readouterr().out


def test_a_coreml_package_computes_what_the_network_does(sweep: Sweep) -> None:
    """By an interpreter of its program: CoreML itself runs on Apple's systems only."""
    pytest.importorskip("coremltools")
    images_BCHW = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    for network in export_format(sweep, "coreml"):
        package = network.folder / "model.mlpackage"
        logits_BK = mil.forward(package)(images_BCHW)
        with torch.inference_mode():
            expected_BK = load(network.folder)(torch.from_numpy(images_BCHW)).numpy()
        assert np.abs(logits_BK - expected_BK).max() <= TOLERANCE
    [weights] = package.glob("**/weight.bin")
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(100).tobytes()
    weights.write_bytes(content)
    assert np.abs(mil.forward(package)(images_BCHW) - logits_BK).max() > 1  # the interpreter reads the weights


def test_what_was_written_is_shown_with_its_accuracy_in_80_columns(sweep: Sweep) -> None:
    command = [sys.executable, "-m", "ffnet_search", "export", str(sweep.path), "--format", "pt2", "--quiet"]
    said = CODES.sub("", shown(80, *command))
    for network in read_exported(sweep.files.pareto):
        ms = network.read_card()["formats"]["pt2"]["latency_ms"]
        [row] = [line.split() for line in said.splitlines() if line.startswith(network.folder.name)]
        assert row[1] == figure(ms) and row[3] == "50.00" and float(row[4]) <= TOLERANCE
    assert "not shown" not in said and "written: model.pt2 in each of these" in " ".join(said.split())


@pytest.mark.parametrize(("ms", "said"), [(1.0, False), (1.3, True)])
def test_a_format_slower_than_the_onnx_model_is_named(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], ms: float, said: bool
) -> None:
    [network] = export_format(sweep, "onnx", top=1)
    content = read_card(network.folder)
    content["formats"]["onnx"] |= {"latency_ms": ms, "onnx_latency_ms": 1.0}
    (network.folder / "card.json").write_text(json.dumps(content))
    print_formats([network], "onnx")
    assert ("slower here than model.onnx" in capsys.readouterr().out) == said


def test_the_table_has_a_row_for_each_format_of_each_network(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    app(["export", str(sweep.path), "--format", "all", "--quiet"], standalone_mode=False)
    printed = capsys.readouterr().out
    app(["export", str(sweep.path), "--table", "--quiet", "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    written = [name for name in FORMATS if all(map(is_installed, find_class(name, "", registry=FORMATS).packages))]
    assert {"onnx", "pt2", "int8"} <= set(written)
    for network in document["networks"]:
        assert network["formats"].keys() == set(written)
        rows = [line.split() for line in printed.splitlines() if line.startswith(Path(network["folder"]).name)]
        assert {row[1] for row in rows} == {"torch", *written}
        for row in rows:
            assert float(row[2]) > 0  # megabytes
            if row[1] in ("onnx", "int8", "pt2"):
                assert float(row[-1]) == pytest.approx(network["formats"][row[1]]["latency_ms"], rel=6e-3)
    for name in set(FORMATS) - set(written):
        assert f"{name} is not written: " in printed and "which is not installed" in printed


def test_a_format_of_one_network(sweep: Sweep, capsys: pytest.CaptureFixture[str]) -> None:
    last = sorted(sweep.files.pareto.iterdir())[-1]
    networks = export_format(sweep, "onnx", key=last.name.partition("-")[2])
    assert [network.folder for network in networks] == [last]
    with pytest.raises(SweepError, match="must be one of onnx, .* did you mean 'onnx'"):
        app(["export", str(sweep.path), "--format", "onyx"], standalone_mode=False)


def test_two_commands_do_not_write_the_same_cards(sweep: Sweep) -> None:
    """Each reads a card and writes it again: the entry of the other would be lost."""
    with alone_in(sweep), pytest.raises(SweepError, match="is working in it; wait until it ends"):
        app(["export", str(sweep.path), "--format", "onnx"], standalone_mode=False)
    assert not any(
        "onnx" in read_card(network.folder).get("formats", {}) for network in read_exported(sweep.files.pareto)
    )


def test_the_document_of_the_command_has_the_entries_of_the_cards(
    sweep: Sweep, capsys: pytest.CaptureFixture[str]
) -> None:
    app(["export", str(sweep.path), "--format", "onnx", "--quiet", "--json"], standalone_mode=False)
    document = json.loads(capsys.readouterr().out)
    cards = {str(path.parent): read_card(path.parent) for path in sorted(sweep.files.pareto.glob("*/card.json"))}
    assert document == {
        "format": "onnx",
        "networks": [{"folder": folder, **card["formats"]["onnx"]} for folder, card in cards.items()],
    }


def test_a_model_that_computes_something_else_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Shifted, "shift", 0.9 * TOLERANCE)
    export_format(sweep, "own_formats:Shifted", top=1)
    for shift, difference in ((1.1 * TOLERANCE, "0.0011"), (math.nan, "nan")):
        monkeypatch.setattr(Shifted, "shift", shift)
        message = f"the own_formats:Shifted model must give torch's logits within 0.001, but differs by {difference}"
        with pytest.raises(SweepError, match=message):
            export_format(sweep, "own_formats:Shifted", top=1)


@pytest.mark.parametrize(("wrong", "within"), [(0, True), (1, True), (2, False)])
def test_quality_lost_beyond_half_a_point_is_marked(
    sweep: Sweep, monkeypatch: pytest.MonkeyPatch, wrong: int, within: bool
) -> None:
    """Of the 360 test images of digits, one is 0.28 points and two are 0.56."""
    folder = sweep.files.pareto / f"01-{sweep.search_space.smallest.key}"
    right = []
    for images_BCHW, label_B in sweep_data(sweep).test_dataloader():
        with torch.inference_mode():
            hits_B = load(folder)(images_BCHW).argmax(1) == label_B
        right += [image_CHW.numpy().tobytes() for image_CHW in images_BCHW[hits_B]]
    monkeypatch.setattr(Degraded, "wrong", frozenset(right[:wrong]))
    export_format(sweep, "own_formats:Degraded", top=1)
    assert read_card(folder)["formats"]["own_formats:Degraded"]["within_half_a_point"] == within


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("onyx", r"--format must be one of onnx, .* or package.module:Class, but got 'onyx'; did you mean 'onnx'\?"),
        ("own_formats:Weight", r"--format: 'own_formats:Weight' must name a Format, .*did you mean 'Weights'\?"),
        ("own_formats:NeedsRuntime", "needs no_such_runtime, which is not installed; run: pip install no_such_runtime"),
    ],
)
def test_a_format_that_cannot_be_written_is_one_sentence(sweep: Sweep, name: str, message: str) -> None:
    with pytest.raises(SweepError, match=message):
        export_format(sweep, name)


def test_nothing_exported_is_one_sentence(sweep: Sweep) -> None:
    with pytest.raises(SweepError, match="nothing is exported yet; run `ffnet-search run .*` first"):
        export_format(sweep.override(name="empty"), "onnx")
