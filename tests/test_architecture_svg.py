"""The drawing of a network shows every stage, block and mixer within its frame."""

from __future__ import annotations

import random
import xml.etree.ElementTree as xml

import pytest
from networks import space

from ffnet_search.report.architecture_svg import draw
from ffnet_search.space.architecture import Architecture
from ffnet_search.space.mixers import MIXERS


@pytest.mark.parametrize("name", ["ffnet_digits", "ffnet_cifar", "ffnet_imagenet"])
def test_a_drawing_shows_every_stage_inside_its_frame(name: str) -> None:
    rng, choices = random.Random(0), space(name)
    for arch in [choices.smallest, choices.largest, *(choices.sample(rng) for _ in range(20))]:
        root = xml.fromstring(draw(arch))
        text = "".join(root.itertext())
        for number, stage in enumerate(arch.stages, 1):
            assert f"stage {number}: {stage.width} channels" in text
        _, _, width, height = map(float, root.attrib["viewBox"].split())
        for shape in root.iter():
            if "x" in shape.attrib and "y" in shape.attrib:
                right = float(shape.attrib["x"]) + float(shape.attrib.get("width", 0))
                assert 0 <= right <= width
                assert 0 <= float(shape.attrib["y"]) + float(shape.attrib.get("height", 0)) <= height


def test_a_drawing_is_colour_and_words_for_every_mixer() -> None:
    drawings = {}
    for mixer in MIXERS:
        arch = Architecture.preset("ffnet_1")
        data = arch.to_dict()
        data["stages"][3]["blocks"][0]["mixer"] = mixer
        drawings[mixer] = draw(Architecture.from_dict(data))
    assert len(set(drawings.values())) == len(MIXERS)
