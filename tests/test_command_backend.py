"""The backend `command`: a program that gets a model file and prints milliseconds."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
from latency_spaces import QUICK, TINY, model_of

from ffnet_search.config.schema import LatencySection
from ffnet_search.errors import SweepError
from ffnet_search.latency.backends.base import make_backend
from ffnet_search.latency.measure import measure_all
from ffnet_search.models.deployed import deployed


def section_of(command: object, timeout: float = 60) -> LatencySection:
    args = {"command": command, "device": "a program", "timeout": timeout}
    return QUICK.model_copy(update={"backend": "command", "init_args": args})


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("python3 -c 'print(1/0)'", "must end with status 0, but ended with 1: ZeroDivisionError"),
        ("echo fast", "must print the milliseconds .* but printed '.*model.onnx'"),
        ("echo {model} quick", "but printed 'quick'"),
        ("echo {model} -3", "but printed '-3'"),
        ("echo {model} 0", "but printed '0'"),
        ("echo {model} nan", "but printed 'nan'"),
        (
            "no-such-program",
            r"latency\.init_args: command: must begin with a program that can be run, but 'no-such-program'",
        ),
        ([], r"latency\.init_args: command must"),
    ],
)
def test_a_command_that_breaks_its_contract_is_one_sentence(command: object, words: str) -> None:
    with pytest.raises(SweepError, match=words):
        make_backend(section_of(command)).load(model_of(TINY.smallest), 1)()


def test_a_command_that_does_not_end_is_one_sentence() -> None:
    command = [sys.executable, "-c", "import threading; threading.Event().wait()", "{model}"]
    with pytest.raises(SweepError, match=r"must end within 0.2 s, .* raise latency\.init_args\.timeout"):
        make_backend(section_of(command, timeout=0.2)).load(model_of(TINY.smallest), 1)()


def test_a_command_reports_the_milliseconds_of_the_file_that_it_gets() -> None:
    script = "import sys, os; print(len(open(sys.argv[1], 'rb').read()) * 1e-3, os.environ['FFNET_SHAPE'], 7.5)"
    section = section_of([sys.executable, "-c", script, "{model}"])
    [measured] = measure_all([deployed(TINY.smallest)], section)
    assert measured.anchors_ms == pytest.approx((7.5, 7.5))
    assert measured.ms == pytest.approx(7.5) and measured.spread == 0


def test_files_of_a_command_are_removed_with_its_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    run = make_backend(section_of("echo {model} 1")).load(model_of(TINY.smallest), 1)
    assert len(list(tmp_path.rglob("model.onnx"))) == 1
    del run
    gc.collect()
    assert not list(tmp_path.iterdir())
