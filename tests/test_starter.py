"""`ffnet-search init`: what is seen in a folder, what is chosen for it, and the files that are written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_cli import call, user_error

from ffnet_search.autoconfig.benchmark import Throughput, measure_pace
from ffnet_search.autoconfig.budget import EPOCHS, TRIALS, choose_amounts
from ffnet_search.autoconfig.draft import Draft, drafts
from ffnet_search.autoconfig.inspect import Found, look
from ffnet_search.autoconfig.start import start, start_digits
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import SweepError
from ffnet_search.space.search_space import SearchSpace

ROOT = Path(__file__).parents[1]


def paint(folder: Path, counts: dict[str, int], size: tuple[int, int] = (20, 17), grey: bool = False) -> Path:
    """Pictures of noise, one folder per class."""
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            levels = rng.integers(0, 256, (size[1], size[0], 1 if grey else 3), dtype=np.uint8)
            pixels = np.repeat(levels, 3, axis=2) if grey else levels
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def found(pictures: int = 1000, side: int = 64, channels: int = 3, classes: int = 4) -> Found:
    names = tuple(f"class{i}" for i in range(classes))
    counts = tuple(pictures // classes for _ in names)
    labels_N = np.repeat(np.arange(classes), pictures // classes)
    return Found(Path("x"), names, counts, None, side, (side, side), channels, (), ("x",) * len(labels_N), labels_N)


def pace_of(draft: Draft, batch_size: int = 64, step: float | None = None) -> Throughput:
    """A machine that computes 20 G MACs a second, and whose latencies follow MACs."""
    macs = draft.step_macs / 20e9
    ms = [arch.macs_m / 20 for arch in (draft.space.smallest, draft.space.largest)]
    return Throughput(draft, 1e-3, 3 * macs, 0.02, macs / 4, 0.2, 200, *ms)


def test_it_sees_classes_counts_sizes_and_colour(tmp_path: Path) -> None:
    seen = look(paint(tmp_path / "flat", {"b": 3, "a": 5}))
    assert (seen.classes, seen.counts, seen.tests) == (("a", "b"), (5, 3), None)
    assert (seen.side, seen.sides, seen.channels) == (17, (17, 17), 3)
    paint(tmp_path / "split" / "train", {"a": 4, "b": 4}, grey=True)
    paint(tmp_path / "split" / "valid", {"a": 2, "b": 1}, grey=True)
    seen = look(tmp_path / "split")
    assert (seen.pictures, seen.tests, seen.channels) == (8, 3, 1)
    assert "8 pictures of 2 classes and 3 for testing, grey" in str(seen)


def test_it_warns_of_what_spoils_a_run(tmp_path: Path) -> None:
    folder = paint(tmp_path, {"many": 44, "few": 4})
    (folder / "many" / "broken.png").write_text("not a picture")
    few, uneven, broken = look(folder).warnings
    assert "few (4)" in few and "uneven" in uneven and "broken.png" in broken
    assert found().warnings == []


def test_a_folder_without_pictures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="must hold a folder per class, two at least, but holds none"):
        look(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with pytest.raises(SweepError, match="must hold pictures in its folders a, b, but holds none"):
        look(tmp_path)
    (tmp_path / "a" / "x.jpg").write_text("no")
    with pytest.raises(SweepError, match="none of the pictures .* can be read: .*x.jpg"):
        look(tmp_path)
    with pytest.raises(SweepError, match="there is no such folder"):
        look(tmp_path / "nowhere")


@pytest.mark.parametrize("side", [4, 8, 17, 28, 32, 50, 96, 150, 224, 3000])
@pytest.mark.parametrize("pictures", [100, 20_000])
def test_every_draft_is_a_space_that_fits_the_pictures(side: int, pictures: int) -> None:
    made = drafts(found(pictures, side, channels=1, classes=7))
    for draft in made:
        space = draft.space
        assert (space.input.channels, space.input.outputs) == (1, 7)
        assert space.input.resolution <= max(8, side)
        assert space.smallest.macs_m < space.largest.macs_m and space.size > 1000
    assert made[-1].step_macs == min(draft.step_macs for draft in made)
    sizes = {draft.size.name for draft in made}
    assert sizes == ({"tiny", "small"} if pictures < 4000 else {"tiny", "small", "medium"})


def test_amounts_fill_the_time_that_there_is() -> None:
    some = drafts(found(2000, 96))
    chosen = [
        choose_amounts(some, pace_of, minutes=minutes, imports=5, latency_ms=None) for minutes in (1, 5, 30, 300, 3000)
    ]
    macs = [amounts.draft.step_macs for amounts in chosen]
    assert macs == sorted(macs) and macs[0] < macs[-1]
    for amounts, minutes in zip(chosen, (1, 5, 30, 300, 3000), strict=True):
        assert TRIALS[0] <= amounts.trials <= TRIALS[1]
        assert amounts.epochs <= EPOCHS[1]
        if minutes > 5:
            assert amounts.minutes <= minutes
    assert chosen[0].minutes > 1  # told as a remark


def test_few_drafts_are_measured() -> None:
    asked: list[Draft] = []

    def measure(draft: Draft, batch_size: int, step: float | None) -> Throughput:
        asked.append(draft)
        slow = pace_of(draft)
        return replace(slow, step=100 * slow.step) if len(asked) > 1 else slow  # never what was expected

    some = drafts(found(20_000, 224))
    chosen = choose_amounts(some, measure, minutes=600, imports=0, latency_ms=None)
    assert len(asked) == len(set(asked)) <= 3
    assert chosen.draft == some[-1]


def test_a_latency_that_no_network_keeps_is_refused() -> None:
    some = drafts(found())
    least = pace_of(some[-1]).smallest_ms
    with pytest.raises(SweepError, match=f"--latency-ms must be >= {least:.2g} .* but got 0.0001"):
        choose_amounts(some, pace_of, minutes=10, imports=0, latency_ms=0.0001)
    within = choose_amounts(some, pace_of, minutes=1e5, imports=0, latency_ms=1.01 * least)
    assert within.pace.smallest_ms <= 1.01 * least


def test_what_is_measured_is_positive(tmp_path: Path) -> None:
    [*_, cheapest] = drafts(look(paint(tmp_path, {"a": 30, "b": 30})))
    pace = measure_pace(cheapest, 16)
    assert min(pace.picture, pace.step, pace.ready, pace.job, pace.smallest_ms) > 0 and pace.image >= 0
    assert pace.smallest_ms < pace.largest_ms


def test_what_is_written_is_a_sweep_on_those_pictures(tmp_path: Path) -> None:
    pictures = paint(tmp_path / "my flowers", {"rose": 30, "tulip": 30})
    started = start(pictures, tmp_path, latency_ms=50, minutes=2)
    assert [path.name for path in started.files] == ["my_flowers.yaml", "my_flowers_space.yaml"]
    sweep = Sweep.from_yaml(started.sweep)
    assert sweep.data.path == pictures
    assert sweep.search.constraints == {"latency_ms": 50}
    check_data(sweep.data, sweep.search_space.largest.input)
    assert set(started.minutes) == {"profile", "train", "search", "export"}
    assert any("excludes none" in line for line in started.lines)
    assert all("#" in line for line in started.sweep.read_text().splitlines() if "epochs" in line or "trials" in line)
    with pytest.raises(SweepError, match="^--data: .* there is no such folder"):
        start(tmp_path / "nowhere", tmp_path)
    with pytest.raises(SweepError, match="my_flowers.yaml is there already and is not overwritten"):
        start(pictures, tmp_path)
    checked = call("check", started.sweep, cwd=tmp_path)
    assert checked.returncode == 0 and checked.stdout.count("to do") == 4


def test_the_starter_is_what_came_with_the_program(tmp_path: Path) -> None:
    done = call("init", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "next: ffnet-search run sweeps/digits.yaml" in done.stdout
    for name in ("sweeps/digits.yaml", "search_spaces/ffnet_digits.yaml"):
        assert (tmp_path / name).read_text() == (ROOT / name).read_text()
    assert call("check", "sweeps/digits.yaml", cwd=tmp_path).returncode == 0
    assert "is not overwritten" in user_error("init", cwd=tmp_path)
    (tmp_path / "closed").write_text("a file where a folder is needed")
    with pytest.raises(SweepError, match="cannot be written"):
        start_digits(tmp_path / "closed")


def test_spaces_that_are_written_are_spaces_that_are_read(tmp_path: Path) -> None:
    from ffnet_search.autoconfig.render import quoted, space_text

    for draft in drafts(found(20_000, 64)):
        file = tmp_path / f"{draft.size.name}{draft.resolution}.yaml"
        file.write_text("\n".join(space_text(draft, "x")))
        assert SearchSpace.from_yaml(file).model_copy(update={"name": "space"}) == draft.space
    assert quoted("/data/flowers-1") == "/data/flowers-1"
    assert quoted('/my: "data"') == '"/my: \\"data\\""'
