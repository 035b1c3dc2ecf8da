"""`predict.py` of an exported folder prepares an image exactly as training did, whatever the image."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from odd_images import images

from ffnet_search.data.decoder import Decoder
from ffnet_search.export.bundle.script import predict_script
from ffnet_search.forecasting import forecaster

SERIES = Path(forecaster.__file__).with_name("predict_series.py.txt")
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


@pytest.mark.parametrize("content", [None, b"", b"\x08\x07\x12\x07pytorch", b"not a model"])
@pytest.mark.parametrize("name", ["card.json", "model.onnx"])
@pytest.mark.parametrize("template", [*TEMPLATES, "predict_super_resolution.py.txt", "series"])
def test_a_folder_that_was_copied_in_part_is_one_sentence(
    template: str, name: str, content: bytes | None, tmp_path: Path
) -> None:
    text = SERIES.read_text() if template == "series" else predict_script(template)
    (tmp_path / "predict.py").write_text(text)
    given = {"input": {"channels": 3, "resolution": 8, "scale": 2, "window": [4, 2], "mean": [0.0], "std": [1.0]}}
    (tmp_path / "card.json").write_text(json.dumps(given))
    (tmp_path / name).unlink(missing_ok=True)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    done = subprocess.run([sys.executable, tmp_path / "predict.py", "x.png"], capture_output=True, text=True)
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith(f"{tmp_path / name}: cannot be read: ")
    assert sentence.endswith("; copy the network's folder again")


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_names_are_shown_without_commands_to_the_terminal(encoding: str, tmp_path: Path) -> None:
    """A file's name in bytes that are no text, or a class that the terminal cannot show, was a traceback."""
    text = predict_script(TEMPLATES[0])
    lines = text[text.index("\ndef say(") : text.index("\ncard = ")]
    reconfigured = next(line for line in text.splitlines() if line.startswith("sys.stdout.reconfigure"))
    code = f"import sys\n{reconfigured}\n{lines}\nsay('\\x1b[2Ja\\udcff\\u202eb\\nc 猫')"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True)
    cat = "猫" if encoding == "utf-8" else r"\u732b"
    assert done.stdout.decode() == rf"\x1b[2Ja\udcff\u202eb\nc {cat}" + "\n"
