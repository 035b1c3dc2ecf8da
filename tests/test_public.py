"""The public list of the package: every name is found, the function `run` beside the room of that name too."""

from __future__ import annotations

import subprocess
import sys

import pytest

import ffnet_search


@pytest.mark.parametrize("name", ffnet_search.__all__)
def test_every_public_name_is_found(name: str) -> None:
    assert callable(getattr(ffnet_search, name))


def test_run_stays_a_function_when_its_room_is_imported() -> None:
    code = (
        "import ffnet_search\nfrom ffnet_search.run.pipeline import run_sweep\nimport ffnet_search.run.check\n"
        "from ffnet_search import run\nassert run is ffnet_search.run and callable(run) and callable(run_sweep)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sweeps'"):
        ffnet_search.sweeps  # noqa: B018
