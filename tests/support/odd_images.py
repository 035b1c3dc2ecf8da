"""Images of every kind that people have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def images(folder: Path) -> list[Path]:
    """An image of every kind that people have."""
    rng = np.random.default_rng(0)
    colour = Image.fromarray(rng.integers(0, 256, (50, 70, 3), np.uint8)).resize((700, 500), Image.Resampling.BICUBIC)
    see_through = colour.convert("RGBA")
    see_through.putalpha(Image.linear_gradient("L").resize(colour.size))
    deep = Image.fromarray(rng.integers(0, 1 << 16, (40, 60)).astype(np.uint16))
    turned = Image.Exif()
    turned[0x0112] = 6
    paths = [folder / name for name in ("turned.jpg", "cmyk.jpg", "alpha.png", "deep.png", "palette.png", "moving.gif")]
    colour.save(paths[0], exif=turned, quality=95)
    colour.convert("CMYK").save(paths[1])
    see_through.save(paths[2])
    deep.save(paths[3])
    see_through.quantize(16).save(paths[4])
    colour.save(paths[5], save_all=True, append_images=[colour.rotate(90)])
    return paths
