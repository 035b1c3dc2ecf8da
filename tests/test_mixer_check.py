"""A user-supplied mixer is tried before anything is computed with it, and what is wrong with it is one sentence."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import faulty_blocks
import pytest
from small_sweeps import write_sweep

from ffnet_search.errors import SweepError
from ffnet_search.imports.modules import user_line
from ffnet_search.models.deployed import deployed_part, write_onnx
from ffnet_search.models.mixer_check import check_mixer
from ffnet_search.run.check import check_classes
from ffnet_search.space.parts import TokenMixerPart
from ffnet_search.space.search_space import SearchSpace

FAULTY = [faulty_blocks.Shrinks, faulty_blocks.Raises, faulty_blocks.Rigid, faulty_blocks.Alone, faulty_blocks.NoModule,
          faulty_blocks.OtherFunction, faulty_blocks.OtherShape, faulty_blocks.Number, faulty_blocks.Free]  # fmt: skip
IDENTITY = "faulty_blocks:Identity"


def content(mixer: str) -> dict[str, Any]:
    stage = {"depth": [1, 2], "width": [16, 32], "token_kernel": [3, 5]}
    return {
        "input": {"channels": 1, "resolution": [16, 24], "classes": 3},
        "stem": {"stride": [1]},
        "stages": [{**stage, "token_kernel": [3]}, {**stage, "mixer": ["attention", mixer]}],
    }


@pytest.mark.parametrize("mixer", FAULTY, ids=lambda mixer: mixer.__name__)
def test_a_faulty_mixer_is_one_sentence(mixer: type) -> None:
    name = f"faulty_blocks:{mixer.__name__}"
    with pytest.raises(SweepError) as caught:
        check_mixer(name, SearchSpace.model_validate(content(name)))
    assert str(caught.value).startswith(f"search_space: mixer {name}: {mixer.__doc__}")
    assert str(caught.value).endswith("; correct the class") and "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["my_blocks:Blur", IDENTITY, "ffnet_search.models.mixers:Attention"])
def test_a_sound_mixer_passes(name: str) -> None:
    check_mixer(name, SearchSpace.model_validate(content(name)))


def test_a_run_tries_a_mixer_first(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path, search_space=content("faulty_blocks:Free"), data={"name": "digits"})
    with pytest.raises(SweepError, match=r"tiny.yaml: search_space: mixer faulty_blocks:Free: costs must count"):
        check_classes(sweep, ["profile"])


def test_a_part_without_parameters_is_written_as_onnx() -> None:
    file = BytesIO()
    write_onnx(deployed_part(TokenMixerPart(8, 16, 16, IDENTITY, 0)), (1, 16, 8, 8), file)
    assert file.getvalue()


def test_errors_of_libraries_have_no_line_of_the_user() -> None:
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    assert user_line(caught.value).startswith(" (test_mixer_check.py, line ")
    assert user_line(ValueError()) == ""
