"""One more network of a finished run as files: the formats that it gets, and where it cannot be written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from small_sweeps import write_sweep

from ffnet_search.errors import SweepError
from ffnet_search.run import export_key as export_key_module
from ffnet_search.run.export_key import export_key


def test_it_alone_gets_the_formats_of_the_front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That of a searched precision among them."""
    sweep = write_sweep(tmp_path, latency={"precision": "int8"}, export={"formats": ["pt2"]})
    written: list[tuple[str, Any]] = []
    monkeypatch.setattr(export_key_module, "check_classes", lambda *checked: None)
    for name in (
        "export.front.export_network",
        "export.yardstick.measure.write_gains",
        "report.page.write_report",
    ):
        monkeypatch.setattr(f"ffnet_search.{name}", lambda *ignored: None)
    monkeypatch.setattr(
        "ffnet_search.export.formats.write.export_format", lambda sweep, name, key=None: written.append((name, key))
    )
    export_key(sweep, "abc")
    assert written == [("pt2", "abc"), ("int8", "abc")]


@pytest.mark.parametrize("spelled", [".", "../here"])
def test_it_does_not_replace_the_working_folder(spelled: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SweepError, match="must not be the working folder"):
        export_key(write_sweep(tmp_path), "abc", Path(spelled))
