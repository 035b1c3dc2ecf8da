"""Links to nothing, pipes and files of other programs in the place of images."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from ffnet_search.autoconfig.inspect import inspect
from ffnet_search.config.schema import DataSection
from ffnet_search.data.image_file import open_image
from ffnet_search.data.image_folder import ImageFolder
from ffnet_search.data.masks import read_ids
from ffnet_search.errors import SweepError
from ffnet_search.space.input import Input


def folder_of_images(folder: Path) -> Path:
    for name in ("a", "b"):
        (folder / name).mkdir()
        for number in range(3):
            Image.new("RGB", (8, 8), (9 * number, 9, 9)).save(folder / name / f"{number}.png")
    return folder


def test_a_link_that_leads_nowhere_is_one_sentence(tmp_path: Path) -> None:
    section = DataSection(name="image_folder", path=folder_of_images(tmp_path))
    (tmp_path / "a" / "z.png").symlink_to("gone.png")
    for act in (ImageFolder().check, ImageFolder().read):
        with pytest.raises(SweepError, match=r"data.path: .*z.png is a link that leads nowhere"):
            act(section, Input(3, 8, 2))
    with pytest.raises(SweepError, match="z.png is a link that leads nowhere"):
        inspect(tmp_path)


@pytest.mark.timeout(60)
def test_a_pipe_that_is_named_like_an_image_is_one_sentence(tmp_path: Path) -> None:
    section = DataSection(name="image_folder", path=folder_of_images(tmp_path))
    os.mkfifo(tmp_path / "a" / "z.png")
    with pytest.raises(SweepError, match="z.png must be a file, but is a pipe"):
        ImageFolder().read(section, Input(3, 8, 2))


@pytest.mark.timeout(60)
def test_no_pipe_is_opened_as_an_image(tmp_path: Path) -> None:
    """Masks, photos and what `predict.py` is given are opened by this function too."""
    os.mkfifo(tmp_path / "z.png")
    for path in (tmp_path / "z.png", tmp_path):
        with pytest.raises(OSError, match="it is no file, but a folder, a pipe"):
            open_image(path)
    with pytest.raises(SweepError, match=r"z\.png cannot be read as an image \(it is no file"):
        read_ids(str(tmp_path / "z.png"))


def test_no_image_is_drawn_by_another_program(tmp_path: Path) -> None:
    """Pillow opens by content, and has Ghostscript run PostScript."""
    path = tmp_path / "x.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) show\n%%EOF\n")
    with pytest.raises(OSError, match="cannot identify image file"):
        open_image(path)
    with Image.open(path) as opened:
        assert opened.format == "EPS"
    Image.new("L", (4, 4)).save(tmp_path / "x.webp")
    with open_image(tmp_path / "x.webp") as opened:
        assert opened.size == (4, 4)
