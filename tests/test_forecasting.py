"""Forecasting: FFNet-TS equals the reference, a CSV becomes windows, and a sweep over its hyper-parameters ends."""

from __future__ import annotations

import inspect
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning import Trainer
from networks import REFERENCE, run_onnx
from time_series import forecast, waves

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.forecasting.forecaster import Forecaster, RobustForecaster
from ffnet_search.forecasting.network import FFNetTs, SeriesShape
from ffnet_search.forecasting.series import Series, read_series
from ffnet_search.run.check import check_content
from ffnet_search.run.data_changes import say_audit

ROOT = Path(__file__).parents[1]
UNUSED = ("te_patch", "lat_layer", "smooth_layer", "up_sample_conv", *(f"downsample_layers.{n}." for n in (1, 2, 3)))


@torch.no_grad()
def test_the_reference_network_is_reproduced() -> None:
    path = REFERENCE / "ts_k51.npz"
    if not path.exists():
        pytest.skip("the reference network ts_k51.npz is not beside this repository")
    content = np.load(path)
    config = json.loads(str(content["config"]))
    weights = {name.removeprefix("w:"): torch.from_numpy(content[name]) for name in content.files if name[:2] == "w:"}
    x_BLM, expected_BSM = (torch.from_numpy(content[name]) for name in ("input", "output"))
    ratio = weights["model.stages.0.blocks.0.channel_mixer.ffnpw1.weight"].shape[0] // (3 * config["dims"][0])
    net = FFNetTs(SeriesShape(config["enc_in"], x_BLM.shape[1], config["pred_len"]), config["dims"][0], 51, ratio, 0.1)
    kept = {name: tensor for name, tensor in weights.items() if not any(word in name for word in UNUSED)}
    net.load_state_dict(kept)
    assert (net.eval()(x_BLM) - expected_BSM).abs().max() <= 2e-5
    assert (run_onnx(net, x_BLM) - expected_BSM).abs().max() <= 2e-5


def test_the_published_sizes() -> None:
    """Parameters that are used, of the reference's scripts."""
    for ratio, future, parameters in ((2, 96, 499_104), (2, 720, 2_416_656), (8, 96, 743_156 - 50_516)):
        with torch.device("meta"):
            net = FFNetTs(SeriesShape(7, 96, future), 64, 51, ratio, 0.1)
        assert sum(parameter.numel() for parameter in net.parameters()) == parameters


def test_a_forecast_moves_with_its_series() -> None:
    net = FFNetTs(SeriesShape(3, 16, 4), 8, 5, 2, 0.0).eval()
    x_BLM = torch.randn(2, 16, 3)
    torch.testing.assert_close(net(100 * x_BLM + 7), 100 * net(x_BLM) + 7, atol=1e-2, rtol=1e-3)


def test_windows_are_those_of_the_benchmarks(tmp_path: Path) -> None:
    """Of 12, 4 and 4 months by the hour: 8,449, 2,785 and 2,785 windows; standardised by the first 12."""
    data = Series(str(waves(tmp_path / "s.csv", 15_000)), (96, 96), (8640, 2880, 2880))
    data.setup("fit")
    assert [len(windows) for windows in data.windows.values()] == [8449, 2785, 2785]
    train_TM = data.windows["train"].steps_TM
    assert data.variables == ("a", "b", "c")
    assert train_TM.mean().abs() < 1e-3 and (train_TM.std(0) - 1).abs().max() < 1e-3
    first, second = data.windows["val"][0], data.windows["val"][1]
    assert first[0].shape == (96, 3) and torch.equal(torch.cat(first)[1:], torch.cat(second)[:-1])
    assert torch.equal(data.windows["val"][0][0], train_TM[-96:])


def test_shares_split_a_series(tmp_path: Path) -> None:
    data = Series(str(waves(tmp_path / "s.csv", 400)), (24, 12), batch_size=16)
    data.setup("fit")
    assert [len(windows) for windows in data.windows.values()] == [280 - 35, 40 + 24 - 35, 80 + 24 - 35]
    shares = (0.33, 0.56, 0.11)
    assert shares[0] + shares[1] + shares[2] > 1, "by rounding: added up exactly they are one"
    data = Series(str(tmp_path / "s.csv"), (24, 12), shares)
    data.setup("fit")
    assert len(data.windows["train"]) == 132 - 35


@pytest.mark.parametrize("kind", [Forecaster, RobustForecaster])
def test_a_forecaster_beats_the_last_value(kind: type[Forecaster], tmp_path: Path) -> None:
    data = Series(str(waves(tmp_path / "s.csv", 400)), (24, 12), batch_size=16)
    torch.manual_seed(0)
    module = kind((3, 24, 12), dim=8, kernel=5, dropout=0.1, learning_rate=3e-3)
    trainer = Trainer(max_epochs=3, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                      enable_model_summary=False, accelerator="cpu")  # fmt: skip
    trainer.fit(module, data)
    past, future = (torch.stack(parts) for parts in zip(*(data.windows["val"][i] for i in range(28)), strict=True))
    assert float(trainer.callback_metrics["val_mse"]) < float(((past[:, -1:] - future) ** 2).mean())


MISTAKES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "lost": (lambda path: path.unlink(), r"must be a CSV file in UTF-8, but there is no such file"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), r"must be a CSV file in UTF-8, but is no regular file"),
    "bytes": (lambda path: path.write_bytes(b"date,a\n1,\xff\n"), r"cannot be read so .*; save it again as one"),
    "void": (lambda path: path.write_text(""), r"must have a line of names and then a row .*, but is empty"),
    "words": (
        lambda path: path.write_text("date,a\nmonday,x\n"),
        r"must have columns of numbers .*, but its first row",
    ),
    "times": (
        lambda path: path.write_text(",Timestamp\n1,2\n2,3\n"),
        r"must have columns of numbers .*, but its first row",
    ),
    "gap": (lambda path: path.write_text("date,a\n1,2\n2,\n"), r"line 3: a must be a number, but is ''; fill it, or"),
    "blank": (lambda path: path.write_text("date,a\n\n1,2\n\n2,\n"), r"line 5: a must be a number, but is ''"),
    "headless": (lambda path: path.write_text("1.5,2\n3,4\n"), r"line 1 must name the columns, but holds numbers"),
    "comma": (lambda path: path.write_text("date;a\nmon;1,5\n"), r"numbers \(decimals with a point\) .*'mon', '1,5'"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), r"CSV file in UTF-8, but is no regular file"),
    "one": (lambda path: path.write_text("date,a\n"), r"then a row for each step, but has its first line alone"),
    "first": (
        lambda path: path.write_text("date,a,b\nmon,1,\ntue,2,3\n"),
        r"line 2: b must be a number, but is ''",
    ),
    "twice": (lambda path: path.write_text("date,a,a\n1,2,3\n"), r"must name each column once, but repeats a"),
    "ragged": (
        lambda path: path.write_text("date,a\n1,2\n2\n"),
        r"line 3 must have 2 cells, but has 1; give it",
    ),
    "short": (lambda path: waves(path, 100), r"must have enough rows for a window of 24 \+ 12 .*none for val"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_series_is_one_sentence(name: str, tmp_path: Path) -> None:
    change, message = MISTAKES[name]
    path = waves(tmp_path / "s.csv")
    change(path)
    with pytest.raises(SweepError, match=message):
        Series(str(path), (24, 12)).setup("fit")


def test_arguments_that_make_no_network_or_split_are_one_sentence(tmp_path: Path) -> None:
    for arguments in ({"shape": (3, 25, 12)}, {"kernel": 4}, {"dim": 0}):
        with pytest.raises(SweepError, match=f"module.init_args.{next(iter(arguments))} must be"):
            Forecaster(**arguments)  # type: ignore[arg-type]
    with pytest.raises(SweepError, match="split must be of 400 rows at most .*, but asks for 900"):
        Series(str(waves(tmp_path / "s.csv")), (24, 12), (300, 300, 300)).setup("fit")
    with pytest.raises(SweepError, match="must have a window of past and future steps"):
        Series("s.csv", (24,))
    assert read_series(waves(tmp_path / "s.csv"))[1].shape == (400, 3)


def test_data_of_a_forecaster_are_checked_though_they_are_no_images(tmp_path: Path) -> None:
    content = yaml.safe_load((ROOT / "sweeps/ett.yaml").read_text())
    content["data"]["init_args"] = {"path": str(waves(tmp_path / "s.csv")), "window": [24, 12]}
    sweep = Sweep.from_content({**content, "name": "s", "runs": str(tmp_path)}, tmp_path / "s.yaml")
    say_audit(sweep)  # which is of images
    check_content(sweep)
    waves(tmp_path / "s.csv", 60)
    with pytest.raises(SweepError, match="must have enough rows for a window of 24"):
        check_content(sweep)


def test_the_page_has_the_arguments_and_their_defaults() -> None:
    page, listed = (ROOT / "docs/forecasting.md").read_text(encoding="utf-8"), dict[str, Any]()
    for names, values in re.findall(r"^\| (`[^|]+) \| (`[^|]+) \|", page, re.MULTILINE):
        named = zip(re.findall(r"`([\w.]+)`", names), re.findall(r"`([^`]+)`", values), strict=True)
        listed |= {name: yaml.safe_load(value) for name, value in named}
    classes = {"module": Forecaster, "data.init_args": Series}
    signatures = {place: inspect.signature(kind).parameters for place, kind in classes.items()}
    defaults = {f"{place}.{name}": one.default for place, known in signatures.items() for name, one in known.items()}
    del defaults["data.init_args.path"]
    assert listed == {name: list(one) if isinstance(one, tuple) else one for name, one in defaults.items()}


@pytest.mark.slow
def test_the_shipped_sweep_ends_with_tested_networks(tmp_path: Path) -> None:
    from ffnet_search.run.pipeline import run_sweep

    content = yaml.safe_load((ROOT / "sweeps/ett.yaml").read_text())
    content["runs"] = str(tmp_path / "runs")
    content["search_space"]["hyperparameters"] |= {"module.dim": [4, 8], "module.kernel": [3, 5]}
    content["module"]["init_args"]["shape"] = [3, 24, 12]
    content["data"]["init_args"] = {"path": str(waves(tmp_path / "s.csv")), "window": [24, 12], "batch_size": 32}
    content["train"]["epochs"], content["latency"]["rounds"] = 2, 3
    content["search"] |= {"trials": 4, "early_stopping": {"rule": "asha"}}
    path = tmp_path / "ett.yaml"
    path.write_text(yaml.safe_dump(content))
    sweep = Sweep.from_yaml(path)
    for network in run_sweep(sweep):
        assert {"val_mse", "latency_ms", "test_mse", "test_mae"} <= network.metrics.keys()
        module = Forecaster.load_from_checkpoint(network.folder / "model.ckpt", weights_only=False)
        assert module.example_input_array is not None and module.example_input_array.shape == (1, 24, 3)
        ran = forecast(network.folder, tmp_path / "s.csv")
        assert ran.returncode == 0 and len((tmp_path / "s_forecast.csv").read_text().splitlines()) == 1 + 12
