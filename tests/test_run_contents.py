"""Images are inputs of the stages: what was trained is what is compared and deployed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from image_data import write_tree

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.run.folder.run_folder import StageRecord, open_run
from ffnet_search.run.pipeline import run_sweep
from ffnet_search.run.stages import STAGES, StageState, plan, status

SPACE = {
    "input": {"channels": 3, "resolution": 8, "classes": 4},
    "stem": {"width": [8], "stride": [2]},
    "stages": [{"depth": [1, 2], "width": [8], "token_kernel": [3], "expansion": [1]}],
}


@pytest.fixture
def sweep(tmp_path: Path, patches) -> Sweep:
    write_tree(tmp_path / "images", patches[:80])
    content = {
        "name": "mine",
        "runs": str(tmp_path / "runs"),
        "search_space": SPACE,
        "data": {"name": "image_folder", "path": str(tmp_path / "images"), "batch_size": 16, "calibration": 16},
        "train": {"epochs": 1, "sampled": 0},
    }
    return Sweep.from_content(content, tmp_path / "mine.yaml")


def record_all(sweep: Sweep) -> None:
    """As if every stage had been made."""
    with open_run(sweep) as folder:
        for name, stage in STAGES.items():
            for path in stage.outputs(sweep):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text("x")
            folder.begin(name, StageRecord(stage.digest(sweep), stage.inputs(sweep), stage.amounts(sweep)))
            folder.finish(name)


def states(sweep: Sweep) -> set[StageState]:
    found = plan(sweep)
    assert found["profile"].state is StageState.DONE, "latency depends on no image"
    return {found[name].state for name in ("train", "search", "export")}


def test_changed_images_invalidate_and_are_named(sweep: Sweep, tmp_path: Path, patches) -> None:
    record_all(sweep)
    assert states(sweep) == {StageState.DONE}
    write_tree(tmp_path / "images", patches[:100])
    assert states(sweep) == {StageState.CHANGED}
    message = (
        r"the content of data.path \(train.class_0: 20 files, \w+ -> 25 files, \w+; .* and 1 more\) has changed since"
    )
    with pytest.raises(SweepError, match=message):
        run_sweep(sweep)
    with pytest.raises(SweepError, match="which invalidates train, search and export; add --fresh"):
        run_sweep(sweep, stages=("export",))


def test_a_mended_label_invalidates(sweep: Sweep, tmp_path: Path) -> None:
    record_all(sweep)
    os.rename(tmp_path / "images/class_0/0000.png", tmp_path / "images/class_3/0000.png")
    assert {change.field for change in plan(sweep)["train"].changes} == {"images.train.class_0", "images.train.class_3"}


def test_moved_or_missing_data_are_the_same_data(sweep: Sweep, tmp_path: Path) -> None:
    """A finished run is looked at on machines that have no images; a folder may be called as one likes."""
    record_all(sweep)
    shutil.move(tmp_path / "images", tmp_path / "photos")
    assert states(sweep) == {StageState.DONE}
    moved = sweep.model_copy(update={"data": sweep.data.model_copy(update={"path": tmp_path / "photos"})})
    assert states(moved) == {StageState.DONE}


def test_a_record_of_an_earlier_version_has_no_images_and_counts_as_unchanged(sweep: Sweep) -> None:
    stage = STAGES["train"]
    inputs = {key: value for key, value in stage.inputs(sweep).items() if key != "images"}
    from ffnet_search.config.inputs import digest

    record = StageRecord(digest(inputs), inputs, {}, "2026-01-01", 1)
    assert status(stage, sweep, {"train": record}).state is not StageState.CHANGED
    other = {**inputs, "seed": 7}
    assert status(stage, sweep, {"train": StageRecord(digest(other), other)}).state is StageState.CHANGED


def test_paths_of_a_sweep_are_relative_to_its_file(
    tmp_path: Path, patches, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    project = tmp_path / "project"
    write_tree(project / "images", patches[:40])
    text = "search_space: {input: {channels: 3, resolution: 8, classes: 4}, stages: [{depth: [1], width: [8, 16], "
    text += "token_kernel: [3], expansion: [1]}]}\ndata: {name: image_folder, path: images}\n"
    (project / "mine.yaml").write_text(text)
    assert Sweep.from_yaml("project/mine.yaml").data.path == Path("project/images")
    assert capsys.readouterr().err == ""
    shutil.move(project / "images", tmp_path / "images")  # as it was read before
    assert Sweep.from_yaml("project/mine.yaml").data.path == Path("images")
    assert "images is read from the working folder, since project/images does not exist" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "images")
    assert Sweep.from_yaml("project/mine.yaml").data.path == Path("project/images"), "what an error names"


def test_the_copy_of_a_sweep_finds_its_images_from_anywhere(sweep: Sweep, tmp_path: Path) -> None:
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
    copy = Sweep.of_run(sweep.files.folder)
    assert copy.data.path == tmp_path / "images" and copy.runs == sweep.runs
