"""Training on several ranks: the same as on one, also where a rank is killed; no rank outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from my_blocks import Blur
from networks import REPO
from tables import table_sweep, write_table
from tiny_sweep import kill_rank, sweep, trained

from ffnet_search.config.inputs import train_inputs
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.models.saved import read_epochs, read_supernet
from ffnet_search.training.fit import sweep_data, train_supernet
from ffnet_search.training.ranks import STARTS, rank_count, train_on_ranks


@pytest.mark.slow
def test_two_ranks_of_which_one_is_killed_train_what_one_does(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    alone, marks = trained(tmp_path / "alone"), tmp_path / "marks"
    shared = trained(tmp_path / "shared", devices=2, checkpoint_minutes=1e-4, callbacks=kill_rank(marks, batch=7))
    train_on_ranks(shared)
    output, errors = capfd.readouterr()
    assert errors.count("rank 1 was killed by signal 9; all ranks start again from the last checkpoint") == 1
    assert not output and len(list(marks.iterdir())) == 1
    train_supernet(alone)
    one, two = (read_supernet(run.files.supernet).state_dict() for run in (alone, shared))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_ranks_standardise_by_all_training_targets(tmp_path: Path) -> None:
    run = table_sweep(tmp_path / "runs", write_table(tmp_path / "data", "regression", 60), "regression")
    content = run.model_dump()
    shared = Sweep.model_validate(content | {"train": content["train"] | {"devices": 2, "epochs": 1}})
    head = read_supernet(train_on_ranks(shared)).head
    expected = sweep_data(run).target_statistics
    for found_K, expected_K in zip((head.mean_K, head.spread_K), expected, strict=True):
        assert torch.equal(found_K, expected_K)


@pytest.mark.slow
def test_ranks_end_together_when_time_is_over(tmp_path: Path) -> None:
    """Each batch is a reduction of all ranks: one that goes on alone would wait for ever."""
    run = trained(tmp_path, devices=2)
    content = run.model_dump()
    limited = Sweep.model_validate(content | {"train": content["train"] | {"minutes": 0.05, "epochs": 100_000}})
    epochs = read_epochs(train_on_ranks(limited))
    assert epochs is not None and 0 < epochs < 1000


@pytest.mark.slow
def test_ranks_that_die_again_and_again_are_one_sentence(tmp_path: Path) -> None:
    run = trained(tmp_path, devices=2, callbacks=kill_rank(tmp_path / "marks", batch=0, times=STARTS))
    with pytest.raises(SweepError, match=r"rank 1 was killed by signal 9, for the 3rd time; .*lower data.batch"):
        train_on_ranks(run)


def test_a_user_supplied_mixer_trains_on_two_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a module in a folder that only this process has on its path."""
    (tmp_path / "rank_blocks.py").write_text("from my_blocks import Blur as RankBlur\n")
    monkeypatch.syspath_prepend(tmp_path)
    content = trained(tmp_path, devices=2).model_dump()
    for stage in content["search_space"]["stages"]:
        stage["mixer"] = ["ffn_attention", "rank_blocks:RankBlur"]
    run = Sweep.model_validate(content | {"train": content["train"] | {"epochs": 1}})
    net = read_supernet(train_on_ranks(run))
    assert any(isinstance(module, Blur) for module in net.modules())


def test_a_user_error_in_a_rank_is_one_sentence(tmp_path: Path) -> None:
    content = trained(tmp_path, devices=2).model_dump()
    run = Sweep.model_validate(content | {"train": content["train"] | {"callbacks": ["lightning:NoSuchCallback"]}})
    with pytest.raises(SweepError, match="NoSuchCallback does not exist"):
        train_on_ranks(run)


BLOCKS = """
from lightning import Callback


class Fails(Callback):
    def on_train_start(self, trainer, module):
        raise ZeroDivisionError("of the callback")
"""


def test_a_bug_in_a_rank_shows_its_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fails.py").write_text(BLOCKS)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(RuntimeError, match=r"(?s)rank . failed:\nTraceback .*ZeroDivisionError: of the callback"):
        train_on_ranks(trained(tmp_path, devices=2, callbacks=["fails:Fails"]))


SCRIPT = """
import sys
from pathlib import Path

sys.path[:0] = {paths!r}
from tiny_sweep import trained

from ffnet_search.training.ranks import train_on_ranks

train_on_ranks(trained(Path(sys.argv[1]), devices=2, callbacks=["hangs:Hangs"]))  # without a guard of __main__
"""
HANGS = """
import time

from lightning import Callback


class Hangs(Callback):
    '''Say so, then never end.'''

    def on_train_start(self, trainer, module):
        if trainer.global_rank == 0:
            print("training", flush=True)
        time.sleep(1000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_ranks_end_with_their_parent(number: int, tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    paths = [str(tmp_path), str(REPO / "tests"), str(REPO / "tests/support")]
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(paths=paths))
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "runs")], env=environment, stderr=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stderr is not None
        lines = iter(parent.stderr.readline, "")
        assert "training\n" in lines
        parent.send_signal(number)
        parent.stderr.read()  # ends when neither the parent nor the first rank has it open
    assert parent.returncode == -number


def test_devices_change_neither_the_shares_nor_the_digest(tmp_path: Path) -> None:
    four = sweep(tmp_path, devices=4)
    assert train_inputs(four) == train_inputs(sweep(tmp_path))
    assert [rank_count(four, available) for available in (1, 2, 3, 4, 8)] == [1, 2, 2, 4, 4]
    with pytest.raises(ValueError, match=r"batch_size must be a multiple of train.devices.*got 128 for 3"):
        sweep(tmp_path, devices=3)
