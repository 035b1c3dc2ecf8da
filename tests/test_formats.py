"""Every format computes what the network does, says so in the card, and refuses in one sentence where it cannot."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from networks import randomise, space

from ffnet_search.cli.tables import print_formats
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.export import formats
from ffnet_search.export.formats import FORMATS, TOLERANCE, Written, export_format
from ffnet_search.export.front import load, write_network
from ffnet_search.models.deployed import fuse
from ffnet_search.models.metamixer import MetaMixer

HERE = [name for name, (_, package) in FORMATS.items() if not package or find_spec(package)]


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """A run of which two networks are exported: random ones, in which every folded constant matters."""
    file = tmp_path / "tiny.yaml"
    spaces = Path(__file__).parents[1] / "search_spaces"
    file.write_text(f"search_space: {spaces / 'ffnet_digits.yaml'}\nruns: {tmp_path}\ndata: {{calibration: 64}}\n")
    sweep = Sweep.from_yaml(file)
    digits = space("ffnet_digits")
    for number, arch in enumerate((digits.smallest, digits.largest), 1):
        folder = sweep.files.pareto / f"{number:02d}-{arch.key}"
        folder.mkdir(parents=True)
        net = MetaMixer(arch).eval()
        randomise(net, number)
        write_network(folder, net, fuse(net), 17)
        (folder / "card.json").write_text(json.dumps({"key": arch.key, "metrics": {"test_accuracy": 0.5}}))
    return sweep


def card(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "card.json").read_text())
    return content


@pytest.mark.parametrize("name", HERE)
def test_a_format_is_written_run_and_noted(sweep: Sweep, name: str) -> None:
    picks = export_format(sweep, name, top=1)
    assert [pick.folder.name[:2] for pick in picks] == ["01"]
    found = card(picks[0].folder)
    assert found["metrics"] == {"test_accuracy": 0.5}  # what was there is kept
    noted = found["formats"][name]
    assert all((picks[0].folder / file).stat().st_size > 0 for file in noted["files"])
    assert name == "coreml" or 0 < noted["latency_ms"] < 1000
    if name == "int8":
        assert 0 <= noted["test_accuracy"] <= 1
        assert noted["within_half_a_point"] == (noted["test_accuracy_before"] - noted["test_accuracy"] <= 0.005)
    else:
        assert noted["max_difference"] <= TOLERANCE


def test_int8_is_int8_and_takes_any_batch(sweep: Sweep) -> None:
    import onnx

    folder = export_format(sweep, "int8", top=1)[0].folder
    model = onnx.load(folder / "model.int8.onnx")
    kinds = {tensor.data_type for tensor in model.graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}
    session = onnxruntime.InferenceSession(folder / "model.int8.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        (logits,) = session.run(None, {"images": np.zeros((batch, 1, 8, 8), np.float32)})
        assert logits.shape == (batch, 10)
    assert not (folder / "prepared.onnx").exists()


def test_pt2_takes_any_batch(sweep: Sweep) -> None:
    folder = export_format(sweep, "pt2", top=1)[0].folder
    net = torch.export.load(folder / "model.pt2").module()
    for batch in (1, 5):
        x_BCHW = torch.randn(batch, 1, 8, 8)
        assert torch.allclose(net(x_BCHW), load(folder)(x_BCHW), atol=1e-5)


@pytest.mark.parametrize(("ms", "said"), [(1.0, False), (1.3, True)])
def test_what_is_slower_than_the_onnx_model_is_said_to_be(
    sweep: Sweep, capsys: pytest.CaptureFixture[str], ms: float, said: bool
) -> None:
    [pick] = export_format(sweep, "onnx", top=1)
    content = card(pick.folder)
    content["formats"]["onnx"] |= {"latency_ms": ms, "onnx_latency_ms": 1.0}
    (pick.folder / "card.json").write_text(json.dumps(content))
    print_formats([pick], "onnx")
    assert ("slower here than model.onnx" in capsys.readouterr().out) == said


def test_a_model_that_computes_something_else_is_refused(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, net: torch.nn.Module, data: Any) -> Written:
        return Written(("model.onnx",), lambda images: np.ones((len(images), 10), np.float32))

    monkeypatch.setitem(formats.FORMATS, "broken", (broken, ""))
    with pytest.raises(SweepError, match=r"the broken model must give torch's logits within 0.001, but differs by"):
        export_format(sweep, "broken", top=1)


def test_coreml_says_what_it_takes_and_gives_and_that_it_was_not_timed(sweep: Sweep) -> None:
    models = pytest.importorskip("coremltools").models
    for pick in export_format(sweep, "coreml"):
        spec = models.MLModel(str(pick.folder / "model.mlpackage"), skip_model_load=True).get_spec()
        ((name, shape),) = ((x.name, list(x.type.multiArrayType.shape)) for x in spec.description.input)
        assert (name, shape) == ("images", [1, 1, 8, 8])
        assert [x.name for x in spec.description.output] == ["logits"]
        assert "latency_ms" not in card(pick.folder)["formats"]["coreml"]
        print_formats([pick], "coreml")


def test_a_wrong_weight_in_a_coreml_package_is_found(sweep: Sweep) -> None:
    pytest.importorskip("coremltools")
    from ffnet_search.export.coreml import forward

    [pick] = export_format(sweep, "coreml", top=1)
    images = np.random.default_rng(0).standard_normal((2, 1, 8, 8)).astype(np.float32)
    before = forward(pick.folder / "model.mlpackage")(images)
    [weights] = pick.folder.glob("model.mlpackage/**/weight.bin")
    content = bytearray(weights.read_bytes())
    content[-4:] = np.float32(100).tobytes()
    weights.write_bytes(content)
    assert np.abs(forward(pick.folder / "model.mlpackage")(images) - before).max() > 1


def test_what_cannot_be_made_is_one_sentence(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SweepError, match=r"--format 'onyx' is not a known format; did you mean 'onnx'\?"):
        export_format(sweep, "onyx")
    monkeypatch.setitem(formats.FORMATS, "other", (lambda *_: Written((), lambda x: x), "no_such_runtime"))
    with pytest.raises(SweepError, match="--format other needs no_such_runtime, which is not installed; run: pip"):
        export_format(sweep, "other")


def test_nothing_exported_is_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    spaces = Path(__file__).parents[1] / "search_spaces"
    file.write_text(f"search_space: {spaces / 'ffnet_digits.yaml'}\nruns: {tmp_path}\n")
    with pytest.raises(SweepError, match="nothing is exported yet; run `ffnet-search export` without --format"):
        export_format(Sweep.from_yaml(file), "onnx")
