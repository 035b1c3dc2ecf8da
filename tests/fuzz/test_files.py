"""Wrong files through the same entry points as the command line: a result or one sentence, within 5 s and 1 GiB.

`make fuzz` reads 10,000 files; FUZZ=ci reads some hundreds. A failure prints the file's change, which repeats. A kind
is read in parts, each a test with its own time, for slow machines: `make fuzz PART=part3` reads a twentieth."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any

import mutations
import pytest
import yaml
from base_run import write_base
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ffnet_search.autoconfig.inspect_table import inspect_table
from ffnet_search.cli.app import main
from ffnet_search.config.schema import DataSection
from ffnet_search.config.sweep import Sweep
from ffnet_search.data.registry import check_data
from ffnet_search.errors import LINE, SweepError
from ffnet_search.export.exported import read_network
from ffnet_search.export.network import load
from ffnet_search.files.bounded import read_json
from ffnet_search.forecasting.series import read_series
from ffnet_search.latency.journal import Journal
from ffnet_search.models.saved import read_supernet
from ffnet_search.report.annotate import annotate_study
from ffnet_search.report.data import read_run
from ffnet_search.report.page import page
from ffnet_search.search.storage.pending_trials import PendingTrials
from ffnet_search.space.input import Input

PARTS, FILES = {"ci": (1, 32), "full": (20, 27)}[os.environ.get("FUZZ", "full")]  # of each kind, and files of each part
CPU_S, MEMORY_KIB = 5.0, 1 << 20
PROFILE = settings(
    max_examples=FILES,
    derandomize=os.environ.get("FUZZ") == "ci",
    deadline=None,
    database=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
RUN = "runs/tiny"


class TooLong(BaseException):
    """The CPU time of one file is spent."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder: a sweep, a space, a cluster's file, an exported run; a package whose import leaves MARK."""
    folder = tmp_path_factory.mktemp("fuzz")
    write_base(folder)
    (folder / "evil").mkdir()
    for name in ("__init__.py", "nets.py"):
        (folder / "evil" / name).write_text(f"import pathlib; pathlib.Path({str(folder / 'MARK')!r}).touch()")
    os.mkfifo(folder / "pipe")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(params=range(1, PARTS + 1), ids="part{}".format)
def part(request: pytest.FixtureRequest) -> int:
    """The number of a part: each draws files of its own."""
    return int(request.param)


in_parts = pytest.mark.usefixtures("part")


@contextmanager
def bounded() -> Iterator[None]:
    """Fail where the block takes more CPU time or memory than any file may."""

    def stop(number: int, frame: object) -> None:
        raise TooLong

    signal.signal(signal.SIGVTALRM, stop)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * CPU_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    assert time.process_time() - start < CPU_S
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MEMORY_KIB


def command(*words: str) -> None:
    """Run a command line: it ends with 0, or with 2 and one line. Anything else is an error of the test."""
    out, said = StringIO(), StringIO()
    sys.argv[1:] = words
    with bounded(), redirect_stdout(out), redirect_stderr(said), pytest.raises(SystemExit) as end:
        main()
    assert end.value.code in (0, 2), said.getvalue()
    assert "Traceback" not in said.getvalue()
    assert "secret" not in said.getvalue()
    assert "\x1b" not in out.getvalue() + said.getvalue()
    if end.value.code == 2:
        (line,) = said.getvalue().splitlines()
        assert line.startswith("ffnet-search: ")
        assert len(line) <= LINE + len("ffnet-search: ")
    assert not Path("MARK").exists()


def call(function: Callable[[], Any]) -> None:
    """Call an entry point that no verb reaches in a second: it returns, or raises a sentence."""
    with bounded(), suppress(SweepError):
        function()
    assert not Path("MARK").exists()


@contextmanager
def replaced(path: Path, content: bytes) -> Iterator[None]:
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


YAML = {
    "sweep": ("tiny.yaml", [["check", "tiny.yaml"], ["show", "tiny.yaml"]]),
    "space": ("space.yaml", [["show", "space.yaml"]]),
    "architecture": (f"{RUN}/pareto/01-net/architecture.yaml", [["show", f"{RUN}/pareto/01-net"], ["show", RUN]]),
    "cluster": ("cluster.yaml", [["check", "cluster.yaml"]]),
    "copy": (f"{RUN}/sweep.yaml", [["pick", RUN, "--latency-ms", "1"], ["show", RUN]]),
}
JSON = {
    "table": (f"{RUN}/latency/onnxruntime-t1-b1.json",
              [["show", f"{RUN}/latency/onnxruntime-t1-b1.json"], ["pick", RUN, "--latency-ms", "1"]]),
    "card": (f"{RUN}/pareto/01-net/card.json",
             [["show", RUN], ["export", RUN, "--table"], ["show", f"{RUN}/pareto/01-net"]]),
    "record": (f"{RUN}/run.json", [["show", RUN], ["check", "tiny.yaml"]]),
}  # fmt: skip


@in_parts
@pytest.mark.parametrize("kind", YAML)
def test_yaml(base: Path, kind: str) -> None:
    name, verbs = YAML[kind]
    tree = yaml.safe_load((base / name).read_text())

    @PROFILE
    @given(mutations.changes(mutations.RAW_YAML), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        with replaced(base / name, mutations.damaged(mutations.as_yaml(mutations.changed(tree, changes)), how)):
            for verb in verbs:
                command(*verb)

    read()


@in_parts
@pytest.mark.parametrize("kind", JSON)
def test_json(base: Path, kind: str) -> None:
    name, verbs = JSON[kind]
    tree, other = read_json(base / name), str(next(Path(f"{RUN}/pareto").glob("02-*")))

    @PROFILE
    @given(mutations.changes(mutations.RAW_JSON), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        with replaced(base / name, mutations.damaged(mutations.as_json(mutations.changed(tree, changes)), how)):
            for verb in verbs:
                command(*verb)
            if kind == "card":
                call(lambda: annotate_study(Sweep.of_run(RUN)))
                command("compare", f"{RUN}/pareto/01-net", other)

    read()


@in_parts
@pytest.mark.parametrize("kind", ["classification", "multilabel", "regression", "series"])
def test_csv(base: Path, kind: str) -> None:
    """Tables of images and what is known of each, and series of numbers."""
    path, pictures = base / f"{kind}.csv", base / "pictures"
    pictures.mkdir(exist_ok=True)
    for number in range(12):
        Image.new("L", (8, 8), number).save(pictures / f"{number}.png")
    rows: list[list[object]] = [["file", "a", "b", "split"]]
    rows += [[f"pictures/{number}.png", number % 2, (number + 1) % 2, ["train", "test", "val"][number % 3]]
             for number in range(12)]  # fmt: skip
    section = DataSection(name="picture_table", path=path, columns=["a"] if kind == "classification" else ["a", "b"])

    @PROFILE
    @given(mutations.cells(), mutations.damage())
    def read(changes: list[tuple[int, int, str]], how: tuple[str, int, int]) -> None:
        path.write_bytes(mutations.damaged(mutations.as_csv(rows, changes), how))
        if kind == "series":
            call(lambda: read_series(path))
        else:
            call(lambda: check_data(section, Input(1, 8, 2, kind)))
            call(lambda: inspect_table(path))

    read()


@in_parts
@pytest.mark.parametrize("kind", ["rows", "bytes"])
def test_study(base: Path, kind: str) -> None:
    path = base / RUN / "study.db"
    content = path.read_bytes()

    @PROFILE
    @given(
        st.lists(
            st.tuples(st.integers(0, 99), st.integers(0, 99), st.sampled_from(mutations.PLAIN)), min_size=1, max_size=3
        ),
        mutations.damage().filter(lambda how: how[0] != "none"),
    )
    def read(changes: list[tuple[int, int, Any]], how: tuple[str, int, int]) -> None:
        with replaced(path, content if kind == "rows" else mutations.damaged(content, how)):
            if kind == "rows":
                for change in changes:
                    mutations.change_study(path, *change)
            command("pick", RUN, "--latency-ms", "1")
            call(lambda: annotate_study(Sweep.of_run(RUN)))

    read()


@in_parts
@pytest.mark.parametrize("kind", ["journal", "pending"])
def test_notes_of_unfinished_work(base: Path, kind: str) -> None:
    """The journal of a profile and the pending trials of a search: the damaged part is left out, and made again."""
    lines: list[Any] = [
        {"digest": "x"},
        {"ratios": {"a": 1.0}, "anchors_s": [0.1, 0.2], "seconds": 1.0},
        {"contention": 1.0},
    ]
    trials = {"abc": {"origin": "TPESampler", "params": {"stage1.depth": 1}, "starts": 1, "preempted": 1, "epoch": 1}}
    path = base / kind

    @PROFILE
    @given(mutations.changes(mutations.RAW_JSON), mutations.damage())
    def read(changes: list[mutations.Change], how: tuple[str, int, int]) -> None:
        if kind == "journal":
            content = b"\n".join(mutations.as_json(mutations.changed(line, changes)) for line in [*lines, *lines])
            path.write_bytes(mutations.damaged(content, how))

            def resume() -> None:
                journal = Journal(path, "x")
                journal.add({"a": 1.0}, [0.1, 0.2], 1.0)
                journal.add_contention(1.0)
                assert journal.contention >= 0
                assert len(journal.anchors_ms) == 2

            call(resume)
        else:
            path.write_bytes(mutations.damaged(mutations.as_json(mutations.changed(trials, changes)), how))
            call(lambda: PendingTrials(path).begin("abc", "x", {}))

    read()


@in_parts
@pytest.mark.parametrize("kind", ["model.safetensors", "trainable.safetensors", "supernet.ckpt", "scores.npz"])
def test_weights(base: Path, kind: str) -> None:
    folder = base / RUN / "pareto" / "01-net"
    path = base / RUN / kind if kind == "supernet.ckpt" else folder / kind
    content = path.read_bytes()

    @PROFILE
    @given(mutations.damage().filter(lambda how: how[0] != "none"))
    def read(how: tuple[str, int, int]) -> None:
        with replaced(path, mutations.damaged(content, how)):
            if kind == "supernet.ckpt":
                call(lambda: read_supernet(path))
            elif kind == "scores.npz":
                call(lambda: read_network(folder).scores("test"))
            else:
                call(lambda: load(folder, trainable=kind.startswith("trainable")))

    read()


def test_the_base_is_right(base: Path) -> None:
    """Else every file would be refused for the same reason."""
    shutil.copytree(base / RUN, base / "other" / "tiny")
    for _, verbs in (*YAML.values(), *JSON.values()):
        for verb in verbs:
            command(*verb)
    annotate_study(Sweep.of_run(base / "other" / "tiny"))
    assert "<title>" in page(read_run(Sweep.of_run(RUN)))
    command("compare", *map(str, Path(f"{RUN}/pareto").glob("0?-*")))
    read_supernet(base / RUN / "supernet.ckpt")
    load(base / RUN / "pareto" / "01-net")
