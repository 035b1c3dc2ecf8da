"""`predict.py` of an exported folder prepares an image exactly as training did, whatever the image."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_images import images

from ffnet_search.data.decoder import Decoder
from ffnet_search.export.bundle.script import predict_script

TEMPLATES = [f"predict_{task}.py.txt" for task in ("classification", "segmentation", "multilabel", "regression")]


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("template", TEMPLATES)
def test_the_script_prepares_images_as_training_did(template: str, mode: str, tmp_path: Path) -> None:
    text, scope = predict_script(template), {}
    code = text[text.index("import os\n") : text.index("\nhere = ")]
    exec(code, scope)  # what stands before the first line that needs the exported folder
    paths, whole = images(tmp_path), "classification" not in template
    images_of = Decoder(tuple(map(str, paths)), (16, 16), mode, 1, whole=whole)
    for index, path in enumerate(paths):
        pixels = images_of.decode(index)
        assert isinstance(pixels, np.ndarray), pixels
        assert np.array_equal(scope["prepare"](path, mode, (16, 16), whole), pixels), path.name


@pytest.mark.parametrize("template", TEMPLATES)
def test_the_script_is_one_program(template: str) -> None:
    text = predict_script(template)
    compile(text, "predict.py", "exec")
    assert (
        text.startswith('"""')
        and "# IMAGES" not in text
        and "# COMMAND" not in text
        and "__future__" not in text
        and "ffnet_search" not in text
    )


def test_the_script_says_what_is_not_installed(tmp_path: Path) -> None:
    script = tmp_path / "predict.py"
    script.write_text(predict_script(TEMPLATES[0]))
    done = subprocess.run([sys.executable, "-S", script, "x.png"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"{script}: numpy is not installed; run: pip install numpy pillow onnxruntime\n"
