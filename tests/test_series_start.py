"""`ffnet-search init` of a CSV of time series: what is a series, and the first sweep for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from time_series import waves

from ffnet_search.autoconfig.series_start import holds_series
from ffnet_search.autoconfig.start import start
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.user_module import UserModuleTarget
from ffnet_search.forecasting.series import Series, read_series


def test_init_writes_a_first_sweep_for_a_series(tmp_path: Path) -> None:
    path = waves(tmp_path / "my series.csv")
    started = start(path, tmp_path, minutes=5, name="mine")
    assert [file.name for file in started.files] == ["mine.yaml"]
    sweep = Sweep.from_yaml(started.sweep)
    assert sweep.data.init_args["path"] == str(path) and sweep.search.objectives == ("val_mse", "latency_ms")
    assert started.lines[0] == "400 steps of 3 series (a, b, c)" and "12 steps ahead" in started.lines[1]
    assert 0 < sum(started.minutes.values()) <= 5 and set(started.minutes) == set(sweep.estimate)
    UserModuleTarget(sweep)  # makes the module at both ends of each range
    with pytest.raises(SweepError, match="--latency-ms must be left out for my series.csv, a CSV of series, but is 5"):
        start(path, tmp_path, latency_ms=5, name="other")
    with pytest.raises(SweepError, match=r"--data: .*series.csv must have 120 rows or more .* but has 100"):
        start(waves(path, 100), tmp_path, name="other")
    path.write_text("date,a\n1,2\n2,\n")
    with pytest.raises(SweepError, match="--data: .*line 3: a must be a number, but is ''"):
        start(path, tmp_path, name="other")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_row_numbers_and_times_are_no_series(delimiter: str, tmp_path: Path) -> None:
    path = tmp_path / "only" / "s.csv"
    path.parent.mkdir()
    rows = ["|Timestamp|a"] + [f"{n}|{1_600_000_000 + 60 * n}|{np.sin(n):.3f}" for n in range(130)]
    path.write_text("\n".join(rows).replace("|", delimiter))
    assert read_series(path)[0] == ("a",)
    assert holds_series(path) and holds_series(path.parent) and not holds_series(tmp_path)
    started = start(path.parent, tmp_path, minutes=1)
    assert Sweep.from_yaml(started.sweep).data.init_args["path"] == str(path)
    assert any("not learnt" in line and "without a name, Timestamp" in line for line in started.lines)


def test_a_series_that_starts_constant_does_not_explode(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("\n".join(["a,late", *(f"{np.sin(n):.3f},{0.1 if n < 300 else 5.1}" for n in range(400))]))
    data = Series(str(path), (24, 12), batch_size=16)
    with pytest.warns(UserWarning, match="late must vary in the steps for training"):
        data.setup("fit")
    assert data.windows["test"].steps_TM[:, 1].max() == pytest.approx(5)


def test_a_table_of_images_is_no_series(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text, series in (("file,n\na,1\n", False), ("what,n\na.png,1\n", False), ("date,n\nmonday,x\n", False),
                         ("", False), ("n\n3\n", True)):  # fmt: skip
        path.write_text(text)
        assert holds_series(path) == series
    assert holds_series(tmp_path), "the folder of one CSV"
    (tmp_path / "a.png").touch()
    assert not holds_series(tmp_path)
