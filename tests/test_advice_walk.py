"""Every command that a run advises, in what it prints, in its files and where it refuses, is run and ends well.

`test_advice.py` parses the advice of all messages in the source; here a person follows what they read.
"""

from __future__ import annotations

import io
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import yaml
from command_parser import PROGRAM, parsed
from PIL import Image
from pseudo_terminal import CODES, shown

from ffnet_search.cli.app import main

ADVICE = re.compile(
    rf"`({PROGRAM} \w+ [^`]+)`|<code>({PROGRAM} \w+ [^<]+)</code>|\"({PROGRAM} export [^\"]+)\"|"
    rf"(?:^|: )({PROGRAM} \w+ [^`\n]+?)(?:   .*)?$",
    re.M,
)
READ = ("*.yaml", "runs/*/report.html", "runs/*/pareto/*/README.md", "runs/*/pareto/*/card.json")
UNITS = r"(%|±|(ms|MB|M|MACs|points|images|networks|epochs|minutes|pixels|trials|parameters|candidates)\b)"
STEPS = 8  # commands that a person gives at most, one after the other, to have what they asked for
COUNTS = {"defect": 6, "fine": 36, "scratched": 24}
LATENCY = {"noisy": True, "rounds": 3, "calibration": 4, "min_within_10": 0}
SWEEP = {
    "search_space": {
        "input": {"channels": 3, "resolution": 16, "classes": 3},
        "stem": {"width": [8], "stride": [4]},
        "stages": [{"depth": [1, 2, 3], "width": [8, 16, 24], "token_kernel": [3], "expansion": [1, 2]}],
    },
    "data": {"name": "image_folder", "path": "parts", "batch_size": 16, "calibration": 16},
    "train": {"epochs": 2, "learning_rate": 3e-3},
    "latency": LATENCY,
    "search": {"trials": 6},
    "export": {"top": 1, "retrain": {"epochs": 1}},
    "report": {"yardstick": False},
}


def write_parts(folder: Path) -> None:
    """Images of parts, few of which have a defect."""
    rng = np.random.default_rng(0)
    for name, count in COUNTS.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = rng.normal(120, 15, (20, 20, 3))
            if name == "scratched":
                pixels[int(rng.integers(4, 16))] += 90
            if name == "defect":
                pixels[8:11, 8:11] -= 60
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(folder / name / f"{number}.png")


def give(command: str) -> tuple[int, str]:
    """Give a command in the current folder. Returns its exit code and all that it printed."""
    said, words = io.StringIO(), sys.argv
    sys.argv = shlex.split(command)
    try:
        with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit) as end:
            main()
    finally:
        sys.argv = words
    return int(str(end.value.code or 0)), said.getvalue()


def advised(text: str) -> list[str]:
    """The commands that a text advises, in its order."""
    found = (next(filter(None, one.groups())).strip() for one in ADVICE.finditer(text))
    return list(dict.fromkeys(one.replace("FOLDER", "parts") for one in found))


def obey(command: str, steps: int = STEPS) -> str:
    """Give a command, and if it is refused what the refusal advises first, until it ends well. Returns what it said."""
    parsed(command)
    assert steps > 0, f"{command}: the advice leads nowhere"
    code, said = give(command)
    if code == 0:
        return said
    assert "Traceback" not in said, said
    advice = advised(said)
    assert advice and advice[0] != command, f"{command}: {said}"
    obey(advice[0], steps - 1)
    return obey(command, steps - 1)


@contextmanager
def copied(base: Path, folder: Path) -> Iterator[None]:
    """The current folder is a copy of `base` within the block: paths in advice are as they were typed."""
    shutil.copytree(base, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, a sweep, and its run whose supernet is trained."""
    base = tmp_path_factory.mktemp("trained")
    write_parts(base / "parts")
    (base / "tiny.yaml").write_text(yaml.safe_dump(SWEEP))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(base)
        obey(f"{PROGRAM} profile tiny.yaml")
        obey(f"{PROGRAM} train tiny.yaml")
    return base


@pytest.fixture(scope="module")
def finished(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with a front."""
    base = tmp_path_factory.mktemp("finished") / "here"
    with copied(trained, base):
        obey(f"{PROGRAM} run tiny.yaml")
    return base


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    ["show runs/tiny", "pick runs/tiny --latency-ms 100", "export tiny.yaml", "dashboard runs/none", "list runs/tiny"],
)
def test_what_a_run_refuses_before_its_search_is_there_after_the_advice(
    command: str, trained: Path, tmp_path: Path
) -> None:
    with copied(trained, tmp_path / "here"):
        if command.startswith(("dashboard", "list")):  # answers, or refuses without a command
            code, said = give(f"{PROGRAM} {command}")
            assert code in (0, 2) and "Traceback" not in said
            assert all(give(one)[0] == 0 for one in advised(said))
        else:
            assert give(f"{PROGRAM} {command}")[0] == 2
            obey(f"{PROGRAM} {command}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lost", "command"),
    [
        ("study.db", "pick runs/tiny --latency-ms 100"),
        ("supernet.ckpt", "rerun runs/tiny 0"),
        ("latency", "pick runs/tiny --latency-ms 100"),
        ("pareto", "export runs/tiny --table"),
        ("pareto", "compare runs/tiny runs/other"),
    ],
)
def test_what_is_lost_from_a_run_is_back_after_the_advice(
    lost: str, command: str, finished: Path, tmp_path: Path
) -> None:
    with copied(finished, tmp_path / "here"):
        if "other" in command:
            shutil.copytree("runs/tiny", "runs/other")
        path = Path("runs/tiny", lost)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        obey(f"{PROGRAM} {command}")


@pytest.mark.slow
def test_all_that_a_finished_run_advises_ends_well(finished: Path, tmp_path: Path) -> None:
    """From what a newcomer types, and every file that the run wrote, onwards: all advice is followed."""
    with copied(finished, tmp_path / "here"):
        [network] = Path("runs/tiny/pareto").glob("01-*")
        typed = ["export tiny.yaml", "check tiny.yaml", "run tiny.yaml", "show runs/tiny", f"show {network}", "list"]
        typed += [f"pick runs/tiny --latency-ms {ms}" for ms in (0.0001, 100)] + ["export runs/tiny --table"]
        typed += ["show runs", "show parts", "run parts", "check parts", "run", "check no.yaml", "pick runs/tiny"]
        typed = [f"{PROGRAM} {one}" for one in typed]
        files = [path for pattern in READ for path in Path().glob(pattern)]
        todo, codes = typed + [one for path in files for one in advised(path.read_text())], dict[str, int]()
        while todo:
            if (command := todo.pop(0)) in codes:
                continue
            if command not in typed:
                parsed(command)
            verb = command.split()[1]
            if verb in ("dashboard", "init"):  # one serves until it is stopped, the other measures this machine
                codes[command] = 0
                continue
            codes[command], said = give(command)
            assert "Traceback" not in said, said
            todo += [] if "--help" in command else advised(said)
        assert {one for one, code in codes.items() if code} <= set(typed)
        for verb in ("pick", "dashboard", "list", "init"):
            assert any(one.startswith(f"{PROGRAM} {verb} ") for one in codes if one not in typed), verb


@pytest.mark.slow
def test_why_a_class_is_missed_takes_two_commands(finished: Path, tmp_path: Path) -> None:
    """As README says: the best network within a latency, and its classes."""
    with copied(finished, tmp_path / "here"):
        picked = obey(f"{PROGRAM} pick runs/tiny --latency-ms 100")
        said = obey(f"{PROGRAM} show {picked.splitlines()[0]}")
        [row] = re.findall(r"^defect +.*%.*$", said, re.M)
        _, _, recall, images, trained_on, *taken_for = re.split(" {2,}", row.strip())
        assert int(images) + int(trained_on) <= COUNTS["defect"]
        if recall != "100.0 %":
            assert re.match(r"(fine|scratched) \(\d+\)", *taken_for)
            assert "errors.png" in said and Path(picked.splitlines()[0], "errors.png").exists()
        if said.index("\ndefect ") < min(said.index("\nfine "), said.index("\nscratched ")):
            assert "train.class_weights: balanced counts it more" in said


@pytest.mark.slow
def test_no_number_is_cut_or_torn_from_its_unit_in_80_columns(finished: Path, tmp_path: Path) -> None:
    with copied(finished, tmp_path / "here"):
        shutil.copytree("runs/tiny", "runs/other")
        [network] = Path("runs/tiny/pareto").glob("01-*")
        typed = ["check tiny.yaml", "show runs/tiny", f"show {network}", "pick runs/tiny --latency-ms 100", "list"]
        typed += ["export runs/tiny --format onnx", "export runs/tiny --table", "compare runs/tiny runs/other"]
        typed += ["init --data parts --name first --minutes 0.1", "fidelity tiny.yaml --networks 4"]
        for command in typed:
            said = CODES.sub("", shown(80, sys.executable, "-m", "ffnet_search", *shlex.split(command)))
            lines = [line.rstrip() for line in said.splitlines()]
            assert "Traceback" not in said and len(lines) > 1, said
            for line, following in pairwise(lines):
                assert len(line) <= 80 or PROGRAM in line or "/" in line, line
                is_prose = "  " not in line.strip() + following.strip()
                assert not (is_prose and re.search(r"\d$", line) and re.match(UNITS, following)), said
