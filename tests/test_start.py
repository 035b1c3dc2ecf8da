"""`train.start_from`: official checkpoints by path and by download, other runs, exported networks; refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from loopback import served
from networks import supernet
from small_sweeps import sweep_of
from tiny_sweep import TINY, sweep

from ffnet_search.config import start as named
from ffnet_search.config.start import ARCHITECTURE, cached
from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.evaluation.ffnet_target import FFNetTarget
from ffnet_search.evaluation.trained import TrialEvaluator
from ffnet_search.files.download import download
from ffnet_search.models.metamixer import MetaMixer
from ffnet_search.models.saved import read_start, write_supernet, write_trainable
from ffnet_search.run.check import check_sweep
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.space import architecture
from ffnet_search.space.architecture import Architecture, Form
from ffnet_search.space.hyperparameters import Configuration
from ffnet_search.space.input import Input
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.training import start
from ffnet_search.training.fit import train_supernet
from ffnet_search.training.start import load_start

TINY_SPACE = SearchSpace.model_validate(TINY)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """The state dict of `ffnet_0`, an official network that is tiny, and a cache of this test's own."""
    monkeypatch.setitem(architecture.PRESETS, "ffnet_0", ((1, 1, 1, 1), (8, 16, 32, 64), 3))
    monkeypatch.setattr(named, "OFFICIAL", {"ffnet_0": "ffnet_0"})
    monkeypatch.setattr(start, "OFFICIAL", {"ffnet_0": "ffnet_0"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    net = MetaMixer(Architecture.preset("ffnet_0", Input(resolution=64)), Form("reference", None))
    return {"state_dict": net.state_dict(), "epoch": 299}


def save_supernet(folder: Path) -> Path:
    path = folder / "other" / "supernet.ckpt"
    write_supernet(path, supernet(TINY_SPACE), TINY_SPACE)
    return path


def save_exported(folder: Path) -> Path:
    path = folder / "01-key"
    path.mkdir()
    net = supernet(TINY_SPACE).slice_to(TINY_SPACE.smallest)
    (path / ARCHITECTURE).write_text(yaml.safe_dump(net.largest.to_dict()))
    write_trainable(path, net)
    return path


def stem_of(net: MetaMixer) -> torch.Tensor:
    return net.patch_embed["2"].get_submodule("c").weight.detach()


@pytest.mark.parametrize("kind", ["supernet", "run", "exported", "official"])
def test_a_training_starts_from_every_kind_of_weights(kind: str, tmp_path: Path, official: dict[str, Any]) -> None:
    place = {"supernet": save_supernet, "run": lambda folder: save_supernet(folder).parent, "exported": save_exported}
    if kind == "official":
        path = tmp_path / "ffnet_0.pth.tar"
        torch.save(official, path)
    else:
        path = place[kind](tmp_path)
    run = sweep(tmp_path / "runs", start_from=str(path), epochs=1, learning_rate=1e-9)
    check_sweep(run)
    loaded = load_start(run)
    assert loaded is not None and loaded.record["from"] == str(path)
    train_supernet(run)
    content = torch.load(run.files.supernet, weights_only=True)
    ours = content["state_dict"]["patch_embed.2.c.weight"]
    width = min(len(ours), len(stem_of(loaded.net)))
    theirs = stem_of(loaded.net)[:width, :8]
    assert (ours[:width] - theirs).abs().max() < 1e-5 < theirs.abs().max()
    record = read_start(run.files.supernet)
    file = {"run": path / "supernet.ckpt", "exported": path / "trainable.safetensors"}.get(kind, path)
    assert record == {"from": str(path), "sha256": hashlib.sha256(file.read_bytes()).hexdigest()}


def test_a_trial_starts_from_the_weights_and_says_so(tmp_path: Path) -> None:
    path = save_supernet(tmp_path)
    content = sweep(tmp_path / "runs", start_from=str(path), epochs=1).model_dump()
    run = Sweep.model_validate(content | {"search": {"evaluator": "train"}})
    arch = run.search_space.smallest
    target = FFNetTarget(run)
    net = target.module(run, Configuration(arch)).net
    assert torch.equal(stem_of(net), stem_of(supernet(TINY_SPACE))[:8])
    candidate = TrialEvaluator(run)(Configuration(arch), lambda epoch, metrics: True)
    assert candidate.record["start"] == target.start.record  # type: ignore[union-attr]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


class CutOff(Quiet):
    def copyfile(self, source: Any, outputfile: Any) -> None:
        outputfile.write(source.read(1000))


@pytest.fixture
def release(tmp_path: Path, official: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a release on this machine that has `ffnet_0.pth.tar`."""
    (tmp_path / "server").mkdir()
    torch.save(official, tmp_path / "server/ffnet_0.pth.tar")
    with served(partial(Quiet, directory=str(tmp_path / "server"))) as address:
        monkeypatch.setattr(start, "RELEASE", f"http://{address}")
        yield f"http://{address}"


def test_an_official_checkpoint_is_downloaded_once_and_stays_what_it_was(
    release: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = sweep(tmp_path / "runs", start_from="ffnet_0")
    check_sweep(run)  # asks no network
    place = cached("ffnet_0")
    assert not place.exists() and place.is_relative_to(tmp_path)
    assert run.with_absolute_paths().train.start_from == Path("ffnet_0")
    first = load_start(run)
    monkeypatch.setattr(start, "RELEASE", "http://127.0.0.1:1")
    second = load_start(run)
    assert first is not None and second is not None and first.record == second.record
    assert sorted(path.name for path in place.parent.iterdir()) == ["ffnet_0.pth.tar", "ffnet_0.pth.tar.sha256"]
    with place.open("ab") as file:
        file.write(b"more")
    with pytest.raises(SweepError, match=r"ffnet_0.pth.tar: differs from what was downloaded .*delete both"):
        load_start(run)
    place.with_name("ffnet_0.pth.tar.sha256").unlink()
    torch.save(MetaMixer(TINY_SPACE.smallest, Form("reference", None)).state_dict(), place)
    with pytest.raises(SweepError, match=r"must hold ffnet_0 \(stem 64/4.*\), but holds stem 8/4"):
        load_start(run)


def test_a_download_that_fails_leaves_nothing(release: str, tmp_path: Path) -> None:
    target, url = tmp_path / "new/file", f"{release}/ffnet_0.pth.tar"
    fetch: Callable[..., None] = partial(download, field="train.start_from", max_bytes=10**9)
    digest = hashlib.md5((tmp_path / "server/ffnet_0.pth.tar").read_bytes(), usedforsecurity=False).hexdigest()
    with pytest.raises(SweepError, match=rf"must have the md5 checksum {'0' * 32}, but the download has {digest} and"):
        fetch(url, target, checksum=f"md5:{'0' * 32}")
    with pytest.raises(SweepError, match=r"train.start_from: .*cannot be fetched to .*404.*; try again, or put"):
        fetch(url + ".no", target)
    with pytest.raises(SweepError, match="it is larger than 1,000 bytes"):
        fetch(url, target, max_bytes=1000)
    with (
        served(partial(CutOff, directory=str(tmp_path / "server"))) as address,
        pytest.raises(SweepError, match="cannot be fetched to .*1,000 of|cannot be fetched to .*IncompleteRead"),
    ):
        fetch(f"http://{address}/ffnet_0.pth.tar", target)
    assert not target.parent.exists()
    fetch(url, target, checksum=f"md5:{digest}")
    assert target.stat().st_size == (tmp_path / "server/ffnet_0.pth.tar").stat().st_size


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file or folder; it must be an official checkpoint .*did you mean"),
        (b"", "must be a checkpoint that torch wrote, but is another file, or is cut off"),
        (b"PK\x03\x04 cut off", "must be a checkpoint that torch wrote, but is another file, or is cut off"),
        ("folder", "must be the folder of a run or of an exported network, but holds neither"),
    ],
)
def test_a_check_refuses_a_start_that_is_not_there_or_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Any, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "ffnet_9"
    if isinstance(content, bytes):
        place.write_bytes(content)
    elif content:
        place.mkdir()
    run = sweep_of(tmp_path, {"train": {"start_from": "ffnet_9"}})
    with pytest.raises(SweepError, match=rf"tiny.yaml: train.start_from .*ffnet_9: .*{message}"):
        check_sweep(run)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"state_dict": {"a": torch.zeros(2)}}, "must hold the weights of an FFNet, but its tensors do not fit one"),
        ({"search_space": "{}", "state_dict": {}}, "is not a supernet of this program|must have stages"),
        (torch.zeros(2), "is not a supernet of this program, or is cut off"),
    ],
)
def test_a_run_refuses_other_weights_before_its_first_stage(tmp_path: Path, content: Any, message: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    run = sweep_of(tmp_path, {"train": {"start_from": str(path)}, "latency": {"noisy": True}})
    check_sweep(run)  # which loads no weights
    with pytest.raises(SweepError, match=f"tiny.yaml: train.start_from.*({message})"):
        run_sweep(run)
    assert not run.files.latency.exists()


def test_weights_of_another_form_are_refused(tmp_path: Path) -> None:
    path = save_supernet(tmp_path)
    with pytest.raises(SweepError, match=r"train.start_from .*supernet.ckpt: .*train.layer_scale must be set"):
        load_start(sweep(tmp_path / "runs", start_from=str(path), layer_scale=None))


def test_a_module_of_the_user_starts_from_nothing(tmp_path: Path) -> None:
    content = {
        "search_space": {"hyperparameters": {"epochs": [1, 2]}},
        "module": {"class_path": "my_package:Module"},
        "search": {"evaluator": "train", "metrics": {"val_loss": "minimize"}, "objectives": ["val_loss"]},
        "train": {"start_from": "ffnet_1"},
    }
    with pytest.raises(SweepError, match="train.start_from must be left out where module is given"):
        sweep_of(tmp_path, content)
