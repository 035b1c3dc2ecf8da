"""`ffnet-search init` on photos to enlarge: the folder, the drafts, and the written sweep."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import user_error
from first_sweeps import compared_images, paint, throughput_of
from masks import write_masks
from photos import write_photos
from PIL import Image

from ffnet_search.autoconfig.benchmark import measure_throughput
from ffnet_search.autoconfig.budget import choose_budget
from ffnet_search.autoconfig.inspect_photos import holds_pairs, inspect_photos
from ffnet_search.autoconfig.photo_draft import photo_drafts
from ffnet_search.autoconfig.start import start
from ffnet_search.config.schema import DataSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import build_data, check_data, data_parts, data_remarks
from ffnet_search.errors import SweepError


def test_an_inspection_has_the_sizes_of_photos_and_of_what_is_deployed(tmp_path: Path) -> None:
    seen = inspect_photos(write_photos(tmp_path / "a", 24))
    assert str(seen).startswith("24 photos to enlarge, colour, shorter side ")
    assert (seen.total, seen.tests, seen.warnings, seen.deployed, seen.patch) == (24, None, [], (16, 16), 16)
    few = tmp_path / "b"
    for split, count in (("train", 3), ("test", 1)):
        write_photos(few / split, count)
    Image.new("L", (3000, 1500), 90).save(few / "train" / "large.png")
    (few / "train" / "broken.jpg").write_bytes(b"no photo")
    seen = inspect_photos(few)
    assert seen.tests == 1 and "few photos" in seen.warnings[0] and "broken.jpg" in seen.warnings[1]
    wide = tmp_path / "c"
    wide.mkdir()
    for number in range(3):
        Image.new("L", (3000, 1500), 90).save(wide / f"{number}.png")
    seen = inspect_photos(wide)
    assert (seen.deployed, seen.sample.channels, seen.patch) == ((128, 256), 1, 48)


@pytest.mark.parametrize("layout", ["masks", "train/masks", "masks/train"])
def test_masks_are_no_photos(layout: str, tmp_path: Path) -> None:
    """An inspection and the data of a run take the images of a data set for segmentation alone."""
    place = tmp_path / "set" / (layout.removesuffix("masks") if layout.endswith("masks") else "")
    write_masks(place, 8)
    if layout == "masks/train":
        for kind in ("images", "masks"):
            (place / kind).rename(tmp_path / "moved")
            (place / kind).mkdir()
            (tmp_path / "moved").rename(place / kind / "train")
    seen = inspect_photos(tmp_path / "set")
    assert seen.total == 8 and "no photos" in seen.remarks[0]
    section, input = (
        DataSection(name="photo_folder", path=tmp_path / "set", patch=8),
        photo_drafts(seen)[-1].space.images,
    )
    assert sum(len(files.paths) for files in data_parts(section, input).values()) == 8
    assert data_remarks(section, input) == list(seen.remarks)


def test_photos_beside_their_reduced_form_need_no_task(tmp_path: Path) -> None:
    pairs = write_photos(tmp_path / "pairs" / "HR", 4).parent
    shutil.copytree(pairs / "HR", pairs / "LR")
    assert holds_pairs(pairs)
    assert not holds_pairs(write_photos(tmp_path / "flat", 2)) and not holds_pairs(tmp_path / "nowhere")
    assert not holds_pairs(paint(tmp_path / "classes", {"a": 1, "b": 1}))


def write_pairs(root: Path, scale: int, behind: str = "") -> Path:
    """`root/HR` and `root/LR`, the reduced photos with `behind` after their names."""
    (root / "LR").mkdir(parents=True)
    for file in sorted(write_photos(root / "HR", 4).iterdir()):
        with Image.open(file) as image:
            image.reduce(scale).crop((0, 0, image.width // scale, image.height // scale)).save(
                root / "LR" / f"{file.stem}{behind}.png"
            )
    return root


@pytest.mark.parametrize(("scale", "behind"), [(2, "x2"), (3, ""), (3, "x3"), (4, "")])
def test_the_scale_is_that_of_the_pairs(scale: int, behind: str, tmp_path: Path) -> None:
    seen = inspect_photos(write_pairs(tmp_path / "pairs", scale, behind))
    assert seen.scale == scale and {draft.space.images.outputs for draft in photo_drafts(seen)} == {scale}
    if behind == "x3":
        assert measure_throughput(photo_drafts(seen)[-1], 16).decode_s > 0


def test_pairs_of_which_none_fits_are_one_sentence(tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", 5)
    with pytest.raises(SweepError, match="files cannot be read as images; .* pixels, not "):
        measure_throughput(photo_drafts(inspect_photos(pairs))[-1], 16)


def test_what_is_deployed_is_turned_as_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(3):
        Image.new("RGB", (160, 80)).save(tmp_path / f"{number}.jpg", exif=exif)
    assert inspect_photos(tmp_path).deployed == (80, 40)


def test_more_time_gives_larger_networks(tmp_path: Path) -> None:
    some = photo_drafts(inspect_photos(write_photos(tmp_path / "a", 24)))
    budgets = [choose_budget(some, throughput_of, minutes=at, imports_s=0, latency_ms=None) for at in (0.1, 1e4)]
    assert [budget.throughput.draft.size.name for budget in budgets] == ["tiny", "medium"]
    assert all(budget.trials <= budget.throughput.draft.space.size for budget in budgets)  # tiny: 48 networks
    assert all(budget.items == 16 * budget.images and budget.batch_size == 16 for budget in budgets)


def test_the_written_sweep_is_of_those_photos(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "my photos", 24)
    started = start(folder, tmp_path, minutes=1, task="super_resolution")
    sweep = Sweep.from_yaml(started.sweep)
    assert (sweep.task, sweep.data.name, sweep.data.patch, sweep.data.patches) == (
        "super_resolution", "photo_folder", 16, 16
    )  # fmt: skip
    assert sweep.search_space.images.resolution == 16 and sweep.data.augment.turn
    assert sweep.search.objectives == ("psnr_y", "latency_ms") and set(started.minutes) >= {"profile", "search"}
    check_data(sweep.data, sweep.search_space.images)
    assert build_data(sweep.data, 0, sweep.search_space.images).train_images > 0
    assert f"images: {compared_images(sweep)} to compare networks on" in started.sweep.read_text()
    assert any("16 x 16 pixels, a " in line for line in started.lines)


def test_measurements_are_positive(tmp_path: Path) -> None:
    [*_, cheapest] = photo_drafts(inspect_photos(write_photos(tmp_path / "a", 6)))
    cost = measure_throughput(cheapest, 16)
    assert min(cost.decode_s, cost.step_s, cost.alone_s, cost.deploy_s, cost.image_s, cost.pass_s, cost.table_s) > 0
    assert 0 < cost.smallest_ms < cost.largest_ms


def test_mistakes_are_one_sentence(tmp_path: Path) -> None:
    folder = write_photos(tmp_path / "photos", 4)
    with pytest.raises(SweepError, match="--task must be super_resolution, or left out, .* but got 'segmentation'"):
        start(folder, tmp_path, task="segmentation")
    with pytest.raises(SweepError, match="--pretrained must be left out for photos to enlarge"):
        start(folder, tmp_path, task="super_resolution", pretrained="ffnet_1")
    with pytest.raises(SweepError, match="^--data: .* folder per class.*; or add --task super_resolution for photos"):
        start(folder, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SweepError, match="^--data: .*empty must hold photos that Pillow opens, but holds none"):
        start(tmp_path / "empty", tmp_path, task="super_resolution")
    assert "--task needs --data" in user_error("init", "--task", "super_resolution", cwd=tmp_path)
