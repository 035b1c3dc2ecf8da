"""Standard streams as shells and batch systems leave them: closed, full, without Unicode; never a traceback."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from written_runs import written_run

from ffnet_search.cli.options import flat_options
from ffnet_search.errors import SweepError

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written_run(tmp_path_factory.mktemp("runs") / "mine")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("show RUN <&- >&-", 0),
        ("show RUN <&- >&- 2>&-", 0),
        ("show nothing <&- >&- 2>&-", 2),
        ("show RUN > /dev/full", 2),
        ("show RUN --json > /dev/full", 2),
        ("show nothing 2> /dev/full", 2),
    ],
)
def test_streams_that_cannot_be_written(run: Path, words: str, code: int) -> None:
    command = f"{sys.executable} -m ffnet_search {words.replace('RUN', str(run))}"
    done = subprocess.run(["bash", "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr, len(done.stderr) > 400) == (code, False, False), done.stderr


@pytest.mark.parametrize(("stream", "code"), [("stderr", 0), ("stdout", 1)])
def test_a_reader_that_ends_ends_no_run(tmp_path: Path, stream: str, code: int) -> None:
    """Progress that nobody reads is lost and ends nothing; a result that nobody reads is no success."""
    for image in range(40):
        (tmp_path / "images" / "ab"[image % 2]).mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 6 * image).save(tmp_path / "images" / "ab"[image % 2] / f"{image}.png")
    space = {"input": {"channels": 1, "resolution": 8, "classes": 2}, "stages": [{"depth": [1], "width": [8]}]}
    # the path is told on standard error: it is relative to the working folder, where it should be to the sweep
    sweep = {"search_space": space, "data": {"name": "image_folder", "path": "images"}}
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "s.yaml").write_text(yaml.safe_dump(sweep))
    reader, writer = os.pipe()
    os.close(reader)
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: writer}
    command = [sys.executable, "-m", "ffnet_search", "check", "sweeps/s.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, text=True, **streams)
    os.close(writer)
    assert done.returncode == code, done
    assert stream == "stderr" or done.stderr.count("\n") == 1, done.stderr


def test_a_broken_pipe_that_is_not_of_a_standard_stream_is_one_sentence() -> None:
    def verb() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    with pytest.raises(SweepError, match="has ended; see to it"):
        flat_options(verb)()


def test_what_a_stream_cannot_encode_is_written_as_its_code(run: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "ffnet_search", "show", str(run)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0 and "63.02 \\xb1 3.48" in done.stdout, done.stderr


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(run: Path, port: str) -> None:
    command = [sys.executable, "-m", "ffnet_search", "dashboard", str(run), f"--port={port}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "Invalid value for '--port'" in done.stderr and len(done.stderr.splitlines()) == 1
