"""Large images: converted tile by tile with the same result, reduced where that is enough, in memory once."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from odd_images import images
from PIL import Image

from ffnet_search.data import image_file
from ffnet_search.data.image_file import prepare, read_whole, turned_size
from ffnet_search.data.masks import read_ids
from ffnet_search.errors import SweepError
from ffnet_search.export.bundle.script import predict_script

SIDE, ROWS = 9_500, 100  # 90 million pixels, of which Pillow warns
READ = """
import sys
from pathlib import Path
from ffnet_search.data.audit import _digest
from ffnet_search.data.decoder import Decoder
from ffnet_search.data.masks import pixels_of, read_ids

def peak():
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

file, most, most_of_mask = sys.argv[1], *map(float, sys.argv[2:])
assert Decoder((file,), (8, 8), "RGB", 1, resized_crop=0.1, key=[0]).decode(0).shape == (8, 8, 3)
assert len(_digest(file)) == 64 and peak() < most, peak()
assert set(pixels_of(read_ids(file))) == {0} and peak() < most_of_mask, peak()
"""


def large_png(path: Path) -> Path:
    """A black image, RGB, whose file is small and quickly made: the same compressed rows again and again."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = bytes(ROWS * (1 + 3 * SIDE))
    deflate = zlib.compressobj(1, wbits=-15)
    block = deflate.compress(rows) + deflate.flush(zlib.Z_FULL_FLUSH)
    checksum = 1
    for _ in range(SIDE // ROWS):
        checksum = zlib.adler32(rows, checksum)
    content = b"\x78\x01" + block * (SIDE // ROWS) + b"\x03\x00" + struct.pack(">I", checksum)
    header = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", content) + chunk(b"IEND", b""))
    return path


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of a process is read from /proc")
def test_an_image_of_90_million_pixels_is_in_memory_once(tmp_path: Path) -> None:
    file = large_png(tmp_path / "large.png")
    pixels = 4 * SIDE**2  # bytes, as Pillow has them
    command = [sys.executable, "-c", READ, str(file), str(pixels + 200e6), str(2 * pixels + 100e6)]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_tiles_give_the_pixels_of_the_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = images(tmp_path)
    for mode in ("L", "RGB"):
        whole = {file: read_whole(file, mode) for file in files}
        monkeypatch.setattr(image_file, "LARGE", 0)
        monkeypatch.setattr(image_file, "TILE_SIDE", 37)
        for file, image in whole.items():
            assert np.array_equal(read_whole(file, mode), image), file.name
            assert turned_size(file) == image.size
            if file.suffix != ".jpg":  # which are decoded at another size
                least = (image.width // 3 - 1, image.height // 3 - 1)
                assert np.array_equal(read_whole(file, mode, least), image.reduce(3)), file.name
                assert read_whole(file, mode, least, above=10**6).size == image.size
        monkeypatch.undo()


@pytest.mark.parametrize("suffix", ["tif", "jpg", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_size_of_a_turned_image_is_that_of_its_pixels(suffix: str, orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"turned.{suffix}"
    Image.new("RGB", (50, 30)).save(file, exif=exif)
    assert turned_size(file) == read_whole(file, "RGB").size == ((30, 50) if orientation > 3 else (50, 30))


def test_a_turned_image_is_reduced_by_its_turned_size(tmp_path: Path) -> None:
    pixels_HW = np.random.default_rng(0).integers(0, 2, size=(500, 2000), dtype=np.uint8) * 255
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels_HW).save(tmp_path / "turned.jpg", exif=exif, quality=100)
    Image.fromarray(np.rot90(pixels_HW, -1)).save(tmp_path / "upright.png")
    turned, upright = (prepare(tmp_path / name, "L", (128, 512)) for name in ("turned.jpg", "upright.png"))
    assert np.abs(turned.astype(int) - upright).mean() < 5  # 40 where half of the width is decoded


def test_a_mask_that_pillow_refuses_is_one_sentence(tmp_path: Path) -> None:
    Image.new("1", (14_000, 14_000)).save(tmp_path / "mask.png")
    with pytest.raises(SweepError, match=r"mask\.png cannot be read as an image \(Image size"):
        read_ids(str(tmp_path / "mask.png"))


def test_a_mask_is_enlarged_band_by_band_with_the_same_result() -> None:
    text = predict_script("predict_segmentation.py.txt")
    scope = {"np": np, "Image": Image}
    exec(text[text.index("def largest(") : text.index("def describe(")], scope)
    maps = np.random.default_rng(0).normal(size=(3, 8, 6)).astype(np.float32)
    whole = scope["largest"](maps, 50, 70, slice(0, 70))
    bands = [scope["largest"](maps, 50, 70, slice(top, min(70, top + 9))) for top in range(0, 70, 9)]
    assert whole.shape == (70, 50) and np.array_equal(np.concatenate(bands), whole)
