"""Checkpoints are read without pickle, unless the user allows what can run code."""

from __future__ import annotations

import os
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_sweep import sweep

from ffnet_search.errors import SweepError
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.training.checkpoints import is_plain, load_checkpoint, read_last
from ffnet_search.training.fit import train_supernet

RESUMED: dict[str, Any] = {"state_dict": {}, "loops": {}, "optimizer_states": []}


class Runs:
    """Makes the file `mark` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def test_what_callbacks_keep_most_is_read_without_pickle(tmp_path: Path) -> None:
    state = {
        "spent": timedelta(seconds=3), "at": datetime(2026, 1, 1), "path": Path("x"), "seen": {1, 2},
        "n": Counter("aab"), "best": torch.ones(2),
    }  # fmt: skip
    torch.save({**RESUMED, "callbacks": state}, tmp_path / "last.ckpt")
    read = read_last(tmp_path / "last.ckpt", plain=True)["callbacks"]
    assert {name: value for name, value in read.items() if name != "best"} == {
        name: value for name, value in state.items() if name != "best"
    }


def test_what_needs_pickle_needs_consent_and_stays(tmp_path: Path) -> None:
    path, mark = tmp_path / "last.ckpt", tmp_path / "MARK"
    torch.save({**RESUMED, "callbacks": Runs(mark)}, path)
    for policy in (ForeignImports.BY_CONSENT, ForeignImports.REFUSED):
        with foreign_imports(policy), pytest.raises(SweepError, match=r"pickle can run code; .*allow_imports: true"):
            read_last(path, plain=is_plain(False))
    assert not mark.exists()
    assert path.exists()
    load_checkpoint(path, plain=is_plain(False))  # nobody has to be asked in a library
    assert mark.exists()


def test_a_checkpoint_of_ours_is_plain_whatever_was_allowed(tmp_path: Path) -> None:
    mine = sweep(tmp_path, epochs=1)
    mine.files.training.mkdir(parents=True)
    torch.save({**RESUMED, "callbacks": Runs(tmp_path / "MARK")}, mine.files.training / "last.ckpt")
    with pytest.raises(SweepError, match="pickle can run code"):
        train_supernet(mine)
    assert not (tmp_path / "MARK").exists()
