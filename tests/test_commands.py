"""Commands that a person is told to type: of the sweep that was given, with its options, wherever it is said."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from written_runs import written_run

from ffnet_search.cli.options import Overrides
from ffnet_search.config.commands import command_of, words_of
from ffnet_search.config.sweep import Sweep
from ffnet_search.imports.consent import ForeignImports, foreign_imports
from ffnet_search.run.folder.run_folder import open_run

SPACE = {"input": {"channels": 1, "resolution": 8, "classes": 10}, "stages": [{"depth": [1], "width": [16]}]}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    Path("my parts.yaml").write_text(yaml.safe_dump({"name": "parts", "search_space": SPACE}))
    with foreign_imports(ForeignImports.REFUSED):  # the policy of before is restored
        yield


def begin(sweep: Sweep) -> None:
    """What every command writes before its first stage."""
    with open_run(sweep) as folder:
        folder.write_sweep(sweep)
        folder.write_records({})


def test_a_command_has_the_options_that_the_verb_takes() -> None:
    given = Overrides(name="second", seed=3, trials=7, allow_imports=True).load(Path("my parts.yaml"))
    assert command_of("run", given) == (
        "ffnet-search run 'my parts.yaml' --name second --seed 3 --trials 7 --allow-imports"
    )
    assert command_of("train", given).endswith("--name second --seed 3 --allow-imports")
    assert command_of("profile", given).endswith("--name second --allow-imports")
    assert command_of("run", Overrides().load(Path("my parts.yaml"))) == "ffnet-search run 'my parts.yaml'"
    assert command_of("run", Sweep.of_run("digits")) == "ffnet-search run digits"


@pytest.mark.parametrize("overrides", [Overrides(), Overrides(name="second", trials=7)], ids=["as written", "named"])
def test_a_runs_folder_knows_the_words_that_it_was_begun_with(overrides: Overrides) -> None:
    given = overrides.load(Path("my parts.yaml"))
    begin(given)
    folder = given.files.folder
    assert command_of("run", Sweep.of_run(folder)) == command_of("run", given)
    begin(Sweep.of_run(folder))  # a rerun by the folder keeps them
    assert words_of(Sweep.of_run(folder)) == words_of(given)


@pytest.mark.parametrize("hurt", ["file gone", "moved", "elsewhere", "of another", "no words"])
def test_without_the_file_the_folder_stands_for_itself(hurt: str, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(Sweep.of_run("my parts.yaml"))
    folder = Path("runs/parts").absolute()
    if hurt == "file gone":
        Path("my parts.yaml").unlink()
    elif hurt == "moved":
        folder = folder.rename(folder.with_name("kept"))
    elif hurt == "elsewhere":
        monkeypatch.chdir(folder.parent)
    elif hurt == "of another":
        Path("my parts.yaml").write_text(yaml.safe_dump({"name": "other", "search_space": SPACE}))
    else:
        (folder / "run.json").write_text(json.dumps({"format": 2, "stages": {}, "sweep": [1]}))
    assert command_of("run", Sweep.of_run(folder)) == shlex.join(["ffnet-search", "run", str(folder)])


def test_a_run_of_before_stands_for_itself(tmp_path: Path) -> None:
    assert command_of("export", Sweep.of_run(written_run(tmp_path / "old"))) == f"ffnet-search export {tmp_path}/old"


def test_a_run_is_read_again_from_inside_and_whatever_its_folder_is_called(monkeypatch: pytest.MonkeyPatch) -> None:
    begin(Sweep.of_run("my parts.yaml"))
    folder = Path("runs/parts").absolute()
    (folder / "pareto").mkdir()
    monkeypatch.chdir(folder / "pareto")
    for _ in range(2):  # once more from the copy that the first wrote
        assert Sweep.of_run("..").files.folder == folder
        begin(Sweep.of_run(".."))
    renamed = folder.rename(folder.with_name("größere (copy)"))
    for _ in range(2):
        assert Sweep.of_run(renamed).files.folder == renamed
        begin(Sweep.of_run(renamed))
