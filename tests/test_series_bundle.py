"""An exported forecaster: its folder reads a CSV and writes the steps that follow, without this program."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from time_series import forecast, waves

from ffnet_search.errors import SweepError
from ffnet_search.export.card import write_card
from ffnet_search.export.module_files import hand_over, write_module_onnx
from ffnet_search.forecasting.forecaster import Forecaster
from ffnet_search.forecasting.series import Series, read_series


def exported(folder: Path, data: Series) -> Forecaster:
    """The folder of an untrained forecaster, as an export writes it."""
    torch.manual_seed(0)
    module = Forecaster((3, 24, 12), dim=8, kernel=5).eval()
    folder.mkdir()
    has_onnx = write_module_onnx(module, folder / "model.onnx", 17)
    write_card(folder, hand_over(data, folder, has_onnx))
    return module


@torch.no_grad()
def test_an_exported_forecaster_reads_a_csv_and_writes_the_steps_that_follow(tmp_path: Path) -> None:
    """In the units of the columns, whatever their order and the delimiter."""
    data = Series(str(waves(tmp_path / "s.csv")), (24, 12))
    module = exported(tmp_path / "net", data)
    card = json.loads((tmp_path / "net/card.json").read_text())["input"]
    assert card["variables"] == ["a", "b", "c"] and card["window"] == [24, 12]
    values_TM = read_series(tmp_path / "s.csv")[1]
    assert np.allclose(card["mean"], values_TM[:280].mean(0)) and np.allclose(card["spread"], values_TM[:280].std(0))
    rows = [f"{c};note, {at};{a};{b}" for at, (a, b, c) in enumerate(values_TM.tolist())]
    (tmp_path / "new.csv").write_text("\ufeff" + "\n".join(["c;words;a;b", "not;a;number;yet", *rows]) + "\n\n")
    ran = forecast(tmp_path / "net", tmp_path / "new.csv", "--time")
    assert ran.returncode == 0 and ran.stderr == "" and ran.stdout.startswith(f"{tmp_path}/new.csv: 12 steps after")
    mean_M, spread_M = np.array(card["mean"]), np.array(card["spread"])
    x_BLM = torch.from_numpy((values_TM[-24:] - mean_M) / spread_M).float()[None]
    expected_SM = module(x_BLM)[0].numpy() * spread_M + mean_M
    with (tmp_path / "new_forecast.csv").open() as file:
        header, *steps = csv.reader(file)
    assert header == ["step", "a", "b", "c"] and [row[0] for row in steps] == [str(step) for step in range(1, 13)]
    found_SM = np.array([row[1:] for row in steps], float)
    assert np.abs((found_SM - expected_SM) / spread_M).max() < 1e-4 and np.ptp(found_SM, 0)[1] > 1


def test_a_series_that_cannot_be_forecast_is_one_sentence(tmp_path: Path) -> None:
    exported(tmp_path / "net", Series(str(waves(tmp_path / "s.csv")), (24, 12)))
    whole = (tmp_path / "s.csv").read_text().splitlines()
    files = {
        "lost": None,
        "void": "",
        "short": "\n".join(whole[:20]),
        "other": "\n".join(["date,a,b", *["x,1,2"] * 30]),
        "gap": "\n".join([*whole, "2016-07-9,1,,3"]),
        "ragged": "\n".join([*whole, "2016-07-9,1"]),
    }
    for name, text in files.items():
        if text is not None:
            (tmp_path / f"{name}.csv").write_text(text)
    ran = forecast(tmp_path / "net", *(tmp_path / f"{name}.csv" for name in files), tmp_path / "s.csv")
    assert ran.returncode == 1 and ran.stdout.startswith(f"{tmp_path}/s.csv: 12 steps after its last row")
    assert ran.stderr.replace(f"{tmp_path}/", "").splitlines() == [
        "lost.csv: cannot be read or written: No such file or directory",
        "void.csv: must have a column a, b, c, but has no columns",
        "short.csv: must have 24 rows or more, but has 19",
        "other.csv: must have a column c, but has date, a, b",
        "gap.csv: line 402: b must be a number, but is ''",
        "ragged.csv: line 402 must have 4 cells, but has 2",
    ]


def test_a_data_module_need_not_add_to_an_export(tmp_path: Path) -> None:
    assert hand_over(object(), tmp_path, has_onnx=True) == {} and not list(tmp_path.iterdir())
    lost = SimpleNamespace(predict_script=tmp_path / "lost.py")
    assert hand_over(lost, tmp_path, has_onnx=False) == {}
    with pytest.raises(SweepError, match="predict_script of SimpleNamespace must be a file, but is .*lost.py"):
        hand_over(lost, tmp_path, has_onnx=True)
