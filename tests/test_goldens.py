"""The results of the program, frozen in `tests/goldens/`: a refactoring must reproduce them.

`python tests/test_goldens.py --write [NAME ...]` rewrites the goldens (all, or those named): the sentences in
`errors.yaml`, whose sweeps are written by hand; `latency_table.json`, which was measured once, only if it is missing.
Read the difference before committing it: it is what users will see.

Floats are compared with the tolerance of their golden, since CPUs differ in the last bits; the exact values of the
machine that wrote them are in the files, and `GOLDENS=exact python -m pytest tests/test_goldens.py` compares all bits.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from goldens.comparison import as_text, differences
from goldens.errors import ERRORS, errors, write_errors
from goldens.networks import logits, training
from goldens.runs import documents, files, numbers_of_runs
from goldens.searches import TABLE, searches, write_table
from goldens.spaces import architectures, digests
from goldens.sweeps import FOLDER
from patience import BUSY_S

EXACT = os.environ.get("GOLDENS") == "exact"
CASES: list[dict[str, Any]] = yaml.safe_load(ERRORS.read_text(encoding="utf-8"))["cases"]
GOLDENS: dict[str, tuple[Callable[[Path], Any], float]] = {  # name of the file -> what makes it, relative tolerance
    "digests": (digests, 0.0),
    "architectures": (architectures, 0.0),
    "logits": (logits, 1e-5),
    "training": (training, 1e-3),  # AdamW divides by small moments: 2e-4 between an Intel and an AMD CPU
    "searches": (searches, 1e-9),
    "documents": (documents, 0.0),
    "files": (files, 0.0),
    "numbers_of_runs": (numbers_of_runs, 0.02),  # an image or two, after an epoch on another CPU
}

OF_RUNS = ("documents", "files", "numbers_of_runs")  # which take most of the time: a minute, more on a busy machine
LONG = [pytest.mark.slow, pytest.mark.timeout(BUSY_S)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("goldens")


@pytest.mark.filterwarnings("ignore::UserWarning")  # of Lightning: few workers, no logger
@pytest.mark.parametrize("name", [pytest.param(n, marks=LONG if n in OF_RUNS else []) for n in GOLDENS])
def test_golden(name: str, folder: Path) -> None:
    make, tolerance = GOLDENS[name]
    golden = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    found = json.loads(as_text(make(folder)))
    told = list(differences(golden, found, 0.0 if EXACT else tolerance))
    assert not told, f"{len(told)} differences to {name}.json, the first of them:\n" + "\n".join(told[:20])


@pytest.fixture(scope="module")
def sentences(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return [case["error"] for case in errors(tmp_path_factory.mktemp("errors"))]


@pytest.mark.parametrize("number", range(len(CASES)))
def test_an_error_keeps_its_sentence(number: int, sentences: list[str]) -> None:
    assert sentences[number] == CASES[number]["error"], f"of the sweep:\n{CASES[number]['sweep']}"


def test_every_wrong_sweep_is_refused_in_one_line() -> None:
    for case in CASES:
        assert case["error"] != "no error", case["sweep"]
        assert "\n" not in case["error"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", nargs="*", choices=[*GOLDENS, "errors"], required=True, metavar="NAME")
    wanted = parser.parse_args().write or [*GOLDENS, "errors"]
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        if not TABLE.exists():
            write_table(Path(name) / "table")
        for golden in wanted:
            print(golden, flush=True)
            if golden == "errors":
                write_errors(Path(name) / "errors")
            else:
                content = as_text(GOLDENS[golden][0](Path(name)))
                (FOLDER / f"{golden}.json").write_text(f"{content}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
