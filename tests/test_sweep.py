"""A sweep file is checked once and in full; its digests change with what a stage's output depends on, no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from sweep_content import TINY, digests, load, with_change

from ffnet_search.config.sweep import Sweep
from ffnet_search.errors import SweepError
from ffnet_search.space.search_space import SearchSpace
from ffnet_search.strict_yaml import read_yaml

ROOT = Path(__file__).parents[1]
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_shipped_sweeps_load(path: Path) -> None:
    sweep = Sweep.from_yaml(path)
    assert sweep.name == path.stem
    assert sweep.path == path
    assert sweep.files.folder == Path("runs") / path.stem
    assert sweep.latency_path.parent == sweep.files.latency


def test_a_search_space_may_be_a_file_beside_the_sweep_or_stand_in_it(tmp_path: Path) -> None:
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "small.yaml").write_text(yaml.safe_dump(TINY["search_space"]))
    inline, by_file = load(tmp_path, TINY), load(tmp_path, {**TINY, "search_space": "spaces/small.yaml"})
    assert isinstance(by_file.search_space, SearchSpace)
    assert by_file.search_space.stages == inline.search_space.stages
    assert digests(by_file) == digests(inline)


def test_the_name_is_that_of_the_file_where_none_is_given(tmp_path: Path) -> None:
    assert load(tmp_path, {"search_space": TINY["search_space"]}).name == "tiny"


def test_a_sweep_is_frozen() -> None:
    sweep = Sweep.model_validate(TINY)
    with pytest.raises(ValueError, match="frozen"):
        sweep.seed = 1


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("sead", 1, "sead is not a known key; did you mean 'seed'\\?"),
        ("devices", [{"name": "phone"}], "devices is not a known key"),
        ("epochs", 3, "epochs is not a known key; 'epochs' belongs in train"),
        ("search.module", {"class_path": "a:B"}, "search.module is not a known key; 'module' belongs at the top"),
        ("train.trials", 3, "train.trials is not a known key; 'trials' belongs in search"),
        ("mirror", "s3://bucket", "mirror is not a known key"),
        ("train.epocs", 3, "train.epocs is not a known key; did you mean 'epochs'\\?"),
        ("data.augment.flop", True, "data.augment.flop is not a known key; did you mean 'flip'\\?"),
        ("search.sampler.class_pat", "x", "search.sampler.class_pat is not a known key; did you mean 'class_path'\\?"),
        ("search_space.stages.0.widht", [8], "search_space.stages.0.widht is not a known key; did you mean 'width'\\?"),
        ("train.epochs", -3, "train.epochs must be > 0, but got -3"),
        ("train.epochs", 10**12, "train.epochs must be <= 1000000, but got 1000000000000$"),
        ("train.epochs", "many", "train.epochs must be a whole number, but got 'many'$"),
        ("train.epochs", 1.5, "train.epochs must be a whole number, but got 1.5$"),
        ("search.trials", True, "search.trials must be a whole number, but got True$"),
        ("search.trials", "10", "search.trials must be a whole number, but got '10'; remove the quotes$"),
        ("train.learning_rate", "0.1", "train.learning_rate must be a number, but got '0.1'; remove the quotes$"),
        ("train.layer_scale", True, "train.layer_scale must be a number, but got True$"),
        ("train.class_weights", {"cat": True}, "yaml: train.class_weights.cat must be a number, but got True$"),
        ("search.constraints", {"latency_ms": "5"}, "search.constraints.latency_ms must be a number, but got '5'"),
        ("train.learning_rate", 0, "train.learning_rate must be > 0, but got 0"),
        ("train.learning_rate", float("nan"), "train.learning_rate must be a finite number, but got nan"),
        ("train.optimizer", "adam", "train.optimizer must be 'muon', 'adamw' or 'sgd', but got 'adam'"),
        ("train.ema", 1, "train.ema must be < 1, but got 1"),
        ("train.branches", "reference", "train.branches must be 'all' or 'none' where a stage offers kernel 3 beside"),
        ("train.class_weights", True, "must be 'none', 'auto' or 'balanced', or a mapping .*, but got True$"),
        ("data", 3, "data must be a mapping of keys to values, but got 3"),
        ("data.validation", 0, "data.validation must be > 0, but got 0"),
        ("name", "a b", "name: must be letters, digits.*, but got 'a b'; give another with --name"),
        ("name", "../up", "name: must be letters, digits.*, but got '../up'; give another with --name"),
        ("seed", -1, "seed must be >= 0, but got -1"),
        ("seed", 20261128120000, "seed must be <= 4294967295, but got 20261128120000"),
        (
            "search.objectives",
            "accuracy, latency_ms",
            "search.objectives must be a list, .*; put it in brackets$",
        ),
        ("search.objectives", [], "search.objectives must have at least 1 item, but got"),
        (
            "search.objectives",
            ["acuracy"],
            "search.objectives: 'acuracy' is not a known metric; did you mean 'accuracy'",
        ),
        ("search.objectives", ["accuracy", "accuracy"], "search.objectives: must not repeat a metric"),
        ("search.constraints", {"latency": 3}, "search.constraints: 'latency' is not .* did you mean 'latency_ms'\\?"),
        ("search.constraints", {"accuracy": 90}, "search.constraints: 'accuracy' must have a limit > 0 and <= 1"),
        ("search.constraints", {"params_m": 0}, "search.constraints.params_m must be > 0, but got 0"),
        ("search.constraints", {"params_m": float("inf")}, "search.constraints.params_m must be a finite number"),
        ("search.trials", 0, "search.trials must be > 0, but got 0"),
        ("search.engine", "a b", "search.engine .* pattern .* but got 'a b'"),
        ("task", "clasification", "task must be one of classification, .* did you mean 'classification'\\?"),
        ("task", "no_such_package:Task", "task: .* there is no module 'no_such_package' to import"),
        ("latency", [], "latency must have at least 1 item"),
        ("latency", [{"rounds": 2}], "latency.0.rounds must be >= 3, but got 2"),
        ("latency", [{"name": "a"}, {"name": "a"}], "latency: several devices must have different names"),
        ("runs", 3, "runs must be text, but got 3; put it in quotes"),
        ("latency.threads", 10**9, "latency.threads must be <= 1024, but got 1000000000"),
        ("latency.held_out", 5, "latency.held_out must be >= 20, but got 5"),
        ("search_space", 3, "search_space must be .* but got 3"),
    ],
)
def test_a_mistake_is_one_sentence_with_file_and_field(tmp_path: Path, path: str, value: Any, message: str) -> None:
    with pytest.raises(SweepError, match=message) as caught:
        load(tmp_path, with_change(path, value))
    assert str(caught.value).startswith(f"{tmp_path / 'tiny.yaml'}: ")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_command_line_has_the_bounds_of_a_file(tmp_path: Path) -> None:
    """Larger numbers could not be read again from the record of the run."""
    with pytest.raises(SweepError, match=r"command line: search\.trials must be <= 9223372036854775807, but got"):
        load(tmp_path, TINY).override(trials=10**25)
    with pytest.raises(SweepError, match=r"command line: seed must be <= 4294967295, but got"):
        load(tmp_path, TINY).override(seed=10**25)


def test_several_mistakes_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(SweepError) as caught:
        load(tmp_path, {**TINY, "seed": -1, "train": {"epochs": 0}, "sead": 3})
    assert all(
        place in str(caught.value) for place in ("seed must be", "train.epochs must be", "sead is not a known key")
    )


def test_a_missing_search_space_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="tiny.yaml: search_space must be given"):
        load(tmp_path, {"name": "tiny"})
    with pytest.raises(SweepError, match="spaces.yaml: no such file"):
        load(tmp_path, {**TINY, "search_space": "spaces.yaml"})


def test_the_names_of_classes_may_be_numbers(tmp_path: Path) -> None:
    sweep = load(tmp_path, {**TINY, "train": {**TINY.get("train", {}), "class_weights": {1: 2, "b": 3}}})
    assert sweep.train.class_weights == {"1": 2.0, "b": 3.0}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seed: [1", "is not valid YAML: line 1, column 7: the .* here is not closed; add its"),
        ("seed:\n\t1: 2", "is not valid YAML: line 2, column 1: a tab is here, .* indent with blanks$"),
        ("seed: 2026-02-30", "line 1: .2026-02-30. cannot be read as timestamp .day"),
        ("- 1\n- 2", "must hold a mapping of keys to values, but holds a list"),
        ("", "must hold a mapping of keys to values, but is empty"),
        ("seed: 010", "line 1: '010' is no decimal number: YAML counts by 60 at a colon, and by 8 after a leading 0"),
        ("search:\n  minutes: 1:30", "line 2: '1:30' is no decimal number"),
        ("train:\n  learning_rate: 0:0.5", "line 2: '0:0.5' is no decimal number"),
        ("seed: 1\nseed: 2", "line 2: the key 'seed' is given twice; remove one"),
        ("train:\n  epochs: 1\n  epochs: 2", "line 3: the key 'epochs' is given twice; remove one"),
        ("[1, 2]: 3", "keys must be words"),
        ("seed: !!python/object/apply:os.system [ls]", "is not valid YAML: line .*: could not determine a constructor"),
        ("1: 2", "keys must be text, but one is 1; put it in quotes"),
        ("train: {2026-11-26: 2}", "train.keys must be text, but one is 2026-11-26; put it in quotes"),
        ("search: {constraints: {1: 2}}", "search.constraints.keys must be text, but one is 1; put it in quotes"),
        ("name: yes", "name must be text, but got True; put it in quotes"),
        ("name: 2026-11-26", "name must be text, but got 2026-11-26; put it in quotes"),
        ("data: {path: 2026-11-26}", "data.path must be text, but got 2026-11-26; put it in quotes"),
        ("train: {class_weights: {no: 2}}", "train.class_weights: .* class must be text, but got False; put it in"),
        ("train: {class_weights: {'1': .nan}}", "train.class_weights.1 must be a finite number, but got nan"),
        ("train: {weight_decay: .inf}", "train.weight_decay must be a finite number, but got inf"),
        ("estimate: {train: 1e999}", r"line 1: a number must be within \+-1e\+39, but is '1e999'"),
    ],
)
def test_yaml_that_cannot_be_a_sweep(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SweepError, match=message) as caught:
        load(tmp_path, text)
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("seed: 0")
    with pytest.raises(SweepError, match=r"digit.yaml: no such file; did you mean .*digits.yaml\?"):
        read_yaml(tmp_path / "digit.yaml")
    with pytest.raises(SweepError, match="must be a YAML file, but is a folder"):
        read_yaml(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(SweepError, match="latin.yaml: .*save it as text in UTF-8"):
        read_yaml(tmp_path / "latin.yaml")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-4", 1e-4), ("1E+2", 100.0), ("5e0", 5.0), ("-2.5e-3", -2.5e-3), ("1.0e-4", 1e-4), ("3", 3), ("e5", "e5")],
)
def test_numbers_are_read_as_people_write_them(tmp_path: Path, text: str, value: object) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(f"x: {text}")
    assert read_yaml(file)["x"] == value
    assert type(read_yaml(file)["x"]) is type(value)


def test_yaml_merges_still_work(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}")
    assert read_yaml(file)["more"] == {"a": 1, "b": 3}


def test_absolute_paths_are_of_runs_data_and_weights(tmp_path: Path) -> None:
    content = {**TINY, "runs": "r", "data": {"path": "d"}, "train": {"start_from": "w"}}
    sweep = load(tmp_path, content).with_absolute_paths()
    assert (Path(sweep.runs), sweep.data.path, sweep.train.start_from) == (
        Path("r").absolute(),
        tmp_path / "d",  # relative to the sweep's file
        Path("w").absolute(),
    )
    assert sweep.path == tmp_path / "tiny.yaml"
    home = {**TINY, "runs": "~/r", "data": {"path": "~/d"}, "train": {"start_from": "~/w"}}
    sweep = load(tmp_path, home)
    assert sweep.files.folder == Path.home() / "r" / sweep.name
    sweep = sweep.with_absolute_paths()
    assert (Path(sweep.runs), sweep.data.path, sweep.train.start_from) == tuple(Path.home() / name for name in "rdw")
    assert load(tmp_path, {**TINY, "runs": "s3://b/x"}).with_absolute_paths().runs == str(Path("runs").absolute())


def test_the_public_files_of_a_run_are_all_but_locks_scratch_and_tables() -> None:
    files = Sweep.model_validate(TINY).files
    assert set(vars(files)) - set(files.public) == {"folder", "lock", "scratch", "front_csv", "folds"}
